"""Answers of geotoken in, answers that a multimodal model was asked about out, in order, many at a time.

Owns the event loop, its thread and its end; must not know requests, or what becomes of the words.
"""

import asyncio
import base64
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, wait
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from geotoken.errors import ImageError, InputError, reason_of
from geotoken.files import sha256_of
from geotoken.mllm.answers import Answers, key_of
from geotoken.mllm.ask import Asker, DryRun, Outcome, Request, ServerAsker
from geotoken.mllm.budget import Spending, most_cost
from geotoken.mllm.decide import decide
from geotoken.mllm.options import MllmOptions
from geotoken.mllm.parse import parse_choice, parse_place
from geotoken.mllm.photo import picture
from geotoken.mllm.prompts import VERSION, Question, question
from geotoken.pipeline import Failure, LocateOptions, Locator
from geotoken.prediction import Opinion, Prediction, Said

Answer = Prediction | Failure

DRAIN_S: Final = 10.0
"""How long answers under way, which may be charged, are waited for when a run is ended early, in seconds."""

_AHEAD: Final = 16  # answers begun for each request under way, so that a slow one holds up no other


class Judge:
    """Asks a multimodal model about photos that were located; a context manager.

    Requests run in a thread of their own, while the next photos are located. Ended early, it begins no more,
    and waits a moment for those under way, so that what was paid for is kept.
    """

    def __init__(
        self,
        locator: Locator,
        options: MllmOptions,
        located: LocateOptions,
        answers: Answers | None,
        *,
        key: str | None = None,
        tell: Callable[[str], None] = lambda line: None,
    ) -> None:
        """Prepare to ask; nothing is sent yet.

        Args:
            locator: What locates the photos.
            options: How the model is asked.
            located: How photos are located.
            answers: Where answers are kept; None only for a dry run.
            key: The key that the server wants; None for none.
            tell: Gets a line, as on what is being waited for.

        Raises:
            InputError: If options do not fit each other.
            DependencyError: If the extra `mllm` is not installed.
        """
        if options.mode == "fuse" and located.select == "similarity":
            raise InputError(
                "select (--select) 'similarity' does not go with mode (--mllm) 'fuse', which decodes again "
                "without the photo; choose another of either"
            )
        self._locator, self._options, self._located, self._tell = locator, options, located, tell
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="mllm", daemon=True)
        self._waiting: deque[tuple[Answer, Future[Opinion] | None]] = deque()
        self._num_begun = 0
        if options.dry_run is not None:
            self._asker: Asker = DryRun(options, options.dry_run)
        elif answers is not None:
            self._asker = ServerAsker(options, key, answers)
        else:
            raise InputError("answers is None; give a folder to keep answers in, or a dry run")

    @property
    def spending(self) -> Spending:
        """What was asked for so far."""
        return self._asker.spending

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._loop.call_soon_threadsafe(self._asker.stop)
            under_way = [future for _, future in self._waiting if future is not None and not future.done()]
            if under_way:
                self._tell(f"waiting up to {DRAIN_S:g} s for answers under way, which may be charged")
                wait(under_way, DRAIN_S)
        finally:
            asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def judge(self, answers: Iterable[Answer]) -> Iterator[Answer]:
        """Let a model judge answers as they come.

        Args:
            answers: Geotoken's own, in order.

        Yields:
            The answers that the model's words make of them, in the same order; failures as they are.

        Raises:
            InputError: If the server cannot be asked at all, or an answer cannot be kept.
        """
        for answer in answers:
            self._waiting.append((answer, None if isinstance(answer, Failure) else self._begin(answer)))
            while len(self._waiting) > _AHEAD * self._options.concurrency or self._is_ready():
                yield self._next()
        while self._waiting:
            yield self._next()

    def _begin(self, own: Prediction) -> "Future[Opinion]":
        asked = question(self._options.mode, own, self._located.decoding.num_candidates)
        self._num_begun += 1
        return asyncio.run_coroutine_threadsafe(self._opinion(own.image, asked, self._num_begun), self._loop)

    def _is_ready(self) -> bool:
        if not self._waiting:
            return False
        future = self._waiting[0][1]
        return future is None or future.done()

    def _next(self) -> Answer:
        """The first answer that is waited for, decided."""
        answer, future = self._waiting[0]
        if future is None or isinstance(answer, Failure):
            self._waiting.popleft()
            return answer
        opinion = future.result()
        self._waiting.popleft()
        decided = decide(self._locator, answer, opinion, self._located, self._options.weight)
        self.spending.num_fallbacks += decided.opinion is not None and bool(decided.opinion.problem)
        return decided

    async def _opinion(self, path: str, asked: Question, number: int) -> Opinion:
        """Ask about one photo.

        Raises:
            InputError: If the server cannot be asked at all, or an answer cannot be kept.
        """
        options = self._options
        opinion = Opinion(mode=options.mode, model=options.model)
        try:
            sha256 = await asyncio.to_thread(sha256_of, Path(path))
        except (OSError, ValueError) as error:
            return replace(opinion, problem=f"the photo can be read no more ({reason_of(error)})")
        messages = _Messages(path, options.side, asked.text)
        requests = [
            Request(
                name=f"{number:06d}" + (f"-{vote + 1}" if options.votes > 1 else ""),
                key=self._key(sha256, asked, vote),
                messages=messages.make,
                schema=asked.schema,
                most=most_cost(options, len(asked.text)),
            )
            for vote in range(options.votes)
        ]
        try:
            outcomes = await asyncio.gather(*map(self._asker.ask, requests))
        except ImageError as error:
            return replace(opinion, problem=f"the photo can be read no more ({error})")
        return replace(
            opinion,
            answers=tuple(_said(outcome, asked) for outcome in outcomes),
            num_requests=sum(outcome.num_requests for outcome in outcomes),
            num_cached=sum(outcome.cached for outcome in outcomes),
            cost=None if options.price_in is None else sum(outcome.cost for outcome in outcomes),
        )

    def _key(self, sha256: str, asked: Question, vote: int) -> str:
        options = self._options
        return key_of(
            photo=sha256,
            side=options.side,
            prompt=VERSION,
            text=asked.text,
            mode=options.mode,
            url=options.url.rstrip("/"),
            model=options.model,
            max_tokens=options.max_tokens,
            vote=vote,
        )

    async def _end(self) -> None:
        """Cancel what is still under way, wait for files that are being written, and end the connection."""
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.get_running_loop().shutdown_default_executor()
        await self._asker.close()


class _Messages:
    """The messages about one photo, made when they are first sent."""

    def __init__(self, path: str, side: int, text: str) -> None:
        self._path, self._side, self._text = path, side, text
        self._lock = asyncio.Lock()
        self._made: list[Any] | None = None

    async def make(self) -> list[Any]:
        async with self._lock:
            if self._made is None:
                jpeg = await asyncio.to_thread(picture, self._path, self._side)
                url = f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"
                parts = [
                    {"type": "text", "text": self._text},
                    {"type": "image_url", "image_url": {"url": url}},
                ]
                self._made = [{"role": "user", "content": parts}]
            return self._made


def _said(outcome: Outcome, asked: Question) -> Said:
    """What became of a question, as an answer."""
    reply = outcome.reply
    if reply is None:
        return Said(problem=outcome.problem)
    said = parse_choice(reply.text, asked.candidates) if asked.candidates else parse_place(reply.text)
    return replace(said, problem=reply.problem) if said.problem and reply.problem else said
