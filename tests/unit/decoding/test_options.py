from dataclasses import fields

import pytest

from geotoken.decoding.options import DECODERS, FLAGS, LARGEST, DecodingOptions
from geotoken.errors import InputError


def test_defaults_are_allowed_for_every_decoder():
    for decoder in DECODERS:
        assert DecodingOptions(decoder=decoder).decoder == decoder


def test_every_field_has_one_flag():
    assert set(FLAGS) == {field.name for field in fields(DecodingOptions)}
    assert len(set(FLAGS.values())) == len(FLAGS)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("decoder", "viterbi"),
        ("beam_width", 0),
        ("num_samples", -1),
        ("temperature", 0.0),
        ("temperature", -1.0),
        ("temperature", float("nan")),
        ("temperature", float("inf")),
        ("top_k", 0),
        ("top_p", 0.0),
        ("top_p", 1.01),
        ("top_p", float("nan")),
        ("seed", -1),
        ("num_candidates", 0),
        ("max_expansions", 0),
        *((name, largest + 1) for name, largest in LARGEST.items()),
        ("top_k", 10**30),
    ],
)
def test_out_of_range_names_field_flag_and_value(name, value):
    with pytest.raises(InputError) as error:
        DecodingOptions(**{name: value})
    message = str(error.value)
    assert name in message
    assert FLAGS[name] in message
    assert str(value) in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("beam_width", 1),
        ("num_samples", 1),
        ("temperature", 1e-3),
        ("top_k", 1),
        ("top_p", 1.0),
        ("top_p", 1e-9),
        ("seed", 0),
        ("num_candidates", 1),
        ("max_expansions", 1),
        *LARGEST.items(),
    ],
)
def test_ends_of_the_ranges_are_allowed(name, value):
    assert getattr(DecodingOptions(**{name: value}), name) == value


def test_temperature_zero_points_to_greedy():
    with pytest.raises(InputError, match="greedy"):
        DecodingOptions(temperature=0)
