"""One request to a server with OpenAI's chat interface: what is sent, and what its answers and faults mean.

Owns the official client, which is the extra `mllm`; must not know photos, retries or budgets. Nothing of this
machine is in the headers: no system, no versions, and no key but in the one header that is for it.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from importlib.util import find_spec
from time import time
from typing import TYPE_CHECKING, Any, Final

from geotoken.errors import DependencyError, GeoTokenError, InputError
from geotoken.mllm.answers import Reply
from geotoken.mllm.options import MllmOptions
from geotoken.version import __version__

if TYPE_CHECKING:
    import httpx2
    from openai import APIStatusError

MAX_BYTES: Final = 10_000_000
"""A longer answer of a server is refused; a place takes a hundred bytes."""

_CONNECT_S: Final = 10.0
_TRANSIENT: Final = frozenset({408, 409, 429})
_SETTINGS: Final = frozenset({301, 302, 303, 307, 308, 401, 403, 404, 405})


class NoReply(GeoTokenError):
    """A request that brought no answer; the message says why, without any key."""

    def __init__(
        self,
        message: str,
        *,
        again: bool = False,
        after_s: float | None = None,
        wrong_settings: bool = False,
        charged: bool = False,
        learned: bool = False,
    ) -> None:
        super().__init__(message)
        self.again = again
        """Whether the same request may do better."""
        self.after_s = after_s
        """How long the server asks to wait before, in seconds."""
        self.wrong_settings = wrong_settings
        """Whether the URL, the key or the name of the model may be wrong."""
        self.charged = charged
        """Whether the server may charge for it all the same."""
        self.learned = learned
        """Whether it will be put in other words, because the server does not know these."""


@dataclass(frozen=True, slots=True)
class _Dialect:
    """How a server is spoken to."""

    schema: bool = True
    max_tokens: str = "max_tokens"


class Client:
    """A connection to one server and model; to be used in one event loop."""

    def __init__(self, options: MllmOptions, key: str | None) -> None:
        """Prepare the connection; nothing is sent yet.

        Args:
            options: Where the server is, and the model.
            key: The key that the server wants; None for none.

        Raises:
            DependencyError: If the extra `mllm` is not installed.
            InputError: If the key cannot be sent in a header.
        """
        key = (key or "").strip() or None  # a line feed from a file is no part of it
        if key is not None and not (key.isascii() and key.isprintable() and " " not in key):
            raise InputError(
                "the key for the multimodal model holds a letter that no key can; set GEOTOKEN_MLLM_API_KEY "
                "to the key alone"
            )
        if find_spec("openai") is None:
            raise DependencyError(
                "--mllm needs the client openai, which is not installed; pip install 'geotoken[mllm]'"
            )
        from openai import AsyncOpenAI, DefaultAsyncHttpxClient, Timeout

        self._options, self._key, self._dialect = options, key, _Dialect()
        self._proven: _Dialect | None = None
        self._client = AsyncOpenAI(
            api_key=key or "none",
            base_url=options.url,
            timeout=Timeout(options.timeout_s, connect=min(options.timeout_s, _CONNECT_S)),
            max_retries=0,
            http_client=DefaultAsyncHttpxClient(
                follow_redirects=False,  # what is sent goes where it was said to go
                trust_env=False,  # and through no proxy
                event_hooks={"request": [self._tell_little], "response": [_limit]},
            ),
        )

    async def close(self) -> None:
        """End the connection."""
        await self._client.close()

    async def ask(self, messages: list[Any], schema: Mapping[str, Any]) -> Reply:
        """Send one request and wait for its answer.

        Args:
            messages: The messages of the request's body.
            schema: JSON schema of the answer.

        Returns:
            The answer.

        Raises:
            NoReply: If there is none.
        """
        import httpx2
        from openai import APIConnectionError, APIStatusError, APITimeoutError

        seconds, dialect = f"{self._options.timeout_s:g} s", self._dialect
        body = request_body(self._options, messages, schema if dialect.schema else None, dialect.max_tokens)
        try:
            async with asyncio.timeout(self._options.timeout_s):
                raw = await self._client.chat.completions.with_raw_response.create(**body)
        except (TimeoutError, APITimeoutError) as error:
            if isinstance(error.__cause__, httpx2.ConnectTimeout):
                raise self._lost(error) from error
            raise NoReply(f"no answer within {seconds} (--mllm-timeout)", again=True, charged=True) from error
        except APIStatusError as error:
            raise self._refused(error, dialect) from error
        except (_TooLongError, APIConnectionError, httpx2.HTTPError) as error:
            raise self._lost(error) from error
        self._proven = dialect
        return _reply(raw.content)

    def _lost(self, error: Exception) -> NoReply:
        """What an exception of the connection means."""
        import httpx2

        cause = error.__cause__ or error
        if isinstance(cause, _TooLongError):
            return NoReply(f"its answer {cause}", charged=True)
        detail = self._quoted(str(cause) or type(cause).__name__)
        if isinstance(cause, httpx2.ConnectError | httpx2.ConnectTimeout):
            message = f"{self._options.url} cannot be reached ({detail})"
            return NoReply(message, again=True, wrong_settings=True)
        return NoReply(f"the connection broke ({detail})", again=True, charged=True)

    async def _tell_little(self, request: "httpx2.Request") -> None:
        """Take out of the headers what a server need not know."""
        untold = ["authorization"] if self._key is None else []
        if not self._options.host.endswith("openai.com"):
            untold += ["openai-organization", "openai-project"]
        for name in list(request.headers):
            told = name == "x-stainless-raw-response"  # the client looks for it afterwards
            if (name.startswith("x-stainless") and not told) or name in untold:
                del request.headers[name]
        request.headers["user-agent"] = f"geotoken/{__version__}"
        request.headers["accept-encoding"] = "identity"  # see `_limit`

    def _refused(self, error: "APIStatusError", dialect: _Dialect) -> NoReply:
        """What an answer with an error status means."""
        status, said = error.status_code, self._quoted(_message(error))
        message = f"the server says {status}" + (f" ({said})" if said else "")
        if status in (400, 422):
            wrong_key = self._proven is None and "api key" in said.lower()  # some say so with 400
            return NoReply(
                message, learned=not wrong_key and self._learn(said, dialect), wrong_settings=wrong_key
            )
        if status in _TRANSIENT or status >= 500:
            return NoReply(message, again=True, after_s=_retry_after(error.response.headers))
        return NoReply(message, wrong_settings=status in _SETTINGS)

    def _learn(self, said: str, dialect: _Dialect) -> bool:
        """Choose another dialect, if one may be understood that a request was not; whether there is one."""
        if dialect != self._dialect:  # another request has found it
            return True
        if dialect.max_tokens == "max_tokens" and "max_completion_tokens" in said:
            self._dialect = replace(dialect, max_tokens="max_completion_tokens")
        elif dialect.schema and dialect != self._proven:
            self._dialect = replace(dialect, schema=False)
        else:  # it was not for the words; the first ones may still be right
            self._dialect = self._proven or _Dialect()
            return False
        return True

    def _quoted(self, text: str) -> str:
        """What a server says, on one line, without the key."""
        plain = " ".join(text.split())
        if self._key:
            plain = plain.replace(self._key, "***")
        return plain if len(plain) <= 200 else f"{plain[:196]} ..."


def request_body(
    options: MllmOptions,
    messages: list[Any],
    schema: Mapping[str, Any] | None,
    max_tokens: str = "max_tokens",
) -> dict[str, Any]:
    """The body of a request.

    Args:
        options: The model, and how long its answer may be.
        messages: The messages.
        schema: JSON schema of the answer; None for a server that does not know schemas.
        max_tokens: What the server calls the limit on tokens.

    Returns:
        JSON-ready values.
    """
    body = {"model": options.model, "messages": messages, max_tokens: options.max_tokens}
    if schema is not None:
        named = {"name": "answer", "strict": True, "schema": schema}
        body["response_format"] = {"type": "json_schema", "json_schema": named}
    return body


class _TooLongError(Exception):
    """An answer that is not read to its end."""


class _Limited:
    """The body of an answer, cut off by an exception where it gets too long; an asynchronous byte stream."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        num_bytes = 0
        async for chunk in self._stream:
            num_bytes += len(chunk)
            if num_bytes > MAX_BYTES:
                raise _TooLongError(f"has more than {MAX_BYTES:,} bytes")
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()


async def _limit(response: "httpx2.Response") -> None:
    """Limit what is read of an answer; a packed one could grow beyond it.

    Raises:
        _TooLongError: If the answer is packed, which was not asked for.
    """
    import httpx2

    class Stream(_Limited, httpx2.AsyncByteStream):
        pass

    if response.headers.get("content-encoding", "identity") != "identity":
        raise _TooLongError("is packed, which was not asked for")
    response.stream = Stream(response.stream)


def _reply(content: bytes) -> Reply:
    """The words in the body of an answer, tolerant of what is missing around them.

    Raises:
        NoReply: If it is no such body.
    """
    try:
        body = json.loads(content)
        choice = body["choices"][0]
        message = choice["message"]
        text = message.get("content") or ""
        if isinstance(text, list):  # some servers answer in parts
            text = "".join(part.get("text") or "" for part in text)
        refusal, finish = message.get("refusal"), choice.get("finish_reason")
        usage = body.get("usage") or {}
        counts = [usage.get(name) for name in ("prompt_tokens", "completion_tokens")]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise NoReply("its answer is no chat completion in JSON", again=True, charged=True) from error
    problem = ""
    if refusal or finish == "content_filter":
        problem = "it declined to answer"
    elif finish == "length":
        problem = "its answer was cut short (--mllm-max-tokens)"
    tokens_in, tokens_out = (n if isinstance(n, int) and n >= 0 else None for n in counts)
    return Reply(text=str(text or refusal or ""), problem=problem, tokens_in=tokens_in, tokens_out=tokens_out)


def _message(error: "APIStatusError") -> str:
    """What the body of an error says."""
    body = error.body
    if isinstance(body, list) and body:  # Gemini's compatible endpoint wraps errors in a list
        body = body[0]
    if isinstance(body, dict):
        body = body.get("error", body)
    if isinstance(body, dict):
        body = body.get("message") or body.get("detail")
    return body if isinstance(body, str) else ""


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that a server asks to wait; None if it does not say."""
    value = headers.get("retry-after", "")
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time())
    except (ValueError, TypeError, OverflowError):
        return None
