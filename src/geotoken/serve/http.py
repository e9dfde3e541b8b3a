"""HTTP/1.1 on a socket: what uvicorn leaves open about requests that never become one.

Owns the limits before a request is known, and their error shape; must not know routes.
"""

import asyncio
import json
import sys
from typing import Any, Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from geotoken.serve.errors import STATUSES, body_of
from geotoken.serve.guards import MAX_HEAD_BYTES

_PHRASES: Final = {
    "bad_request": b"Bad Request",
    "headers_too_large": b"Request Header Fields Too Large",
    "request_timeout": b"Request Timeout",
}


class Protocol(H11Protocol):
    """uvicorn's protocol, with a deadline for the head of a request and errors in the one shape."""

    head_timeout_s = 30.0
    """Seconds within which the head of a request must have come; set before the server starts."""

    @staticmethod
    def is_stopping() -> bool:
        """Whether the server takes no more requests; set before the server starts."""
        return False

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request."""
        super().connection_made(transport)
        if self.is_stopping():  # uvicorn closes those it knows of, and has just learned of this one
            transport.close()
        else:
            self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._forget_deadline()
        super().connection_lost(exc)

    def handle_events(self) -> None:
        """Take in what has come."""
        super().handle_events()
        if not self._is_idle():
            self._forget_deadline()
        elif self._deadline is None and not self.transport.is_closing():
            self._expect_head()

    def send_400_response(self, msg: str) -> None:
        """Refuse bytes that are no request; the name is uvicorn's.

        Args:
            msg: What uvicorn would say.
        """
        error = sys.exc_info()[1]  # uvicorn calls this while it handles what h11 raised
        if getattr(error, "error_status_hint", 400) == 431:
            self._refuse(
                "headers_too_large", f"the headers have more than {MAX_HEAD_BYTES:,} bytes; send fewer"
            )
        else:
            self._refuse("bad_request", "this is no HTTP/1.1 request; see RFC 9112")

    def _is_idle(self) -> bool:
        """Whether no request is under way."""
        return self.cycle is None or self.cycle.response_complete

    def _expect_head(self) -> None:
        self._deadline = self.loop.call_later(self.head_timeout_s, self._head_is_late)

    def _forget_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _head_is_late(self) -> None:
        self._deadline = None
        if self.transport.is_closing() or not self._is_idle():
            return
        if self.conn.our_state is h11.IDLE:
            self._refuse("request_timeout", f"no request came within {self.head_timeout_s:g} s; ask again")
        else:
            self.transport.close()

    def _refuse(self, code: str, message: str) -> None:
        """Say why in the one shape, and close the connection."""
        body = json.dumps(body_of(code, message)).encode()
        headers = [
            ("content-type", "application/json"),
            ("content-length", str(len(body))),
            ("connection", "close"),
            ("x-content-type-options", "nosniff"),
        ]
        events: list[Any] = [
            h11.Response(
                status_code=STATUSES[code],
                headers=headers,
                reason=_PHRASES[code],
            ),
            h11.Data(data=body),
            h11.EndOfMessage(),
        ]
        try:
            for event in events:
                self.transport.write(self.conn.send(event) or b"")
        except h11.LocalProtocolError:  # a reply is under way already
            pass
        self.transport.close()
