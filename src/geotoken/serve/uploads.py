"""From the body of a request to photos and options; everything stays in memory, within limits.

Owns multipart and JSON bodies and what is refused of them; must not know what is done with the photos.
"""

import asyncio
import base64
import binascii
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn

from pydantic import ValidationError
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, MultipartState, parse_options_header

from geotoken.serve.errors import Refusal
from geotoken.serve.schemas import MAX_REGION_BYTES, LocateRequest, Options, refuse_invalid
from geotoken.words import size

MAX_FIELDS: Final = 300
"""Parts of a form that are no photos."""
MAX_PART_HEAD_BYTES: Final = 8 * 1024
"""Headers of one part of a form."""
MAX_NAME: Final = 255
"""Letters of a photo's name that the reply repeats."""

MAX_DEPTH: Final = 40
"""Lists and objects of a region that may lie in each other."""

_LISTS: Final = ("guess", "within")
_LONG: Final = 1 << 20  # bytes of JSON that are read in a thread


@dataclass(frozen=True, slots=True)
class Upload:
    """What a request asks for."""

    names: tuple[str, ...]
    """What each photo is called."""
    photos: tuple[bytes, ...]
    """Content of each file, not looked into yet."""
    options: Options
    """How they are to be located."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadLimits:
    """What a body may have."""

    photos: int
    """Photos."""
    photo_bytes: int
    """Bytes of each."""
    request_bytes: int
    """Bytes of the body; of a JSON body, base64 among it, four thirds of that."""


class Budget:
    """Memory for the bodies of all requests that are under way."""

    def __init__(self, most: int) -> None:
        """Begin with nothing spent.

        Args:
            most: Bytes of all bodies together.
        """
        self._most = most
        self._spent = 0

    @contextmanager
    def share(self) -> Iterator[Callable[[int], None]]:
        """One request's share; it is given back at the end of the block.

        Yields:
            What is to be called with the number of bytes that have come; it raises a `Refusal` when they do
            not fit any more.
        """
        own = 0

        def spend(num_bytes: int) -> None:
            nonlocal own
            if self._spent + num_bytes > self._most:
                raise Refusal("busy", "too many photos come at the moment; ask again later", retry_after_s=1)
            own += num_bytes
            self._spent += num_bytes

        try:
            yield spend
        finally:
            self._spent -= own


async def read_upload(
    headers: Mapping[str, str],
    query: Iterable[tuple[str, str]],
    chunks: AsyncIterator[bytes],
    limits: UploadLimits,
    spend: Callable[[int], None],
) -> Upload:
    """Read the body of a request.

    Args:
        headers: Those of the request.
        query: Names and values of the query.
        chunks: The body as it comes.
        limits: What it may have.
        spend: Told of the bytes that come; see `Budget`.

    Returns:
        Photos and options.

    Raises:
        Refusal: If it is too large, malformed, of another type, or an option cannot be used.
    """
    content_type, encoding = headers.get("content-type", ""), headers.get("content-encoding", "")
    kind, parameters = parse_options_header(content_type)
    given: dict[str, list[str]] = defaultdict(list)
    for name, value in query:
        given[name].append(value)
    if encoding not in ("", "identity"):
        raise Refusal("unsupported_media_type", f"the body is encoded as {encoding[:60]!r}; send it as it is")
    if kind == b"multipart/form-data":
        form = _Form(parameters.get(b"boundary", b""), limits)
        async for chunk in _limited(chunks, limits.request_bytes, spend):
            form.feed(chunk)
        form.finish()
        for name, value in form.fields:
            given[name].append(value)
        found = Upload(tuple(form.names), tuple(map(bytes, form.photos)), read_options(given))
    elif kind == b"application/json":
        body = b"".join([chunk async for chunk in _limited(chunks, limits.request_bytes * 4 // 3, spend)])
        read = _read_json
        found = await asyncio.to_thread(read, body, limits) if len(body) > _LONG else read(body, limits)
        if given:
            raise Refusal(
                "bad_request", "options stand both in the query and beside a JSON body; put all in it"
            )
    else:
        raise Refusal(
            "unsupported_media_type",
            f"the body is {content_type[:60]!r}; send multipart/form-data with photos, or application/json",
        )
    if not found.photos:
        raise Refusal("bad_request", "there is no photo; send one or more files as 'photos'")
    return found


def read_options(given: Mapping[str, list[str]]) -> Options:
    """Options from texts, as a form or a query has them.

    Args:
        given: The values of each name; `options` is a JSON object with any of the others.

    Returns:
        The options.

    Raises:
        Refusal: If one is unknown, given twice or out of range.
    """
    values: dict[str, Any] = {}
    for text in given.get("options", ()):
        try:
            several = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise Refusal("invalid_option", f"options is not JSON ({error})") from None
        if not isinstance(several, dict):
            raise Refusal("invalid_option", 'options is no JSON object; give one such as {"top_k": 3}')
        values |= several
    for name, texts in given.items():
        if name == "options":
            continue
        if name in values or (len(texts) > 1 and name not in _LISTS):
            raise Refusal("invalid_option", f"{name[:60]} is given more than once")
        values[name] = texts if name in _LISTS else texts[0]
    if isinstance(values.get("within"), list):
        values["within"] = [_region(one) for one in values["within"]]
    try:
        return Options.model_validate(values)
    except ValidationError as error:
        refuse_invalid(error)


def _region(value: Any) -> Any:
    """A region; a text that is GeoJSON becomes what it says.

    Raises:
        Refusal: If it begins like one but is none.
    """
    if not isinstance(value, str) or not value.lstrip().startswith("{"):
        return value
    try:
        region = json.loads(value)
    except (ValueError, RecursionError) as error:
        raise Refusal("invalid_option", f"within begins like GeoJSON but is no JSON ({error})") from None
    _check_depth(region)
    return region


def _check_depth(value: Any) -> None:
    """Refuse GeoJSON that is nested deeper than any that is meant.

    Raises:
        Refusal: If so.
    """
    layer = [value]
    for _ in range(MAX_DEPTH):
        layer = [
            item
            for one in layer
            if isinstance(one, dict | list)
            for item in (one.values() if isinstance(one, dict) else one)
        ]
        if not layer:
            return
    raise Refusal("invalid_option", f"within is nested more than {MAX_DEPTH} deep; give plain polygons")


def _read_json(body: bytes, limits: UploadLimits) -> Upload:
    """A JSON body.

    Raises:
        Refusal: If it is not as it should be.
    """
    try:
        request = LocateRequest.model_validate_json(body, strict=True)
    except ValidationError as error:
        refuse_invalid(error, "options")
    _check_count(len(request.photos), limits)
    photos = []
    for photo in request.photos:
        try:
            content = base64.b64decode(photo.data, validate=True)
        except (binascii.Error, ValueError):
            raise Refusal(
                "bad_request", "the data of a photo are not base64; encode the file's bytes"
            ) from None
        _check_size(len(content), limits)
        photos.append(content)
    regions = [_region(one) for one in request.options.within]
    for region in regions:
        if isinstance(region, dict):
            _check_depth(region)
            if len(json.dumps(region)) > MAX_REGION_BYTES:
                _refuse_long_region()
    options = request.options.model_copy(update={"within": regions})
    return Upload(tuple(photo.name[:MAX_NAME] for photo in request.photos), tuple(photos), options)


async def _limited(
    chunks: AsyncIterator[bytes], most: int, spend: Callable[[int], None]
) -> AsyncIterator[bytes]:
    """A body as long as it is not too long.

    Raises:
        Refusal: When it is.
    """
    num_bytes = 0
    async for chunk in chunks:
        num_bytes += len(chunk)
        if num_bytes > most:
            raise Refusal("too_large", f"the body has more than {size(most)}; send fewer or smaller photos")
        spend(len(chunk))
        yield chunk


def _check_count(number: int, limits: UploadLimits) -> None:
    """Refuse too many photos.

    Raises:
        Refusal: If so.
    """
    if number > limits.photos:
        raise Refusal(
            "too_large", f"there are more than {limits.photos} photos; send them in several requests"
        )


def _check_size(num_bytes: int, limits: UploadLimits) -> None:
    """Refuse a photo that is too large.

    Raises:
        Refusal: If so.
    """
    if num_bytes > limits.photo_bytes:
        raise Refusal("too_large", f"a photo has more than {size(limits.photo_bytes)}; shrink it")


def _refuse_long_region() -> NoReturn:
    """Refuse a field that is too long.

    Raises:
        Refusal: Always.
    """
    raise Refusal("too_large", f"a field has more than {size(MAX_REGION_BYTES)}; simplify the region")


@dataclass(slots=True)
class _Part:
    """A part of a form."""

    headers: dict[bytes, bytes] = field(default_factory=dict)
    name: str = ""
    is_photo: bool = False
    content: bytearray = field(default_factory=bytearray)
    head_bytes: int = 0


class _Form:
    """A multipart body, read as it comes; it may not have more than the limits at any moment."""

    def __init__(self, boundary: bytes, limits: UploadLimits) -> None:
        if not boundary:
            raise Refusal(
                "bad_request", "the Content-Type has no boundary; let your client write that header"
            )
        self.names: list[str] = []
        self.photos: list[bytearray] = []
        self.fields: list[tuple[str, str]] = []
        self._limits = limits
        self._part = _Part()
        self._header = (bytearray(), bytearray())
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._begin,
                    "on_header_field": self._header_field,
                    "on_header_value": self._header_value,
                    "on_header_end": self._header_end,
                    "on_headers_finished": self._headers_finished,
                    "on_part_data": self._data,
                    "on_part_end": self._end,
                },
            )
        except FormParserError as error:
            _refuse_malformed(error)

    def feed(self, chunk: bytes) -> None:
        """Read on.

        Raises:
            Refusal: If it is malformed or too much.
        """
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            _refuse_malformed(error)

    def finish(self) -> None:
        """See that the form is whole.

        Raises:
            Refusal: If it is cut short.
        """
        if self._parser.state != MultipartState.END:
            raise Refusal("bad_request", "the form is cut short: its last boundary is missing; send it again")

    def _begin(self) -> None:
        self._part = _Part()

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._count_head(end - start)
        self._header[0].extend(data[start:end])

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._count_head(end - start)
        self._header[1].extend(data[start:end])

    def _count_head(self, num_bytes: int) -> None:
        self._part.head_bytes += num_bytes
        if self._part.head_bytes > MAX_PART_HEAD_BYTES:
            raise Refusal("bad_request", f"a part has headers of more than {size(MAX_PART_HEAD_BYTES)}")

    def _header_end(self) -> None:
        name, value = self._header
        self._part.headers[bytes(name).lower()] = bytes(value)
        self._header = (bytearray(), bytearray())

    def _headers_finished(self) -> None:
        part = self._part
        _, parameters = parse_options_header(part.headers.get(b"content-disposition"))
        if b"name" not in parameters:
            raise Refusal("bad_request", "a part of the form has no name; send files as 'photos'")
        part.name = _text(parameters[b"name"])
        part.is_photo = part.name == "photos"
        if part.is_photo:
            _check_count(len(self.photos) + 1, self._limits)
            self.names.append(_text(parameters.get(b"filename", b""))[:MAX_NAME])
            self.photos.append(part.content)
        elif b"filename" in parameters:
            raise Refusal("bad_request", f"there is a file called {part.name[:60]!r}; send files as 'photos'")
        elif len(self.fields) >= MAX_FIELDS:
            raise Refusal("too_large", f"the form has more than {MAX_FIELDS} fields; send fewer")

    def _data(self, data: bytes, start: int, end: int) -> None:
        part = self._part
        part.content.extend(data[start:end])
        if part.is_photo:
            _check_size(len(part.content), self._limits)
        elif len(part.content) > MAX_REGION_BYTES:
            _refuse_long_region()

    def _end(self) -> None:
        if not self._part.is_photo:
            self.fields.append((self._part.name, _text(bytes(self._part.content))))


def _text(content: bytes) -> str:
    return content.decode("utf-8", errors="replace")


def _refuse_malformed(error: Exception) -> NoReturn:
    """Refuse a form that cannot be read.

    Raises:
        Refusal: Always.
    """
    raise Refusal("bad_request", f"the form is malformed ({error}); let your client write it") from None
