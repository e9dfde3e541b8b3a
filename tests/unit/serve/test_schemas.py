import pytest
from pydantic import ValidationError

from geotoken.decoding.options import LARGEST
from geotoken.serve.errors import Refusal
from geotoken.serve.schemas import LocateRequest, Options, refuse_invalid


def test_ranges_lie_within_those_of_the_library():
    properties = Options.model_json_schema()["properties"]
    ours = {"num_samples": "samples", "num_candidates": "top_k", "top_k": "sample_top_k"}
    for name, largest in LARGEST.items():
        schema = properties[ours.get(name, name)]
        allowed = [one for one in [schema, *schema.get("anyOf", [])] if "maximum" in one]
        assert allowed[0]["maximum"] <= largest


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beam_width": 0}, r"^beam_width: .*greater than or equal to 1 \(given: 0\); see /openapi.json$"),
        ({"colour": 1}, "^colour: Extra inputs are not permitted"),
        ({"beam_width": 0, "top_k": 0}, "; and 1 more; see"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(options, message):
    with pytest.raises(ValidationError) as caught:
        Options.model_validate(options)
    with pytest.raises(Refusal, match=message) as refused:
        refuse_invalid(caught.value)
    assert refused.value.status == 400


def test_options_inside_a_request_are_called_by_their_own_name():
    with pytest.raises(ValidationError) as caught:
        LocateRequest.model_validate({"photos": [{"data": ""}], "options": {"top_k": 0}})
    with pytest.raises(Refusal, match=r"^top_k: "):
        refuse_invalid(caught.value, "options")


def test_what_was_given_is_cut_short():
    with pytest.raises(ValidationError) as caught:
        Options.model_validate({"decoder": "x" * 10_000})
    with pytest.raises(Refusal) as refused:
        refuse_invalid(caught.value)
    assert len(str(refused.value)) < 300
