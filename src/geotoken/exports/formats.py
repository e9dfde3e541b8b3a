"""The file formats of an export: each writes answers one by one, and reads back what it wrote.

Owns the formats; must not know what was asked for, nor which photos are still to be located.
"""

import csv
import json
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Self
from xml.etree import ElementTree

from geotoken import duck
from geotoken.errors import InputError, reason_of
from geotoken.exports.columns import COLUMNS, Row, flatten, guard, parse_row, unguard

KML_NAMESPACE: Final = "http://www.opengis.net/kml/2.2"
_SQL_TYPES: Final = {str: "VARCHAR", float: "DOUBLE", int: "BIGINT"}


class Format(ABC):
    """One file format; a context manager that opens a file to write and closes it whole."""

    complete = False
    """Whether a file holds all of the JSON object, and not only the flat row."""
    head, tail = "", ""
    """What comes before the first answer and after the last."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: IO[str] = open(path, "w", encoding="utf-8", newline="\n")
        self._file.write(self.head)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._file:
            if error is None:
                self._file.write(self.tail)
                self._file.flush()
                os.fsync(self._file.fileno())

    @abstractmethod
    def add(self, answer: Row) -> None:
        """Write one answer."""

    @classmethod
    @abstractmethod
    def read(cls, path: Path) -> Iterator[Row]:
        """The answers of a file, one by one.

        Args:
            path: A file that was written by `add`.

        Yields:
            Whole objects if `complete`, else rows.

        Raises:
            ValueError: If the file is not as it was written; so do TypeError and KeyError say.
        """


class Jsonl(Format):
    """JSON lines: the whole object of each photo on a line."""

    complete = True

    def add(self, answer: Row) -> None:
        """Write one answer."""
        self._file.write(to_json(answer) + "\n")

    @classmethod
    def read(cls, path: Path) -> Iterator[Row]:
        """The answers of a file."""
        yield from _objects(path)


class _Json(Format):
    """One JSON document with one object a photo, each on a line of its own."""

    head, tail = "[", "\n]\n"

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._separator = "\n"

    def add(self, answer: Row) -> None:
        """Write one answer."""
        self._file.write(self._separator + to_json(answer))
        self._separator = ",\n"

    @classmethod
    def read(cls, path: Path) -> Iterator[Row]:
        """The answers of a file."""
        yield from _objects(path, cls.head, cls.tail)


class JsonArray(_Json):
    """A JSON array of the whole objects, as `--json` prints it."""

    complete = True


class GeoJson(_Json):
    """A FeatureCollection of points; a photo that failed is a feature without geometry (RFC 7946)."""

    head, tail = '{"type": "FeatureCollection", "features": [', "\n]}\n"

    def add(self, answer: Row) -> None:
        """Write one answer."""
        row = dict(flatten(answer))
        lat, lng = row.pop("lat"), row.pop("lng")
        point = None if lat is None else {"type": "Point", "coordinates": [lng, lat]}
        super().add({"type": "Feature", "geometry": point, "properties": row})

    @classmethod
    def read(cls, path: Path) -> Iterator[Row]:
        """The answers of a file, as rows."""
        for feature in _objects(path, cls.head, cls.tail):
            lng, lat = feature["geometry"]["coordinates"] if feature["geometry"] else (None, None)
            properties = feature["properties"]
            yield {name: properties.get(name) for name in COLUMNS} | {"lat": lat, "lng": lng}


class Csv(Format):
    """A table with a header; text that a spreadsheet would take for a formula has a `'` in front."""

    guarded = True

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._rows = csv.writer(self._file, lineterminator="\n")
        self._rows.writerow(COLUMNS)

    def add(self, answer: Row) -> None:
        """Write one answer."""
        values = flatten(answer).values()
        self._rows.writerow([guard(v) if self.guarded and isinstance(v, str) else v for v in values])

    @classmethod
    def read(cls, path: Path) -> Iterator[Row]:
        """The answers of a file, as rows; see `Format.read`.

        Raises:
            ValueError: If it has other columns, or a number that is none.
        """
        with path.open(encoding="utf-8", newline="") as file:
            rows = csv.DictReader(file)
            if rows.fieldnames is None or list(rows.fieldnames) != list(COLUMNS):
                raise ValueError("it has other columns")
            for row in rows:
                yield parse_row({name: unguard(text) for name, text in row.items() if isinstance(text, str)})


class Kml(Format):
    """Placemarks for globes and maps; a photo that failed is one without a point."""

    head = f'<?xml version="1.0" encoding="UTF-8"?>\n<kml xmlns="{KML_NAMESPACE}">\n<Document>\n'
    tail = "</Document>\n</kml>\n"

    def add(self, answer: Row) -> None:
        """Write one answer."""
        row = flatten(answer)
        placemark = ElementTree.Element("Placemark")
        _child(placemark, "name", re.split(r"[/\\]", row["image"])[-1] or row["image"])
        _child(placemark, "description", _description(row))
        table = _child(placemark, "ExtendedData")
        for name, value in row.items():
            if value is not None:
                _child(_child(table, "Data", name=name), "value", str(value))
        if row["lat"] is not None:
            _child(_child(placemark, "Point"), "coordinates", f"{row['lng']},{row['lat']}")
        self._file.write(ElementTree.tostring(placemark, encoding="unicode") + "\n")

    @classmethod
    def read(cls, path: Path) -> Iterator[Row]:
        """The answers of a file, as rows; see `Format.read`.

        Raises:
            ValueError: If it is no XML, or has a number that is none.
        """
        space = f"{{{KML_NAMESPACE}}}"
        parents: list[Any] = []
        try:
            for event, element in ElementTree.iterparse(path, events=("start", "end")):
                if event == "start":
                    parents.append(element)
                    continue
                parents.pop()
                if element.tag == f"{space}Placemark":
                    data = element.iter(f"{space}Data")
                    yield parse_row({each.attrib["name"]: each.findtext(f"{space}value") for each in data})
                    parents[-1].remove(element)  # or all of them would stay in memory
        except ElementTree.ParseError as error:
            raise ValueError(str(error)) from error


class Parquet(Csv):
    """A typed table; gathered as CSV and turned into Parquet when it is whole."""

    guarded = False

    def __init__(self, path: Path) -> None:
        self._parquet = path
        super().__init__(path.with_name(path.name + ".csv"))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            super().__exit__(kind, error, trace)
            if error is None:
                self._convert()
        finally:
            self.path.unlink(missing_ok=True)

    def _convert(self) -> None:
        """Write the Parquet file.

        Raises:
            OSError: If it cannot be written.
        """
        import duckdb

        types = {name: _SQL_TYPES[kind] for name, (kind, _) in COLUMNS.items()}
        try:
            with duck.connect(threads=1) as connection:
                rows = connection.read_csv(
                    duck.literal(self.path),
                    header=True,
                    columns=types,
                    sep=",",
                    quotechar='"',
                    escapechar='"',
                    na_values=[""],
                    parallel=False,
                )
                rows.write_parquet(str(self._parquet.resolve()), compression="zstd")
        except duckdb.Error as error:
            raise OSError(f"{self._parquet} cannot be written ({reason_of(error)})") from error

    @classmethod
    def read(cls, path: Path) -> Iterator[Row]:
        """The answers of a file, as rows; see `Format.read`.

        Raises:
            ValueError: If it is not such a table.
        """
        import duckdb

        names = ", ".join(f'"{name}"' for name in COLUMNS)
        try:
            with duck.connect(threads=1) as connection:
                rows = connection.execute(f"select {names} from read_parquet(?)", [duck.literal(path)])
                while chunk := rows.fetchmany(1000):
                    yield from (dict(zip(COLUMNS, row, strict=True)) for row in chunk)
        except duckdb.Error as error:
            raise ValueError(reason_of(error)) from error


FORMATS: Final[dict[str, type[Format]]] = {
    ".csv": Csv,
    ".geojson": GeoJson,
    ".json": JsonArray,
    ".jsonl": Jsonl,
    ".kml": Kml,
    ".parquet": Parquet,
}
"""Format of each file name ending, in lower case."""


def format_of(path: Path) -> type[Format]:
    """The format of a file by its ending.

    Args:
        path: The file to be written.

    Returns:
        The format.

    Raises:
        InputError: If the ending is that of none.
    """
    try:
        return FORMATS[path.suffix.lower()]
    except KeyError:
        endings = ", ".join(FORMATS)
        raise InputError(f"--out is {str(path)!r}; give a file that ends in one of {endings}") from None


def to_json(value: Any) -> str:
    """A value as JSON on one line, ASCII: a file name need not be valid Unicode."""
    return json.dumps(value, allow_nan=False)


def _objects(path: Path, head: str = "", tail: str = "") -> Iterator[dict[str, Any]]:
    """The objects of a file that has one a line between two lines that are known.

    Raises:
        ValueError: If it is otherwise.
    """
    with path.open(encoding="utf-8") as file:
        if head and file.readline().rstrip("\n") != head:
            raise ValueError("it does not begin as it was written")
        for line in map(str.strip, file):
            if tail and line == tail.strip():
                return
            found = json.loads(line.removesuffix(","))
            if not isinstance(found, dict):
                raise ValueError("a line is no object")
            yield found
        if tail:
            raise ValueError("it is cut short")


def _description(row: Row) -> str:
    if row["status"] == "error":
        return row["error"] or "not located"
    place = ", ".join(row[name] for name in ("city", "admin1", "country") if row[name])
    half, most = (f"{float(f'{row[name]:.2g}'):,g} km" for name in ("radius_50_km", "radius_90_km"))
    return f"{place}; even odds within {half}, 9 in 10 within {most}"


def _child(parent: Any, tag: str, text: str | None = None, **attributes: str) -> Any:
    child = ElementTree.SubElement(parent, tag, attributes)
    child.text = text
    return child
