"""Geotoken's own answers, a locator of the tiny model, and a server to be asked."""

import asyncio
from pathlib import Path

import pytest

from geotoken.mllm import Answers, MllmOptions
from geotoken.mllm.ask import Request, ServerAsker
from geotoken.pipeline import Locator
from mllm_server import MllmServer


@pytest.fixture(scope="session")
def locator(tiny_model):
    return Locator.from_pretrained(tiny_model, num_threads=1)


@pytest.fixture(scope="session")
def himeji(examples):
    return examples / "himeji-castle.jpg"


@pytest.fixture(scope="session")
def own(locator, himeji):
    return locator.locate(himeji)


@pytest.fixture
def serve():
    """Start servers that end with the test."""
    servers = []

    def start(*arguments, **others):
        servers.append(MllmServer(*arguments, **others).__enter__())
        return servers[-1]

    yield start
    for server in servers:
        server.__exit__()


@pytest.fixture
def options_for():
    """Options to ask a server, quick to give up."""

    def make(server, **others):
        url = server if isinstance(server, str) else server.url
        return MllmOptions(**{"mode": "free", "url": url, "model": "test", "timeout_s": 5.0} | others)

    return make


@pytest.fixture(autouse=True)
def _hasty(monkeypatch):
    """Repeat soon."""
    monkeypatch.setattr("geotoken.mllm.ask.FIRST_WAIT_S", 0.01)


async def _messages():
    jpeg = "data:image/jpeg;base64,/9j/4AAQ"
    parts = [{"type": "text", "text": "Where?"}, {"type": "image_url", "image_url": {"url": jpeg}}]
    return [{"role": "user", "content": parts}]


@pytest.fixture
def ask(tmp_path: Path):
    """Ask questions of given keys at once; what became of each, and the asker."""

    def run(options, *names, key=None, most=0.0):
        async def all_of_them():
            asker = ServerAsker(options, key, Answers(tmp_path / "answers"))
            requests = [
                Request(name=name, key=name * 8, messages=_messages, schema={"type": "object"}, most=most)
                for name in names or ("a1",)
            ]
            try:
                return await asyncio.gather(*map(asker.ask, requests)), asker
            finally:
                await asker.close()

        return asyncio.run(all_of_them())

    return run
