"""What every request passes, whatever its route: key, deadline of its body, headers and shape of the reply.

Owns the security headers and the last line against exceptions; must not know routes or models.
"""

import asyncio
import hmac
import json
import logging
import secrets
from typing import Any, Final

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from geotoken.serve.errors import BUG, Refusal, body_of

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; worker-src 'self'; font-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
"""Content security policy of every reply: nothing from elsewhere, nothing inline."""

HEADERS: Final[dict[str, str]] = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), interest-cohort=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}
"""Security headers of every reply."""

MAX_HEAD_BYTES: Final = 16 * 1024
"""Length of a request's first line and headers."""

_LINGER_BYTES: Final = 64 << 20  # of a body that nobody wants, read so that the client sees the reply
_LINGER_S: Final = 5.0
_log = logging.getLogger("geotoken.serve")


class Guard:
    """An ASGI application around another."""

    def __init__(self, app: ASGIApp, *, api_key: str | None, upload_timeout_s: float, shared: bool) -> None:
        """Guard an application.

        Args:
            app: The application.
            api_key: What a request to /v1 must bring along; nothing when None.
            upload_timeout_s: Seconds within which the body of a request must have come.
            shared: Whether pages of other origins may read replies.
        """
        self._app = app
        self._api_key = api_key
        self._upload_timeout_s = upload_timeout_s
        headers = HEADERS | ({"Cross-Origin-Resource-Policy": "cross-origin"} if shared else {})
        self._headers = [(name.lower().encode(), value.encode()) for name, value in headers.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request; see the ASGI specification."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = secrets.token_hex(8)
        scope.setdefault("state", {})["request_id"] = request_id
        exchange = _Exchange(receive, send, self._headers, request_id, self._upload_timeout_s, scope)
        try:
            _check_head(scope)
            self._check_key(scope)
            await self._app(scope, exchange.receive, exchange.send)
        except ClientDisconnect:
            pass
        except Refusal as refusal:
            await exchange.refuse(refusal)
        except Exception:
            _log.exception("request %s: a bug", request_id)
            await exchange.refuse(Refusal("internal_error", BUG))

    def _check_key(self, scope: Scope) -> None:
        """Refuse who has not the key.

        Raises:
            Refusal: If so.
        """
        if self._api_key is None or not scope["path"].startswith("/v1/") or scope["method"] == "OPTIONS":
            return
        headers = dict(scope["headers"])
        given = headers.get(b"x-api-key", b"")
        kind, _, token = headers.get(b"authorization", b"").partition(b" ")
        if kind.lower() == b"bearer":
            given = token.strip()
        if not hmac.compare_digest(given, self._api_key.encode()):
            raise Refusal(
                "unauthorized",
                "the API key is missing or wrong; send it as Authorization: Bearer KEY or X-API-Key: KEY",
            )


def _check_head(scope: Scope) -> None:
    """Refuse a head that is too long or of another version.

    Raises:
        Refusal: If so.
    """
    if scope["http_version"] not in ("1.0", "1.1"):
        raise Refusal("bad_request", f"HTTP/{scope['http_version']} is not spoken here; use HTTP/1.1")
    num_bytes = len(scope.get("raw_path") or b"") + len(scope["query_string"])
    num_bytes += sum(len(name) + len(value) + 4 for name, value in scope["headers"])
    if num_bytes > MAX_HEAD_BYTES:
        raise Refusal(
            "headers_too_large",
            f"the address and the headers have {num_bytes:,} bytes; allowed: {MAX_HEAD_BYTES:,}; send the "
            "options in the body",
        )


class _Exchange:
    """One request and its reply on their way."""

    def __init__(
        self,
        receive: Receive,
        send: Send,
        headers: list[tuple[bytes, bytes]],
        request_id: str,
        upload_timeout_s: float,
        scope: Scope,
    ) -> None:
        self._receive, self._send = receive, send
        self._headers = [*headers, (b"x-request-id", request_id.encode())]
        self._request_id = request_id
        self._timeout_s = upload_timeout_s
        self._deadline = asyncio.get_running_loop().time() + upload_timeout_s
        given = dict(scope["headers"])
        self._whole = b"content-length" not in given and b"transfer-encoding" not in given
        self._expects = given.get(b"expect", b"").lower() == b"100-continue"
        self._asked = False
        self._started = False

    async def receive(self) -> Message:
        """The next part of the request, in time.

        Raises:
            Refusal: If it is late.
        """
        if self._whole:
            return await self._receive()
        self._asked = True
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError:
            raise Refusal(
                "request_timeout", f"the body did not come within {self._timeout_s:g} s; send it faster"
            ) from None
        self._whole = message["type"] == "http.disconnect" or not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        """The next part of the reply, with the headers of every reply.

        The last part goes out as if it were not the last while the client still sends: a connection that is
        closed on it would be reset, and the client might never see why it was refused.
        """
        if message["type"] == "http.response.start":
            self._started = True
            message = {**message, "headers": [*message.get("headers", []), *self._headers]}
            if not self._whole:
                message["headers"].append((b"connection", b"close"))
        is_last = message["type"] == "http.response.body" and not message.get("more_body", False)
        if is_last and not self._whole:
            await self._send({**message, "more_body": True})
            await self._linger()
            message = {"type": "http.response.body", "body": b"", "more_body": False}
        await self._send(message)

    async def refuse(self, refusal: Refusal) -> None:
        """Send an error, unless a reply is under way."""
        if self._started:
            return
        body = json.dumps(body_of(refusal.code, str(refusal), self._request_id)).encode()
        headers = {"content-type": "application/json", "content-length": str(len(body)), **refusal.headers}
        start: dict[str, Any] = {"type": "http.response.start", "status": refusal.status}
        start["headers"] = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        await self.send(start)
        await self.send({"type": "http.response.body", "body": body, "more_body": False})

    async def _linger(self) -> None:
        """Read on for a while, and forget it."""
        if self._expects and not self._asked:  # the client waits for a word before it sends its body
            return
        num_bytes = 0
        try:
            async with asyncio.timeout(_LINGER_S):
                while num_bytes < _LINGER_BYTES:
                    message = await self._receive()
                    num_bytes += len(message.get("body", b""))
                    if message["type"] == "http.disconnect" or not message.get("more_body", False):
                        return
        except TimeoutError:
            return
