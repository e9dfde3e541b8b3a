"""Questions answered once and for all: from the disk, or by requests with retries inside a budget.

Owns when a request is repeated, and that a paid answer is kept; must not know photos or places.
"""

import asyncio
import json
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from geotoken.errors import InputError
from geotoken.files import cannot_write, write_whole
from geotoken.mllm.answers import Answers, Reply
from geotoken.mllm.budget import Budget, Spending
from geotoken.mllm.client import Client, NoReply, request_body
from geotoken.mllm.options import MllmOptions

FIRST_WAIT_S: Final = 0.5
"""Mean wait before the first repetition in seconds; it doubles with each, and varies by half of it."""
MOST_LEARNED: Final = 3
"""Times that a question is put in other terms, because the server did not understand it."""
LONGEST_WAIT_S: Final = 60.0
"""Longest mean wait in seconds; a server that asks to wait longer is not asked again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One question with its picture."""

    name: str
    """What it is called in a dry run."""
    key: str
    """What its answer is kept under."""
    messages: Callable[[], Awaitable[list[Any]]]
    """Makes the messages of the request's body."""
    schema: Mapping[str, Any]
    """JSON schema of the answer."""
    most: float
    """What it can cost at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a question."""

    reply: Reply | None = None
    """The answer; None if there is none."""
    problem: str = ""
    """Why there is none."""
    num_requests: int = 0
    """Requests sent for it."""
    cost: float = 0.0
    """What they cost; 0 without prices."""
    cached: bool = False
    """Whether it was known from an earlier run."""


class Asker(Protocol):
    """What answers questions."""

    @property
    def spending(self) -> Spending:
        """What was asked for so far."""

    async def ask(self, request: Request) -> Outcome:
        """Answer a question."""

    def stop(self) -> None:
        """Begin no further request; those under way go on."""

    async def close(self) -> None:
        """Let go of what is held."""


class ServerAsker:
    """Asks a server."""

    def __init__(self, options: MllmOptions, key: str | None, answers: Answers) -> None:
        """Prepare to ask; nothing is sent yet.

        Args:
            options: Where, how often and for how much.
            key: The key that the server wants; None for none.
            answers: Where answers are kept.

        Raises:
            DependencyError: If the extra `mllm` is not installed.
        """
        self.budget = Budget(options)
        self._options, self._answers = options, answers
        self._client = Client(options, key)
        self._slots = asyncio.Semaphore(options.concurrency)
        self._stopped = asyncio.Event()
        self._answered = False

    @property
    def spending(self) -> Spending:
        """What was asked for so far."""
        return self.budget.spending

    async def ask(self, request: Request) -> Outcome:
        """Answer a question from the disk or by the server.

        Args:
            request: The question.

        Returns:
            What became of it.

        Raises:
            InputError: If the server cannot be reached, or refuses the key or the model, before it has
                answered anything; or if an answer cannot be kept.
        """
        kept = await asyncio.to_thread(self._answers.get, request.key)
        if kept is not None:
            self.spending.num_cached += 1
            return Outcome(reply=kept, cached=True)
        num_requests, num_learned, cost, fault = 0, 0, 0.0, NoReply("the run was ended before it was asked")
        while not self._stopped.is_set():
            async with self._slots:
                if self._stopped.is_set():
                    break
                messages = await request.messages()
                limit = await self.budget.reserve(request.most, repeated=num_requests > 0)
                if limit:
                    fault = NoReply(limit)
                    break
                num_requests += 1
                found, spent = await self._send(request, messages)
            cost += spent
            if isinstance(found, Reply):
                return Outcome(reply=found, num_requests=num_requests, cost=cost)
            fault = found
            num_learned += fault.learned
            if num_learned > MOST_LEARNED:
                break
            wait_s = self._wait_s(fault, num_requests - num_learned)
            if wait_s is None:
                break
            await self._pause(wait_s)
        if fault.wrong_settings and not self._answered:
            raise InputError(
                f"the multimodal model cannot be asked: {fault}; check --mllm-url {self._options.url}, "
                f"--mllm-model {self._options.model} and the key in GEOTOKEN_MLLM_API_KEY"
            )
        return Outcome(problem=str(fault), num_requests=num_requests, cost=cost)

    async def _send(self, request: Request, messages: list[Any]) -> tuple[Reply | NoReply, float]:
        """Send a request that was reserved, and keep its answer; what came and what it cost."""
        try:
            reply = await self._client.ask(messages, request.schema)
        except NoReply as error:
            return error, await self.budget.settle(request.most, None, charged=error.charged)
        self._answered = True
        self._answers.put(request.key, reply)  # here and now: in a thread it might come too late for a kill
        return reply, await self.budget.settle(request.most, reply)

    def stop(self) -> None:
        """Begin no further request; those under way go on."""
        self._stopped.set()

    async def close(self) -> None:
        """End the connection."""
        await self._client.close()

    def _wait_s(self, fault: NoReply, num_tried: int) -> float | None:
        """How long to wait before a repetition; None for never."""
        if fault.learned:
            return 0.0
        if not fault.again or num_tried > self._options.retries:
            return None
        if fault.after_s is None:
            mean_s: float = min(FIRST_WAIT_S * 2.0 ** (num_tried - 1), LONGEST_WAIT_S)
            return mean_s * random.uniform(0.5, 1.5)
        return None if fault.after_s > LONGEST_WAIT_S else fault.after_s * random.uniform(1, 1.1)

    async def _pause(self, seconds: float) -> None:
        """Wait, but not beyond a stop."""
        try:
            await asyncio.wait_for(self._stopped.wait(), seconds)
        except TimeoutError:
            pass


class DryRun:
    """Writes what would be sent, and sends nothing."""

    def __init__(self, options: MllmOptions, folder: Path) -> None:
        """Open the folder.

        Args:
            options: Where it would be sent.
            folder: A new or empty folder.

        Raises:
            InputError: If it has something in it, or cannot be made.
        """
        self.spending = Spending()
        self._options, self._folder = options, folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if any(folder.iterdir()):
                raise InputError(f"dry_run (--mllm-dry-run) {folder} is not empty; give a new folder")
        except OSError as error:
            raise InputError(cannot_write(folder, error)) from error

    async def ask(self, request: Request) -> Outcome:
        """Write a request.

        Args:
            request: The question.

        Returns:
            That it was not sent.

        Raises:
            InputError: If it cannot be written.
        """
        path = self._folder / f"{request.name}.json"
        body = request_body(self._options, await request.messages(), request.schema)
        sent = {"method": "POST", "url": f"{self._options.url.rstrip('/')}/chat/completions", "body": body}
        try:
            write_whole(path, json.dumps(sent, indent=1).encode())
        except OSError as error:
            raise InputError(cannot_write(path, error)) from error
        return Outcome(problem=f"a dry run sends nothing; the request is {path.name}")

    def stop(self) -> None:
        """Nothing is under way."""

    async def close(self) -> None:
        """Nothing is held."""
