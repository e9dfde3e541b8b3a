"""A server with OpenAI's chat interface on loopback, for tests and benchmarks: strict, and faulty on order.

Owns one endpoint, what it was sent, and its faults; must not know geotoken. Requests are validated with the
types of OpenAI's own client.
"""

import base64
import hashlib
import json
import random
import select
import socket
import struct
import threading
import time
from collections import Counter
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, get_type_hints

from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming
from pydantic import TypeAdapter

BROKEN = ("429", "500", "reset", "stall", "half", "malformed")
"""Faults after which the same question may be asked again."""
FAULTS = (*BROKEN, "refusal", "out_of_range", "integers", "swapped", "wrong_candidate", "huge")
RETRY_AFTER_S = 1

_PARAMS = TypeAdapter(CompletionCreateParamsNonStreaming)


@dataclass
class Sent:
    """A request as it came."""

    path: str
    headers: dict[str, str]
    raw: bytes
    body: dict[str, Any]
    fault: str

    @property
    def question(self):
        """What is asked, whatever the attempt."""
        return hashlib.sha256(json.dumps(self.body["messages"]).encode()).hexdigest()


class MllmServer(ThreadingHTTPServer):
    """Answers every question with `answer(body)`, after `latency_s` seconds, but for the faults.

    `faults` is a list of names for the first requests, or a function from (question, attempt) to a name.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(
        self, answer=None, faults=(), *, latency_s=0.0, key=None, model=None, schema=True, stall_s=30.0
    ):
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/v1"
        self.answer = answer or (
            lambda body: '{"reason": "a mountain", "latitude": -33.9, "longitude": 18.4}'
        )
        self.latency_s, self.key, self.model, self.schema, self.stall_s = (
            latency_s,
            key,
            model,
            schema,
            stall_s,
        )
        self.faults = faults if callable(faults) else self._listed(list(faults))
        self.lock = threading.Lock()
        self.sent: list[Sent] = []
        self.attempts: Counter[str] = Counter()
        self.paid: Counter[str] = Counter()
        self.refusal_of = lambda body: ""
        self.redirect = ""
        self.packed = False
        self.came_at: list[float] = []
        self.paid_at: list[tuple[str, float]] = []
        self.busy_s: list[float] = []
        self.under_way = self.most_under_way = 0

    @staticmethod
    def _listed(names):
        return lambda question, attempt: names.pop(0) if names else ""

    def __enter__(self):
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()

    def handle_error(self, request, client_address):
        """A client that is gone is no error."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: MllmServer

    def log_message(self, *_):
        pass

    def do_POST(self):
        server, start = self.server, time.perf_counter()
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        refused = self.refused(raw)
        if refused:
            return self.reply(*refused)
        sent = Sent(
            self.path, {name.lower(): value for name, value in self.headers.items()}, raw, json.loads(raw), ""
        )
        with server.lock:
            server.attempts[sent.question] += 1
            sent.fault = server.faults(sent.question, server.attempts[sent.question])
            server.sent.append(sent)
            server.came_at.append(start)
            server.under_way += 1
            server.most_under_way = max(server.most_under_way, server.under_way)
        try:
            extra_s = self.serve(sent)
        finally:
            with server.lock:
                server.under_way -= 1
        with server.lock:
            server.busy_s.append(time.perf_counter() - start + (extra_s or 0.0))

    def refused(self, raw):
        """What is wrong with a request: status and body; None if nothing is."""
        server = self.server
        if self.path != "/v1/chat/completions":
            return 404, {"error": {"message": f"there is no {self.path}"}}
        if server.key is not None and self.headers.get("Authorization") != f"Bearer {server.key}":
            return 401, {"error": {"message": f"wrong key {self.headers.get('Authorization')}"}}
        try:
            body = check(json.loads(raw))
        except ValueError as error:
            return 400, {"error": {"message": f"bad request: {error}"}}
        if server.model is not None and body["model"] != server.model:
            return 404, {"error": {"message": f"model '{body['model']}' not found"}}
        if not server.schema and "response_format" in body:
            return 400, {"error": {"message": "response_format is not supported"}}
        if server.redirect:
            return 307, {}, {"Location": server.redirect}
        message = server.refusal_of(body)
        return (400, {"error": {"message": message}}) if message else None

    def serve(self, sent):
        """Answer; seconds that the client was asked to wait besides."""
        server, fault = self.server, sent.fault
        time.sleep(server.latency_s() if callable(server.latency_s) else server.latency_s)
        if fault == "429":
            self.reply(429, {"error": {"message": "slow down"}}, {"Retry-After": str(RETRY_AFTER_S)})
            return RETRY_AFTER_S
        if fault == "500":
            return self.reply(500, {"error": {"message": "an internal fault"}})
        if fault == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            return self.connection.close()
        if fault == "stall":
            select.select([self.connection], [], [], server.stall_s)  # until the client has gone
            self.close_connection = True
            return None
        if fault == "huge":
            return self.reply(200, completion("x" * 10_000_001))
        if fault == "malformed":
            return self.write(200, b'{"choices": [{"message": ')
        content = json.dumps(completion(*self.words(sent))).encode()
        if fault == "half":
            self.write(200, content[: len(content) // 2], length=len(content))
            self.close_connection = True
            return self.connection.close()
        self.write(200, content)
        with server.lock:
            server.paid[sent.question] += 1
            server.paid_at.append((sent.question, time.perf_counter()))
        return None

    def words(self, sent):
        """Text and refusal of an answer."""
        wrong = {
            "refusal": ("", "I cannot help with locating photos."),
            "out_of_range": ('{"latitude": 123.4, "longitude": 456.7}', None),
            "integers": ("-34, 18", None),
            "swapped": ('{"latitude": 151.2, "longitude": -33.9}', None),
            "wrong_candidate": ('{"candidate": 99}', None),
        }
        return wrong.get(sent.fault) or (self.server.answer(sent.body), None)

    def reply(self, status, value, headers=None):
        self.write(status, json.dumps(value).encode(), headers=headers)

    def write(self, status, content, *, headers=None, length=None):
        packing = {"Content-Encoding": "gzip"} if self.server.packed else {}
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **packing, **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content) if length is None else length))
        self.end_headers()
        self.wfile.write(content)
        self.wfile.flush()


def completion(text, refusal=None):
    """The body of an answer."""
    return {
        "id": "answer-1", "object": "chat.completion", "created": 0, "model": "test",
        "choices": [{"index": 0, "finish_reason": "stop", "logprobs": None,
                     "message": {"role": "assistant", "content": text or None, "refusal": refusal}}],
        "usage": {"prompt_tokens": 1000, "completion_tokens": 50, "total_tokens": 1050},
    }  # fmt: skip


def check(body):
    """A request's body, if OpenAI's types and the format of its picture allow it."""
    unknown = set(body) - set(get_type_hints(CompletionCreateParamsNonStreaming))
    if unknown:
        raise ValueError(f"unknown {sorted(unknown)}")
    valid = _PARAMS.validate_python(body)
    for message in valid["messages"]:
        for part in message["content"] if not isinstance(message["content"], str) else ():
            if part["type"] == "image_url":
                kind, _, data = part["image_url"]["url"].partition(",")
                if kind != "data:image/jpeg;base64" or not base64.b64decode(data, validate=True).startswith(
                    b"\xff\xd8"
                ):
                    raise ValueError("the picture is no JPEG")
    return body


def faulty(share, names=BROKEN, seed=0):
    """Faults at the first attempts of a share of the questions, each of one kind, the same in every run."""

    def fault(question, attempt):
        drawn = random.Random(f"{seed} {question}")
        return drawn.choice(names) if drawn.random() < share and attempt == 1 else ""

    return fault
