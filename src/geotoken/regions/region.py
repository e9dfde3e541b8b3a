"""The value that users and decoders hold: a named part of the Earth.

Owns the ways to make a region and their checks; must not know how a shape is computed.

Shapely is imported when the first region is made, so that importing this costs nothing.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from geotoken.cells.ids import check_cell_ids
from geotoken.errors import InputError
from geotoken.geo import HALF_EARTH_KM, check_lat_lng
from geotoken.regions.circle import Circle
from geotoken.regions.shape import OUTSIDE, Bools, Relations, Shape

_FORMS = "country=PE, bbox=WEST,SOUTH,EAST,NORTH, near=LAT,LNG,KM or {}"
_FILE, _NO_FILE = "the path of a .geojson file", "a GeoJSON object"
SUFFIXES = (".geojson", ".json")
"""Endings by which `Region.parse` tells the path of a file."""
_MAX_NAMED = 3  # members that the name of a union lists


@dataclass(frozen=True, slots=True, repr=False)
class Region:
    """A part of the Earth, made by one of the class methods and never changed."""

    name: str
    """Short text for people, such as `Peru` or `within 80 km of (-12.05, -77.03)`."""
    _shapes: tuple[Shape, ...] = field(repr=False)

    @classmethod
    def country(cls, code: str) -> "Region":
        """A country or territory: its land, and the sea up to 20 km out.

        Args:
            code: ISO 3166-1 code of two or three letters, or the English name; upper or lower case.

        Returns:
            The region.

        Raises:
            InputError: If there is none; the message has the nearest names.
            ArtifactError: If the bundled borders are missing or of another format.
        """
        from geotoken.regions.countries import load_country

        name, polygons = load_country(code)
        return cls(name, (polygons,))

    @classmethod
    def bbox(cls, west: float, south: float, east: float, north: float) -> "Region":
        """A rectangle in longitude and latitude.

        Args:
            west: Longitude of the western edge in degrees, in [-180, 180].
            south: Latitude of the southern edge in degrees, in [-90, 90].
            east: Longitude of the eastern edge in degrees; west of `west` if the antimeridian lies between.
            north: Latitude of the northern edge in degrees, more than `south`.

        Returns:
            The region.

        Raises:
            InputError: If a value is not finite or out of range, or the rectangle is empty.
        """
        import shapely

        from geotoken.regions.polygons import Polygons, unite

        for edge, value, limit in (
            ("west", west, 180),
            ("south", south, 90),
            ("east", east, 180),
            ("north", north, 90),
        ):
            _check_number(value, f"{edge} edge of the box", -limit, limit, "degrees")
        if not south < north:
            raise InputError(
                f"the box has south {south:g} and north {north:g}; south must be less than north"
            )
        spans = [(west, east)] if west <= east else [(west, 180.0), (-180.0, east)]
        boxes = [shapely.box(start, south, stop, north) for start, stop in spans if start < stop]
        if not boxes:
            raise InputError(
                f"the box has west {west:g} and east {east:g}, which leaves no area between them"
            )
        name = f"box {west:g},{south:g},{east:g},{north:g}"
        return cls(name, (Polygons.of(unite(boxes)),))

    @classmethod
    def near(cls, lat: float, lng: float, radius_km: float) -> "Region":
        """Everything within a great-circle distance of a point, on the sphere of `geo.EARTH_RADIUS_KM`.

        Args:
            lat: Latitude in degrees, in [-90, 90].
            lng: Longitude in degrees, in [-360, 360].
            radius_km: Distance in km, more than 0 and at most half the Earth's circumference, 20015 km.

        Returns:
            The region.

        Raises:
            InputError: If a value is not finite or out of range.
        """
        _check_number(lat, "latitude", -90, 90, "degrees")
        _check_number(lng, "longitude", -360, 360, "degrees")
        _check_number(radius_km, "radius", 0, HALF_EARTH_KM, "km", above=True)
        checked_lat, checked_lng = check_lat_lng(lat, lng)
        circle = Circle(lat=float(checked_lat), lng=float(checked_lng), radius_km=float(radius_km))
        return cls(f"within {radius_km:g} km of ({lat:g}, {lng:g})", (circle,))

    @classmethod
    def geojson(cls, source: str | PathLike[str] | Mapping[str, Any]) -> "Region":
        """The polygons of GeoJSON; their edges are straight in longitude and latitude.

        A polygon across the antimeridian is either cut there, as RFC 7946 asks, or has longitudes beyond 180.
        A ring that crosses itself is read by the even-odd rule.

        Args:
            source: Path of a file, or what it would hold: Polygon, MultiPolygon, Feature, FeatureCollection
                or GeometryCollection.

        Returns:
            The region, called by the name of the file.

        Raises:
            InputError: If there is no such file, it is not GeoJSON, has points or lines, or no area.
        """
        from geotoken.regions.geojson import read_polygons
        from geotoken.regions.polygons import Polygons

        name = "GeoJSON polygons" if isinstance(source, Mapping) else Path(source).name
        return cls(name, (Polygons.of(read_polygons(source)),))

    @classmethod
    def parse(cls, text: str, *, files: bool = True) -> "Region":
        """A region in the words of the command line.

        Args:
            text: `country=PE`, `bbox=WEST,SOUTH,EAST,NORTH`, `near=LAT,LNG,KM`, or the path of a file that
                ends in .geojson or .json.
            files: Whether a file may be named; not where the text is a stranger's.

        Returns:
            The region.

        Raises:
            InputError: If the text has none of these forms, or its values are refused.
        """
        text, forms = text.strip(), _FORMS.format(_FILE if files else _NO_FILE)
        if files and text.lower().endswith(SUFFIXES):
            return cls.geojson(text)
        kind, has_value, value = text.partition("=")
        kind = kind.strip().lower()
        if has_value and kind == "country":
            return cls.country(value)
        if has_value and kind == "bbox":
            return cls.bbox(*_numbers(text, value, 4, forms))
        if has_value and kind == "near":
            return cls.near(*_numbers(text, value, 3, forms))
        raise InputError(f"{text!r} is not a region; give {forms}")

    @classmethod
    def union(cls, regions: Iterable["Region"]) -> "Region":
        """Everything that lies in at least one of some regions.

        Args:
            regions: One region or more.

        Returns:
            The region.

        Raises:
            InputError: If there is none.
        """
        members = list(dict.fromkeys(regions))
        if not members:
            raise InputError("a union of no regions is empty; give at least one")
        names = [region.name for region in members]
        if len(names) > _MAX_NAMED:
            names = [*names[: _MAX_NAMED - 1], f"{len(names) - _MAX_NAMED + 1} more regions"]
        return cls(" or ".join(names), tuple(dict.fromkeys(shape for r in members for shape in r._shapes)))

    def __or__(self, other: "Region") -> "Region":
        return Region.union([self, other]) if isinstance(other, Region) else NotImplemented

    def __repr__(self) -> str:
        return f"Region({self.name!r})"

    def contains(self, lat: ArrayLike, lng: ArrayLike) -> Bools:
        """Whether points lie in the region, exactly; its edge belongs to it.

        Args:
            lat: Latitude in degrees, shape (...), in [-90, 90].
            lng: Longitude in degrees, shape (...), in [-360, 360].

        Returns:
            Truth values, shape (...), bool.

        Raises:
            InputError: If a coordinate is not finite or out of range; its row is named.
        """
        lat_array, lng_array = check_lat_lng(lat, lng)
        flat_lat, flat_lng = lat_array.reshape(-1), lng_array.reshape(-1)
        inside = np.zeros(flat_lat.size, dtype=np.bool_)
        for shape in self._shapes:
            left = np.flatnonzero(~inside)
            inside[left] = shape.contains(flat_lat[left], flat_lng[left])
        shaped: Bools = inside.reshape(lat_array.shape)[()]
        return shaped

    def relation(self, cell_ids: ArrayLike) -> Relations:
        """How cells lie to the region.

        Args:
            cell_ids: Cell ids of any levels, shape (...), uint64.

        Returns:
            `OUTSIDE` (-1), `PARTIAL` (0) or `INSIDE` (1), shape (...), int8. Outside and inside are certain;
            a partial cell may be either, the more rarely the smaller it is.

        Raises:
            InputError: If an id is not valid; its row is named.
        """
        ids = check_cell_ids(cell_ids)
        flat = ids.reshape(-1)
        relations = np.full(flat.size, OUTSIDE, dtype=np.int8)
        for shape in self._shapes:
            left = np.flatnonzero(relations < 1)
            relations[left] = np.maximum(relations[left], shape.relation(flat[left]))
        shaped: Relations = relations.reshape(ids.shape)[()]
        return shaped

    def to_geojson(self) -> dict[str, Any]:
        """The region as it can be drawn.

        Returns:
            A GeoJSON MultiPolygon of (longitude, latitude) in degrees, cut at the antimeridian as RFC 7946
            asks. A circle has 180 points.
        """
        from shapely.geometry import mapping

        from geotoken.regions.polygons import unite

        return dict(mapping(unite([shape.outline() for shape in self._shapes])))


def _check_number(
    value: float, name: str, lowest: float, highest: float, unit: str, *, above: bool = False
) -> None:
    """Refuse what is not a finite number in a range, of which `above` leaves out the lowest.

    Raises:
        InputError: If so.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        raise InputError(f"{name} {value!r} is not a number")
    if not lowest <= value <= highest or (above and value == lowest):
        allowed = f"more than {lowest:g} and at most {highest:.0f}" if above else f"{lowest:g} to {highest:g}"
        raise InputError(f"{name} {value} is out of range; give {allowed} {unit}")


def _numbers(text: str, value: str, count: int, forms: str) -> list[float]:
    """Numbers with commas between them.

    Raises:
        InputError: If they are not numbers, or not as many as needed.
    """
    try:
        numbers = [float(part) for part in value.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != count:
        raise InputError(f"{text!r} does not have {count} numbers with commas between them; give {forms}")
    return numbers
