"""What tests of the server share: a worker without a process, a server in one, requests by hand."""

import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from geotoken.serve.answer import Answerer
from geotoken.serve.worker import Worker, enumerate_outcomes

BOUNDARY = "boundary-of-the-tests"


class LocalWorker(Worker):
    """Does the work in the thread that asks."""

    def __init__(self, model: Path) -> None:
        self.loaded = {"model": model, "head": None, "gallery": None, "offline": True, "num_threads": 1}

    def start(self):
        self.answerer = Answerer(self.loaded, max_pixels=1_000_000)
        return self.answerer.describe()

    def run(self, batch, deliver, *, timeout_s, is_wanted):
        for place, outcome in enumerate_outcomes(self.answerer.answer, batch):
            deliver(place, outcome)

    def close(self):
        pass


@contextmanager
def serving(model: Path, *flags: str, ready: bool = True) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """A server as its own process: its port, and the process."""
    command = [sys.executable, "-m", "geotoken", "serve", "--port", "0", "--model", str(model), *flags]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        said = process.stdout.readline()
        port = int(re.findall(r":(\d+)/", said)[0])
        while ready and ask(port, request("GET", "/readyz")).status != 200:
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.05)
        yield port, process
    finally:
        process.kill()
        process.communicate()


class Reply:
    """A reply, read off a socket."""

    def __init__(self, raw: bytes) -> None:
        head, _, self.body = raw.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        self.status = int(lines[0].split(" ")[1])
        self.headers = {
            name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])
        }

    def json(self):
        return json.loads(self.body)


def ask(port: int, raw: bytes, *, pause_s: float = 0.0, timeout_s: float = 30.0) -> Reply:
    """Send bytes as they are, and read until the reply is whole or the connection closed."""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout_s) as connection:
        try:
            connection.sendall(raw)
        except OSError:
            pass  # the server has heard enough; it has said why
        time.sleep(pause_s)
        return read_reply(connection)


def read_reply(connection: socket.socket) -> Reply:
    """The reply on a connection."""
    raw = b""
    while True:
        head, _, body = raw.partition(b"\r\n\r\n")
        length = re.findall(rb"(?i)content-length: (\d+)", head)
        if length and len(body) >= int(length[0]):
            return Reply(head + b"\r\n\r\n" + body[: int(length[0])])
        more = connection.recv(65536)
        if not more:
            assert raw, "closed without a word"
            return Reply(raw)
        raw += more


def request(
    method: str,
    path: str,
    body: bytes = b"",
    *,
    content_type: str = "",
    headers: dict[str, str] | None = None,
) -> bytes:
    """A whole request."""
    lines = {"Host": "localhost", **({"Content-Type": content_type} if content_type else {})}
    if body or method == "POST":
        lines["Content-Length"] = str(len(body))
    head = "".join(f"{name}: {value}\r\n" for name, value in {**lines, **(headers or {})}.items())
    return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + body


def form(*parts: tuple[str, bytes, str | None]) -> bytes:
    """A multipart body of parts (name, content, file name)."""
    body = b""
    for name, content, filename in parts:
        file = "" if filename is None else f'; filename="{filename}"'
        body += f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'.encode()
        body += content + b"\r\n"
    return body + f"--{BOUNDARY}--\r\n".encode()


def post(body: bytes, path: str = "/v1/locate", **headers: str) -> bytes:
    """A request with a multipart body."""
    return request(
        "POST", path, body, content_type=f"multipart/form-data; boundary={BOUNDARY}", headers=headers
    )


def post_photo(content: bytes, path: str = "/v1/locate") -> bytes:
    """A request with one photo."""
    return post(form(("photos", content, "a.jpg")), path)


def post_json(value: object, path: str = "/v1/locate") -> bytes:
    """A request with a JSON body; bytes are taken as they are."""
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    return request("POST", path, body, content_type="application/json")
