"""Requests made from the API's own description: whatever comes back is described there, and never a 5xx."""

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from geotoken.serve.app import App
from geotoken.serve.settings import Settings
from serve_cases import serving

MAX_EXAMPLES = 20

schema = schemathesis.openapi.from_dict(App(Settings()).api.openapi())


@pytest.fixture(scope="module")
def server(tiny_model):
    with serving(tiny_model, "--workers", "1", "--max-waiting", "50") as (port, _):
        yield f"http://127.0.0.1:{port}"


@schema.parametrize()
@settings(max_examples=MAX_EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_replies_are_as_described(server, case):
    # Bytes made at random are no photo, which no description can tell.
    case.call_and_validate(base_url=server, excluded_checks=[positive_data_acceptance])
