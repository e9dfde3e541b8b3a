"""Answers as `locate --json` gives them, without a model."""

import pytest


@pytest.fixture
def make_answer():
    """An answer for a photo; a text instead of a point is an error."""

    def make(image="photo.jpg", point=(-33.5, 151.25), **changes):
        source = {"bytes": 1000, "mtime_us": 1_700_000_000_000_000, "settings": "abc"}
        if isinstance(point, str):
            return {"image": image, "status": "error", "error": point, "warnings": [], "source": source}
        lat, lng = point
        return {
            "image": image,
            "status": "ok",
            "lat": lat,
            "lng": lng,
            "cell": {"hex": "6b12ae40583", "level": 20},
            "tokens": [3, 1, 2],
            "log_prob": -11.410690992567503,
            "radius_km": {"50": 0.1 + 0.2, "90": 1e-7},
            "place": {
                "city": "Sydney",
                "admin1": "",
                "country": "Australia",
                "country_code": "AU",
                "distance_km": 3.0,
            },
            "levels": [
                {"level": 0, "cell_hex": "7", "probability": 0.9},
                {"level": 4, "cell_hex": "6b1", "probability": 0.5},
            ],
            "candidates": [],
            "neighbors": [],
            "warnings": ["one", "two"],
            "source": source,
        } | changes

    return make
