"""What is said to a client that gets no answer: one JSON shape, and a status and a code for each reason.

Owns the table of statuses and codes; must not know routes.
"""

from typing import Any, Final

STATUSES: Final[dict[str, int]] = {
    "bad_request": 400,
    "invalid_option": 400,
    "unauthorized": 401,
    "not_found": 404,
    "method_not_allowed": 405,
    "request_timeout": 408,
    "too_large": 413,
    "uri_too_long": 414,
    "unsupported_media_type": 415,
    "photo_unreadable": 422,
    "busy": 429,
    "headers_too_large": 431,
    "internal_error": 500,
    "not_ready": 503,
    "timeout": 504,
}
"""HTTP status of each code."""

BUG: Final = "this is a bug in geotoken; the log of the server says more"
"""What a client is told of an exception that was not raised on purpose."""

MAX_LETTERS: Final = 400
"""Letters of a message; a longer one loses its middle."""


class Refusal(Exception):
    """A request that is not answered as it wished."""

    def __init__(self, code: str, message: str, *, retry_after_s: int | None = None) -> None:
        """Refuse.

        Args:
            code: One of `STATUSES`.
            message: What was given, what is allowed, what to do; one line.
            retry_after_s: When it is worth to ask again.
        """
        super().__init__(message)
        self.code = code
        self.status = STATUSES[code]
        self.headers: dict[str, str] = {}
        """Further headers of the reply."""
        if retry_after_s is not None:
            self.headers["Retry-After"] = str(retry_after_s)
        if code == "unauthorized":
            self.headers["WWW-Authenticate"] = "Bearer"


def code_of(status: int) -> str:
    """The code that stands for a status which a library chose.

    Args:
        status: The status.

    Returns:
        One of `STATUSES`.
    """
    codes = {number: code for code, number in reversed(STATUSES.items())}
    return codes.get(status, "bad_request" if status < 500 else "internal_error")


def body_of(code: str, message: str, request_id: str | None = None) -> dict[str, Any]:
    """The JSON object of an error.

    Args:
        code: One of `STATUSES`.
        message: Why, in one line; may repeat what a stranger gave.
        request_id: That of the request, if it has one.

    Returns:
        The object.
    """
    error = {"code": code, "message": one_line(message)}
    return {"error": error if request_id is None else {**error, "request_id": request_id}}


def one_line(text: str) -> str:
    """Text that may repeat a stranger's, as one short printable line.

    Args:
        text: Any text.

    Returns:
        At most `MAX_LETTERS` letters; what is not printable is escaped.
    """
    letters = " ".join(text.split())
    line = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in letters)
    if len(line) <= MAX_LETTERS:
        return line
    return f"{line[: MAX_LETTERS - 155]} ... {line[-150:]}"
