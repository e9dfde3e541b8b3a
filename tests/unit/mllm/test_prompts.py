"""Prompts: what each mode tells, and what none does."""

import dataclasses
import json

import numpy as np
import pytest

from geotoken.geo import haversine_km
from geotoken.mllm.prompts import MIN_APART_KM, question


def test_pool_numbers_the_own_answer_first_and_then_others_apart(own):
    asked = question("pool", own, 5)
    assert asked.candidates[0] == (own.lat, own.lng)
    lat, lng = np.array(asked.candidates).T
    distance_km = haversine_km(lat[:, None], lng[:, None], lat[None], lng[None])
    assert np.all(distance_km[~np.eye(len(lat), dtype=bool)] >= MIN_APART_KM)
    for number, (one_lat, one_lng) in enumerate(asked.candidates, start=1):
        assert f"{number}. {one_lat:.5f}, {one_lng:.5f}, " in asked.text
    assert "Himeji, Hyogo, Japan" in asked.text
    assert "log-probability" in asked.text
    assert asked.schema["required"] == ["reason", "candidate"]


def test_free_tells_candidates_and_neighbors_with_their_places(own):
    asked = question("free", own, 3)
    assert asked.candidates == ()
    for lat, lng in zip(own.neighbors.lat[:3], own.neighbors.lng[:3], strict=True):
        assert f"- {lat:.5f}, {lng:.5f}, " in asked.text
    assert f"{own.neighbors.lat[3]:.5f}" not in asked.text.split("similar")[-1]


def test_fuse_tells_nothing_that_its_answer_is_joined_with(own):
    asked = question("fuse", own, 5)
    assert not any(letter.isdigit() for letter in asked.text.replace("0.0", ""))


@pytest.mark.parametrize("mode", ["pool", "free", "fuse"])
def test_no_prompt_names_file_owner_or_neighbor(own, mode):
    secret = dataclasses.replace(own, image="/home/owner/secret-trip.jpg", gps=(12.34567, 76.54321))
    asked = question(mode, secret, 5)
    told = asked.text + json.dumps(asked.schema)
    for hidden in ("owner", "secret", "12.34", "76.54", *own.neighbors.id, "wikimedia", ".jpg"):
        assert hidden not in told.lower()
    for names in (own.neighbors.attribution, own.neighbors.source_url, own.neighbors.license):
        assert not any(name and name in told for name in names)


def test_a_photo_without_neighbors_has_a_prompt(own):
    nothing = own.neighbors.none()
    assert "- none" in question("free", dataclasses.replace(own, neighbors=nothing), 5).text
