"""The API of the server, asked in this process: what it answers, and how it refuses."""

import base64
import builtins
import io
import json
import os
import tempfile
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from PIL import Image
from starlette.testclient import TestClient

from geotoken.decoding import DECODERS, DecodingOptions
from geotoken.pipeline import LocateOptions, Locator
from geotoken.selection import METHODS
from geotoken.serve.app import App
from geotoken.serve.schemas import LocateReply, Options
from geotoken.serve.settings import Settings
from serve_cases import LocalWorker

ROOT = Path(__file__).parents[2]
KEY = "a-long-random-key"


def make_client(model: Path, **settings) -> TestClient:
    app = App(Settings(workers=1, **settings), make_worker=lambda: LocalWorker(model))
    return TestClient(app, raise_server_exceptions=False)


@pytest.fixture(scope="module")
def client(tiny_model):
    with make_client(tiny_model, max_waiting=50) as client:
        while client.get("/readyz").status_code != 200:
            pass
        yield client


@pytest.fixture(scope="module")
def locator(tiny_model):
    return Locator.from_pretrained(tiny_model, num_threads=1)


def files(*paths: Path):
    return [("photos", (path.name, path.read_bytes(), "image/jpeg")) for path in paths]


def grey() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (60, 40), "grey").save(buffer, "JPEG")
    return buffer.getvalue()


def test_the_answer_is_that_of_the_library_in_the_form_of_the_command_line(client, locator, examples):
    photo = examples / "himeji-castle.jpg"
    reply = client.post("/v1/locate", files=files(photo))
    assert reply.status_code == 200
    LocateReply.model_validate(reply.json())
    schema = json.loads((ROOT / "docs" / "locate.schema.json").read_text(encoding="utf-8"))
    Draft202012Validator(schema).validate(reply.json()["results"])
    expected = {**locator.locate(photo.read_bytes()).to_dict(), "image": photo.name}
    assert reply.json()["results"] == [json.loads(json.dumps(expected))]
    assert reply.json()["model"]["name"] == "tiny"


def test_photos_keep_their_order_and_one_that_cannot_be_read_does_not_stop_the_others(client, examples):
    paths = sorted(examples.glob("*.jpg"))
    given = [*files(*paths), ("photos", ("notes.txt", b"hello", "text/plain"))]
    reply = client.post("/v1/locate", files=given[::-1])
    assert reply.status_code == 200
    results = reply.json()["results"]
    assert [one["image"] for one in results] == ["notes.txt", *[path.name for path in paths[::-1]]]
    assert [one["status"] for one in results] == ["error"] + ["ok"] * len(paths)
    assert results[0].keys() == {"image", "status", "error", "warnings"}
    assert "it is text, not a photo" in results[0]["error"]


WAYS = [
    {
        "decoder": "sample",
        "samples": 7,
        "temperature": 0.7,
        "seed": 3,
        "sample_top_k": 4,
        "sample_top_p": 0.9,
    },
    {"decoder": "best_first", "top_k": 3, "max_expansions": 500, "select": "log_prob"},
    {"decoder": "beam", "beam_width": 2, "top_k": 2, "select": "medoid"},
    {"guess": ["35.7,139.7", "35.7,139.7,2"], "within": ["country=JP", "near=-33.9,151.2,100"]},
]


@pytest.mark.parametrize("options", WAYS)
def test_every_way_to_give_options_means_the_same(client, locator, examples, options):
    photo = examples / "sydney-opera-house.jpg"
    as_text = {
        name: [str(v) for v in value] if isinstance(value, list) else str(value)
        for name, value in options.items()
    }
    content = base64.b64encode(photo.read_bytes()).decode()
    replies = [
        client.post("/v1/locate", files=files(photo), data=as_text),
        client.post("/v1/locate", files=files(photo), params=as_text),
        client.post("/v1/locate", files=files(photo), data={"options": json.dumps(options)}),
        client.post(
            "/v1/locate", json={"photos": [{"name": photo.name, "data": content}], "options": options}
        ),
    ]
    assert [reply.status_code for reply in replies] == [200] * 4, replies[-1].text
    assert len({reply.text for reply in replies}) == 1
    ours = replies[0].json()["results"][0]
    if "guess" not in options:
        names = {"samples": "num_samples", "sample_top_k": "top_k", "sample_top_p": "top_p"}
        decoding = {
            names.get(name, name): v for name, v in options.items() if name not in ("select", "top_k")
        }
        found = locator.locate(
            photo.read_bytes(),
            num_candidates=options.get("top_k", 5),
            select=options.get("select", "mbr"),
            **decoding,
        )
        assert (ours["lat"], ours["lng"]) == (found.lat, found.lng)
        assert ours["candidates"] == found.to_dict(options.get("top_k", 5))["candidates"]
    else:
        assert 0 < ours["region_probability"] <= 1
        assert ours["place"]["country_code"] in ("JP", "AU")


def test_a_region_may_be_geojson_as_text_or_as_an_object(client, examples):
    photo = examples / "taj-mahal-agra.jpg"
    box = {"type": "Polygon", "coordinates": [[[150, -35], [152, -35], [152, -33], [150, -33], [150, -35]]]}
    content = base64.b64encode(photo.read_bytes()).decode()
    replies = [
        client.post("/v1/locate", files=files(photo), data={"within": json.dumps(box)}),
        client.post("/v1/locate", files=files(photo), data={"options": json.dumps({"within": [box]})}),
        client.post("/v1/locate", json={"photos": [{"data": content}], "options": {"within": [box]}}),
    ]
    for reply in replies:
        found = reply.json()["results"][0]
        assert 150 <= found["lng"] <= 152
        assert -35 <= found["lat"] <= -33


def test_photos_of_one_place_get_one_answer(client, examples):
    paths = sorted(examples.glob("*.jpg"))[:3]
    apart = client.post("/v1/locate", files=files(*paths)).json()["results"]
    joint = client.post("/v1/locate?together=true", files=files(*paths)).json()["results"]
    assert len({(one["lat"], one["lng"]) for one in apart}) == 3
    assert len({(one["lat"], one["lng"]) for one in joint}) == 1
    assert [one["image"] for one in joint] == [path.name for path in paths]


def test_the_posterior_comes_along_when_it_is_asked_for(client, examples):
    photo = examples / "himeji-castle.jpg"
    plain = client.post("/v1/locate", files=files(photo)).json()["results"][0]
    found = client.post("/v1/locate?posterior=true", files=files(photo)).json()["results"][0]
    posterior = found.pop("posterior")
    assert found == plain
    assert [one["level"] for one in posterior["levels"]] == [one["level"] for one in plain["levels"]]
    for level, cell in zip(posterior["levels"], plain["levels"], strict=True):
        features = level["cells"]["features"]
        assert 1 <= len(features) <= 401
        assert features[0]["properties"]["cell"] == cell["cell_hex"]
        assert features[0]["properties"]["answer"] is True
    assert [one["probability"] for one in posterior["credible_regions"]] == [0.5, 0.9]


def test_the_models_say_what_may_be_asked(client):
    reply = client.get("/v1/models")
    (model,) = reply.json()["models"]
    assert model["heads"] == ["mixture"]
    assert [one["of"] for one in model["credits"]] == ["names of places", "borders"]
    assert set(model["selectors"]) == {"log_prob", "medoid", "mbr"}
    assert model["defaults"] == Options().model_dump()
    assert model["options"]["properties"]["decoder"]["enum"] == list(DECODERS)
    assert set(model["options"]["properties"]["select"]["enum"]) == set(METHODS)
    assert model["limits"]["max_photos"] == 32


def test_the_defaults_are_those_of_the_library():
    options, decoding = Options(), DecodingOptions()
    assert options.select == LocateOptions().select
    assert (options.decoder, options.beam_width, options.samples) == (
        "beam",
        decoding.beam_width,
        decoding.num_samples,
    )
    assert (options.temperature, options.seed) == (decoding.temperature, decoding.seed)
    assert (options.sample_top_k, options.sample_top_p) == (decoding.top_k, decoding.top_p)
    assert (options.top_k, options.max_expansions) == (decoding.num_candidates, decoding.max_expansions)


def test_the_countries_are_listed(client):
    countries = client.get("/v1/countries").json()["countries"]
    assert {"code": "PE", "name": "Peru"} in countries


def test_every_reply_has_the_security_headers(client):
    for path in ("/healthz", "/nothing", "/v1/models", "/openapi.json"):
        headers = client.get(path).headers
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cross-origin-opener-policy"] == "same-origin"
        assert "access-control-allow-origin" not in headers
        assert "server" not in headers
        assert len(headers["x-request-id"]) == 16


def test_the_description_has_no_page_from_elsewhere(client):
    assert client.get("/docs").status_code == 404
    assert client.get("/redoc").status_code == 404
    assert client.get("/openapi.json").json()["openapi"].startswith("3.1")


def test_a_photo_is_never_on_disk(client, examples, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("a file was made")

    for name in ("TemporaryFile", "SpooledTemporaryFile", "NamedTemporaryFile", "mkstemp"):
        monkeypatch.setattr(tempfile, name, refuse)
    content = (examples / "himeji-castle.jpg").read_bytes() + bytes(3_000_000)
    reply = client.post("/v1/locate", files=[("photos", ("a.jpg", content, "image/jpeg"))])
    assert reply.status_code == 200


def test_no_name_and_no_region_is_looked_for_on_disk(client, examples, monkeypatch):
    photo, seen = (examples / "himeji-castle.jpg").read_bytes(), []

    def watched(call):
        def watch(path, *arguments, **options):
            seen.append(str(path))
            return call(path, *arguments, **options)

        return watch

    for module, name in ((os, "stat"), (os, "lstat"), (os, "open"), (io, "open"), (builtins, "open")):
        monkeypatch.setattr(module, name, watched(getattr(module, name)))
    for name in ("mark-7f3.jpg", "/mark-7f3", "../mark-7f3.json", "file:///mark-7f3"):
        files = [("photos", (name, photo, "image/jpeg"))]
        assert client.post("/v1/locate", files=files).status_code == 200
        assert client.post("/v1/locate", files=files, data={"within": f"{name}.geojson"}).status_code == 400
        assert client.post("/v1/locate", files=[("photos", (name, name.encode(), "a/b"))]).status_code == 422
        assert client.get(f"/static/{name}").status_code == 404
    assert [path for path in seen if "mark-7f3" in path] == []


def test_a_key_is_asked_for_where_there_is_one(tiny_model):
    with make_client(tiny_model, api_key=KEY) as client:
        refused = client.get("/v1/models")
        assert (refused.status_code, refused.json()["error"]["code"]) == (401, "unauthorized")
        assert refused.headers["www-authenticate"] == "Bearer"
        assert client.get("/v1/models", headers={"X-API-Key": KEY + "x"}).status_code == 401
        assert client.get("/v1/models", headers={"Authorization": f"Basic {KEY}"}).status_code == 401
        assert client.get("/v1/models", headers={"X-API-Key": KEY}).status_code in (200, 503)
        assert client.get("/v1/models", headers={"Authorization": f"Bearer {KEY}"}).status_code in (200, 503)
        assert client.get("/healthz").status_code == 200


def test_other_origins_are_let_in_by_name_only(tiny_model):
    friend, stranger = "https://friend.example", "https://stranger.example"
    with make_client(tiny_model, cors_origins=(friend,), api_key=KEY) as client:
        ask = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-api-key"}
        allowed = client.options("/v1/locate", headers={"Origin": friend, **ask})
        assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (200, friend)
        refused = client.options("/v1/locate", headers={"Origin": stranger, **ask})
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, "bad_request")
        unknown = client.get("/v1/models", headers={"Origin": friend})
        assert (unknown.status_code, unknown.headers["access-control-allow-origin"]) == (401, friend)


def test_a_model_that_cannot_be_loaded_stops_the_server(tmp_path):
    stopped = []
    app = App(
        Settings(workers=1), on_failure=lambda: stopped.append(1), make_worker=lambda: LocalWorker(tmp_path)
    )
    with TestClient(app) as client:
        while not stopped:
            client.get("/readyz")
        reply = client.get("/readyz")
        assert (reply.status_code, reply.json()["error"]["code"]) == (503, "not_ready")
        assert client.post("/v1/locate", files={"photos": b"x"}).status_code == 503
    assert str(tmp_path) in str(app.pool.failure)


def test_a_bug_is_told_in_the_one_shape_and_logged_without_the_photo(tiny_model, monkeypatch, caplog):
    with make_client(tiny_model) as client:
        while client.get("/readyz").status_code != 200:
            pass
        monkeypatch.setattr(Locator, "check", lambda *_: 1 / 0)
        reply = client.post("/v1/locate", files=[("photos", ("secret-name.jpg", grey(), "image/jpeg"))])
        assert (reply.status_code, reply.json()["error"]["code"]) == (500, "internal_error")
        assert "Zero" not in reply.text
        assert "ZeroDivisionError" in caplog.text
        assert "secret-name" not in caplog.text
