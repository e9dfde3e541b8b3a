"""Rows of predictions with given errors, for tests of figures and pages."""

import pytest

from geotoken.geo import EARTH_RADIUS_KM

KM_PER_DEGREE = EARTH_RADIUS_KM * 3.141592653589793 / 180


@pytest.fixture
def make_row():
    """A row whose truth is (0, 0) and whose answer is some km north of it; None for no answer."""

    def make(image, error_km, owner="", **more):
        row = {"image": image, "owner": owner, "true_lat": 0.0, "true_lng": 0.0}
        if error_km is None:
            return {**row, "status": "error", "error": "no answer", **more}
        return {**row, "status": "ok", "lat": error_km / KM_PER_DEGREE, "lng": 0.0, **more}

    return make
