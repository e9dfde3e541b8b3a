import asyncio
import json

import pytest

from geotoken.serve.errors import Refusal
from geotoken.serve.guards import HEADERS, MAX_HEAD_BYTES, Guard


def answer(
    app, *, body=(), api_key=None, timeout_s=5.0, path="/v1/x", method="POST", version="1.1", **headers
):
    """What a guarded application sends, and how many parts of the body were taken."""
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    if body:
        raw.append((b"transfer-encoding", b"chunked"))
    scope = {"type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": b""}
    sent, parts = [], list(body)

    async def receive():
        if not parts:
            await asyncio.sleep(3600)
        part = parts.pop(0)
        if part is None:
            await asyncio.sleep(3600)
        return {"type": "http.request", "body": part, "more_body": bool(parts)}

    async def send(message):
        sent.append(message)

    guard = Guard(app, api_key=api_key, upload_timeout_s=timeout_s, shared=False)
    asyncio.run(guard({**scope, "http_version": version, "headers": raw}, receive, send))
    content = b"".join(message.get("body", b"") for message in sent[1:])
    return sent[0]["status"], dict(sent[0]["headers"]), content, len(body) - len(parts)


async def greet(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})


async def read(scope, receive, send):
    while (await receive())["more_body"]:
        pass
    await greet(scope, receive, send)


def test_every_reply_has_the_headers_and_a_name():
    status, headers, content, _ = answer(greet)
    assert (status, content) == (200, b"hello")
    assert {name.lower().encode() for name in HEADERS} <= headers.keys()
    assert headers[b"x-request-id"] != answer(greet)[1][b"x-request-id"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"x_api_key": "wrong"}, 401),
        ({"x_api_key": ""}, 401),
        ({"authorization": "Bearer"}, 401),
        ({"authorization": "Basic the-right-key"}, 401),
        ({"x_api_key": "the-right-key"}, 200),
        ({"authorization": "bearer  the-right-key"}, 200),
    ],
)
def test_the_key(headers, status):
    assert answer(greet, api_key="the-right-key", **headers)[0] == status


@pytest.mark.parametrize(
    ("path", "status"), [("/", 200), ("/static/a.js", 200), ("/readyz", 200), ("/v1/a", 401)]
)
def test_the_page_needs_no_key(path, status):
    assert answer(greet, api_key="the-right-key", path=path)[0] == status


@pytest.mark.parametrize(
    ("headers", "status"),
    [({"x": "y" * MAX_HEAD_BYTES}, 431), ({"x": "y" * (MAX_HEAD_BYTES - 100)}, 200)],
)
def test_a_long_head(headers, status):
    assert answer(greet, **headers)[0] == status


def test_another_version_of_http():
    assert answer(greet, version="2.0")[0] == 400


def test_a_body_that_does_not_come():
    status, headers, content, _ = answer(read, body=[b"x", None, b"y"], timeout_s=0.05)
    assert (status, json.loads(content)["error"]["code"]) == (408, "request_timeout")
    assert headers[b"connection"] == b"close"


def test_a_reply_before_the_body_is_read_takes_the_rest_so_that_the_client_sees_it():
    status, headers, content, num_taken = answer(greet, body=[b"x"] * 5)
    assert (status, content, num_taken) == (200, b"hello", 5)
    assert headers[b"connection"] == b"close"


def test_a_client_that_waits_for_a_word_gets_its_reply_at_once():
    *_, num_taken = answer(greet, body=[b"x"] * 5, expect="100-continue")
    assert num_taken == 0


def test_a_refusal_and_a_bug_have_the_one_shape(caplog):
    async def refuse(scope, receive, send):
        raise Refusal("busy", "later", retry_after_s=2)

    async def fail(scope, receive, send):
        raise ZeroDivisionError("secret")

    status, headers, content, _ = answer(refuse)
    assert (status, headers[b"retry-after"]) == (429, b"2")
    shape = {"code": "busy", "message": "later", "request_id": headers[b"x-request-id"].decode()}
    assert json.loads(content) == {"error": shape}
    status, _, content, _ = answer(fail)
    assert (status, json.loads(content)["error"]["code"]) == (500, "internal_error")
    assert b"secret" not in content
    assert "ZeroDivisionError" in caplog.text
