import json

import pytest

from geotoken.errors import InputError
from geotoken.regions import Region
from geotoken.serve.answer import Answerer, locate_options
from geotoken.serve.schemas import Options
from geotoken.serve.worker import Work


def options(**chosen):
    return Options(**chosen).model_dump()


@pytest.fixture(scope="module")
def answerer(tiny_model):
    loaded = {"model": tiny_model, "head": None, "gallery": None, "offline": True, "num_threads": 1}
    return Answerer(loaded, max_pixels=1_000_000)


def test_options_are_those_of_the_library():
    found = locate_options(
        options(decoder="sample", samples=7, sample_top_k=3, top_k=2, guess=["1,2,3"], within=["country=PE"])
    )
    assert (found.decoding.num_samples, found.decoding.top_k, found.decoding.num_candidates) == (7, 3, 2)
    assert found.guesses == ((1.0, 2.0, 3.0),)
    assert found.within is not None
    assert found.within.name == Region.country("PE").name


@pytest.mark.parametrize(
    "text", ["a.json", "/etc/x.geojson", "..\\x.JSON", "file:///x.json", "country=x.json"]
)
def test_no_region_is_read_from_disk(text, monkeypatch):
    monkeypatch.setattr(Region, "geojson", lambda *_: pytest.fail("a file was asked for"))
    with pytest.raises(InputError):
        locate_options(options(within=[text]))


def test_work_with_options_of_its_own_is_answered_in_one_batch(answerer, examples):
    photos = [(examples / name).read_bytes() for name in ("himeji-castle.jpg", "taj-mahal-agra.jpg")]
    batch = [
        Work(("a",), (photos[0],), options(top_k=1)),
        Work(("b", "c"), tuple(photos), options(together=True)),
        Work(("d",), (b"no photo",), options()),
        Work(("e",), (photos[1],), options(select="reward")),
        Work(("f",), (photos[1],), options(within=["country=AU"], posterior=True)),
    ]
    found = dict(answerer.answer(batch))
    assert found.keys() == set(range(5))
    first = json.loads(found[0][0].text)
    assert (first["image"], len(first["neighbors"])) == ("a", 1)
    both = [json.loads(row.text) for row in found[1]]
    assert [one["image"] for one in both] == ["b", "c"]
    assert both[0]["lat"] == both[1]["lat"]
    assert json.loads(found[2][0].text)["error"] == found[2][0].error
    assert isinstance(found[3], InputError)
    assert "posterior" in json.loads(found[4][0].text)


def test_a_photo_of_too_many_pixels_is_refused(tiny_model, examples):
    loaded = {"model": tiny_model, "head": None, "gallery": None, "offline": True, "num_threads": 1}
    small = Answerer(loaded, max_pixels=10_000)
    photo = (examples / "himeji-castle.jpg").read_bytes()
    ((_, rows),) = small.answer([Work(("a",), (photo,), options())])
    assert "more than the limit of 10,000" in rows[0].error


def test_the_hash_is_that_of_model_and_gallery(tiny_model):
    def described(gallery):
        loaded = {"model": tiny_model, "head": None, "gallery": gallery, "offline": True, "num_threads": 1}
        return Answerer(loaded, max_pixels=10_000).describe()

    plain, other = described(None), described(tiny_model / "gallery")
    assert plain["hash"] != other["hash"]
    assert len(plain["hash"]) == 16
    assert plain["num_gallery_photos"] == 8
