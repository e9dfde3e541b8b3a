"""The files of the page, read into memory when the server starts.

Owns their types and caching; must not know what is in them. No path of a request is ever looked up on disk.
"""

import hashlib
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from geotoken.serve.errors import Refusal

INDEX: Final = "index.html"
"""The page itself."""

_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".geojson": "application/geo+json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".webp": "image/webp",
    ".ico": "image/x-icon",
    ".woff2": "font/woff2",
    ".pbf": "application/x-protobuf",
    ".txt": "text/plain; charset=utf-8",
    ".md": "text/plain; charset=utf-8",
    ".webmanifest": "application/manifest+json",
}


@dataclass(frozen=True, slots=True)
class Asset:
    """A file as it is sent."""

    content: bytes
    """What is in it."""
    media_type: str
    """Its Content-Type."""
    etag: str
    """Changes with the content."""


class Assets:
    """The files of a folder, by their path in it."""

    def __init__(self, folder: Path | None = None) -> None:
        """Read them all.

        Args:
            folder: Where they are; those of the package when None.
        """
        root = Path(str(files("geotoken.serve") / "static")) if folder is None else folder
        self._assets = {
            path.relative_to(root).as_posix(): _read(path)
            for path in sorted(root.rglob("*"))
            if path.is_file() and path.suffix in _TYPES
        }

    def reply(self, name: str, request: Request) -> Response:
        """One file, or that the client has it already.

        Args:
            name: Its path in the folder, with slashes.
            request: Who asks.

        Returns:
            The reply.

        Raises:
            Refusal: If there is no such file.
        """
        asset = self._assets.get(name)
        if asset is None:
            raise Refusal("not_found", "there is no such page; the API is described by /openapi.json")
        headers = {"ETag": asset.etag, "Cache-Control": "no-cache"}
        known = [
            tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")
        ]
        if asset.etag in known:
            return Response(status_code=304, headers=headers)
        return Response(asset.content, media_type=asset.media_type, headers=headers)


def _read(path: Path) -> Asset:
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()[:32]
    return Asset(content, _TYPES[path.suffix], f'"{digest}"')
