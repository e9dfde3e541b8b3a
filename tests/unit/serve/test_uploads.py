import asyncio
import base64
import json

import pytest

from geotoken.serve.errors import Refusal
from geotoken.serve.uploads import Budget, UploadLimits, read_options, read_upload
from serve_cases import BOUNDARY, form

LIMITS = UploadLimits(photos=3, photo_bytes=1000, request_bytes=4000)
FORM = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}
JSON = {"content-type": "application/json"}


def read(body: bytes, headers=FORM, query=(), *, step: int = 7, spend=lambda num_bytes: None):
    async def chunks():
        for start in range(0, len(body), step):
            yield body[start : start + step]

    return asyncio.run(read_upload(headers, query, chunks(), LIMITS, spend))


@pytest.mark.parametrize("step", [1, 7, 64, 10_000])
def test_a_form_is_read_however_it_is_cut(step):
    body = form(("photos", b"\r\n--x\0", "a.jpg"), ("top_k", b"3", None), ("photos", b"", "ü.png"))
    upload = read(body, query=[("seed", "7")], step=step)
    assert (upload.names, upload.photos) == (("a.jpg", "ü.png"), (b"\r\n--x\0", b""))
    assert (upload.options.top_k, upload.options.seed) == (3, 7)


def test_a_photo_may_have_no_name():
    assert read(form(("photos", b"x", None))).names == ("",)


def test_a_long_name_is_cut():
    assert len(read(form(("photos", b"x", "n" * 999))).names[0]) == 255


def test_json_is_read():
    photos = [{"name": "a", "data": base64.b64encode(b"\0\xff").decode()}]
    body = json.dumps({"photos": photos, "options": {"guess": ["1,2"], "posterior": True}}).encode()
    upload = read(body, JSON)
    assert (upload.names, upload.photos) == (("a",), (b"\0\xff",))
    assert (upload.options.guess, upload.options.posterior) == (["1,2"], True)


@pytest.mark.parametrize(
    ("body", "headers", "code"),
    [
        (form(*[("photos", b"x", "a")] * 4), FORM, "too_large"),
        (form(("photos", b"x" * 1001, "a")), FORM, "too_large"),
        (form(*[("photos", b"x" * 999, "a")] * 3, ("within", b"x" * 999, None)), FORM, "too_large"),
        (form(("photo", b"x", "a")), FORM, "bad_request"),
        (form(("photos", b"x", "a"))[:-5], FORM, "bad_request"),
        (b"", FORM, "bad_request"),
        (b"x", {"content-type": "multipart/form-data"}, "bad_request"),
        (b"x", {}, "unsupported_media_type"),
        (b"{}", {**JSON, "content-encoding": "gzip"}, "unsupported_media_type"),
        (b"{}", JSON, "invalid_option"),
        (b'{"photos": [{"data": "???"}]}', JSON, "bad_request"),
        (b'{"photos": [' + b'{"data": ""},' * 3 + b'{"data": ""}]}', JSON, "too_large"),
    ],
)
def test_what_is_not_as_it_should_be_is_refused(body, headers, code):
    with pytest.raises(Refusal) as refused:
        read(body, headers)
    assert refused.value.code == code


def test_a_body_is_refused_as_soon_as_it_is_too_long():
    come = []

    async def endless():
        yield form(("photos", b"x", "a")).partition(b"x\r\n")[0]
        while True:
            come.append(1)
            yield b"x" * 100

    with pytest.raises(Refusal, match="a photo has more than"):
        asyncio.run(read_upload(FORM, (), endless(), LIMITS, lambda num_bytes: None))
    assert len(come) == 11


def test_options_may_stand_in_one_object_beside_single_ones():
    options = read_options({"options": ['{"top_k": 3, "within": ["country=PE"]}'], "seed": ["4"]})
    assert (options.top_k, options.seed, options.within) == (3, 4, ["country=PE"])


def test_geojson_as_text_is_an_object():
    box = {"type": "Polygon", "coordinates": []}
    assert read_options({"within": [json.dumps(box), "country=PE"]}).within == [box, "country=PE"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"top_k": ["1", "2"]}, "more than once"),
        ({"top_k": ["1"], "options": ['{"top_k": 1}']}, "more than once"),
        ({"within": ["{"]}, "is no JSON"),
        ({"options": ["{"]}, "is not JSON"),
        ({"options": ["[]"]}, "is no JSON object"),
        ({"options": ["[" * 100_000]}, "is not JSON"),
        ({"nonsense": ["1"]}, "^nonsense: "),
    ],
)
def test_options_that_cannot_be_used_are_refused(given, message):
    with pytest.raises(Refusal, match=message):
        read_options(given)


def test_memory_is_lent_and_given_back():
    budget = Budget(1000)
    with budget.share() as first:
        first(600)
        with budget.share() as second, pytest.raises(Refusal, match="ask again") as refused:
            second(401)
        assert refused.value.headers == {"Retry-After": "1"}
        with budget.share() as second:
            second(400)
    with budget.share() as first:
        first(1000)
