import asyncio
import json

import pytest
from uvicorn import Config
from uvicorn.server import ServerState

from geotoken.serve.http import Protocol


class Wire(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written, self.closed = b"", False

    def write(self, data):
        self.written += data

    def close(self):
        self.closed = True

    def is_closing(self):
        return self.closed


async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


def talk(*chunks: bytes, wait_s: float = 0.02, head_timeout_s: float = 30.0, stopping: bool = False) -> Wire:
    """What a protocol says to bytes that come one after the other."""

    async def run() -> Wire:
        kind = type(
            "Chosen", (Protocol,), {"head_timeout_s": head_timeout_s, "is_stopping": lambda self: stopping}
        )
        config = Config(app, http=kind, ws="none", log_config=None, h11_max_incomplete_event_size=16_384)
        protocol, wire = kind(config, ServerState(), {}, asyncio.get_running_loop()), Wire()
        protocol.connection_made(wire)
        for chunk in chunks:
            protocol.data_received(chunk)
            await asyncio.sleep(wait_s)
        if not chunks:
            await asyncio.sleep(wait_s)
        protocol.connection_lost(None)
        return wire

    return asyncio.run(run())


def error(wire: Wire) -> tuple[bytes, str]:
    head, _, body = wire.written.partition(b"\r\n\r\n")
    return head.split(b"\r\n")[0], json.loads(body)["error"]["code"]


def test_a_request_is_answered():
    assert talk(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").written.startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("raw", [b"nonsense\r\n\r\n", b"\x16\x03\x01\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n"])
def test_what_is_no_request_is_told_so_in_the_one_shape(raw):
    wire = talk(raw)
    assert error(wire) == (b"HTTP/1.1 400 Bad Request", "bad_request")
    assert wire.closed


def test_headers_without_end():
    wire = talk(b"GET / HTTP/1.1\r\nHost: a\r\n", *[b"x: " + b"y" * 5000 + b"\r\n"] * 4)
    assert error(wire) == (b"HTTP/1.1 431 Request Header Fields Too Large", "headers_too_large")
    assert wire.closed


@pytest.mark.parametrize("chunks", [(), (b"GET / HT",)])
def test_a_head_that_does_not_come(chunks):
    wire = talk(*chunks, wait_s=0.2, head_timeout_s=0.05)
    assert error(wire) == (b"HTTP/1.1 408 Request Timeout", "request_timeout")
    assert wire.closed


def test_a_head_has_its_own_time_on_a_connection_that_goes_on():
    first = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    wire = talk(first, b"GET / HT", wait_s=0.2, head_timeout_s=0.1)
    assert wire.written.startswith(b"HTTP/1.1 200")
    assert b"HTTP/1.1 408" in wire.written


def test_a_connection_that_comes_while_the_server_stops_is_closed():
    wire = talk(stopping=True)
    assert (wire.written, wire.closed) == (b"", True)
