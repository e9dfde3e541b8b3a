"""Polygons whose edges are straight in longitude and latitude, as those of GeoJSON are.

Owns points and cells against such polygons, across antimeridian and poles; must not know files or countries.

Everything is cut to longitudes -180 to 180 first. Both ends are one meridian, and the whole upper edge of the
map is one point, the North Pole; the lower edge likewise.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import shapely
import shapely.affinity
from shapely.geometry.polygon import orient

from geotoken import cells
from geotoken.regions.cover import Cover
from geotoken.regions.shape import INSIDE, OUTSIDE, PARTIAL, Bools, CellIds, Floats, Relations

WORLD = shapely.box(-180.0, -90.0, 180.0, 90.0)
"""The whole map."""

_MARGIN_DEG = 1e-11  # about a micrometer: more than rounding moves a point across the edge of a cell
_ENOUGH_CELLS = 512  # on the edge of a shape that is given by a user


@dataclass(frozen=True, slots=True, kw_only=True)
class Polygons:
    """Polygons with holes on the map, with a cover of cells; made by `of`."""

    geometry: shapely.MultiPolygon
    """Valid polygons within `WORLD`, of a positive area."""
    edges: shapely.STRtree = field(compare=False, repr=False)
    """Straight edges of the polygons, without those along the antimeridian and the poles."""
    cover: Cover = field(compare=False, repr=False)
    """Cells over the polygons."""

    @classmethod
    def of(cls, geometry: shapely.MultiPolygon, tree: Relations | None = None) -> "Polygons":
        """Cover polygons with cells.

        Args:
            geometry: Valid polygons within `WORLD`, of a positive area.
            tree: That of the cover, if it is known, shape (T,), int8.

        Returns:
            The shape.
        """
        edges = _edges(geometry)
        if tree is not None:
            return cls(geometry=geometry, edges=edges, cover=Cover.from_tree(tree))
        cover = Cover.build(lambda cell_ids: _relation_on_map(geometry, edges, cell_ids), _ENOUGH_CELLS)
        return cls(geometry=geometry, edges=edges, cover=cover)

    def contains(self, lat: Floats, lng: Floats) -> Bools:
        """Whether points lie in the polygons; their edges belong to them.

        Args:
            lat: Latitude in degrees, shape (N,).
            lng: Longitude in degrees, shape (N,), in [-180, 180].

        Returns:
            Truth values, shape (N,).
        """
        shapely.prepare(self.geometry)
        inside: Bools = shapely.intersects_xy(self.geometry, lng, lat)
        on_seam = np.flatnonzero(np.abs(lng) == 180.0)
        inside[on_seam] |= shapely.intersects_xy(self.geometry, -lng[on_seam], lat[on_seam])
        _, lowest, _, highest = self.geometry.bounds
        inside |= (lat == 90.0) & (highest == 90.0)
        inside |= (lat == -90.0) & (lowest == -90.0)
        return inside

    def relation(self, cell_ids: CellIds) -> Relations:
        """How cells lie to the polygons.

        Args:
            cell_ids: Valid cell ids of any levels, shape (N,).

        Returns:
            `OUTSIDE`, `PARTIAL` or `INSIDE`, shape (N,), int8.
        """
        relations, unsure = self.cover.relation(cell_ids)
        if unsure.size:
            relations[unsure] = _relation_on_map(self.geometry, self.edges, cell_ids[unsure])
        return relations

    def outline(self) -> shapely.MultiPolygon:
        """The polygons themselves."""
        return self.geometry


def _edges(geometry: shapely.MultiPolygon) -> shapely.STRtree:
    """Straight edges of polygons within `WORLD`, without those along its own edges."""
    points, ring = shapely.get_coordinates(shapely.get_rings(shapely.get_parts(geometry)), return_index=True)
    pairs = np.stack([points[:-1], points[1:]], axis=1)[ring[:-1] == ring[1:]]  # (E, 2, 2)
    on_border = (np.abs(pairs) == (180.0, 90.0)) & (pairs[:, :1] == pairs[:, 1:])
    return shapely.STRtree(shapely.linestrings(pairs[~on_border.all(axis=1).any(axis=1)]))


def _relation_on_map(geometry: shapely.MultiPolygon, edges: shapely.STRtree, cell_ids: CellIds) -> Relations:
    """How cells lie to polygons, by the rectangles around the cells.

    Args:
        geometry: Valid polygons within `WORLD`.
        edges: Their straight edges.
        cell_ids: Valid cell ids of level 1 or finer, shape (N,).

    Returns:
        `OUTSIDE`, `PARTIAL` or `INSIDE`, shape (N,), int8.
    """
    shapely.prepare(geometry)
    lat, lng = cells.to_lat_lng(cell_ids)
    west, south, east, north = _rectangles(cell_ids, lng)
    crossed = np.zeros(len(cell_ids), dtype=np.bool_)
    crossed[edges.query(shapely.box(west, south, east, north), predicate="intersects")[0]] = True
    relations = np.full(len(cell_ids), PARTIAL, dtype=np.int8)
    rows = np.flatnonzero(~crossed)  # any point of these speaks for the whole cell
    relations[rows] = np.where(shapely.intersects_xy(geometry, lng[rows], lat[rows]), INSIDE, OUTSIDE)
    # A cell beside the antimeridian touches what begins on its other side.
    for at_seam, shift in ((east >= 180.0, -360.0), (west <= -180.0, 360.0)):
        rows = np.flatnonzero(at_seam & (relations == OUTSIDE))
        beyond = shapely.box(west[rows] + shift, south[rows], east[rows] + shift, north[rows])
        relations[rows[shapely.intersects(geometry, beyond)]] = PARTIAL
    return relations


def wrap(*rings: Floats) -> shapely.MultiPolygon:
    """A polygon with holes, cut to the map.

    Args:
        rings: Longitudes in [-360, 360] and latitudes in [-90, 90] of the outer ring, then of the holes, each
            of shape (P, 2), P >= 3. A ring that crosses itself is read by the even-odd rule.

    Returns:
        Valid polygons within `WORLD`; none if there is no area.
    """
    whole = shapely.Polygon(rings[0], rings[1:])
    if not whole.is_valid:
        shell, *holes = (to_multipolygon(shapely.make_valid(shapely.Polygon(ring))) for ring in rings)
        whole = shell.difference(unite(holes))
    polygon = to_multipolygon(whole)
    west, _, east, _ = polygon.bounds
    if polygon.is_empty or (west >= -180.0 and east <= 180.0):
        return polygon
    parts = []
    for shift in (-360.0, 0.0, 360.0):
        moved = shapely.affinity.translate(polygon, xoff=shift)
        parts.append(moved.intersection(WORLD))
    return unite(parts)


def unite(geometries: Sequence[shapely.Geometry]) -> shapely.MultiPolygon:
    """Union of geometries, polygons only.

    Args:
        geometries: Valid geometries.

    Returns:
        Valid polygons; none if there is no area.
    """
    return to_multipolygon(shapely.union_all(np.array(geometries, dtype=object)))


def to_multipolygon(geometry: shapely.Geometry) -> shapely.MultiPolygon:
    """The polygons of a geometry, without its points and lines.

    Args:
        geometry: Any geometry.

    Returns:
        Its polygons of a positive area, outer rings counter-clockwise.
    """
    parts = shapely.get_parts(shapely.get_parts(geometry))  # twice: a collection may hold a MultiPolygon
    return shapely.MultiPolygon([orient(p) for p in parts if isinstance(p, shapely.Polygon) and p.area > 0])


def _rectangles(cell_ids: CellIds, center_lng: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """West, south, east and north of rectangles that hold cells, a micrometer larger, shape (N,) each.

    From level 1 on, a cell lies in one quadrant of its face, so latitude and longitude have their extremes at
    its corners, and no cell crosses the antimeridian. A cell at a pole has all longitudes.
    """
    lat, lng = cells.corners(cell_ids)
    lng += 360.0 * np.round((center_lng[:, None] - lng) / 360.0)  # 180 or -180, whichever is on this side
    south, north = lat.min(axis=1) - _MARGIN_DEG, lat.max(axis=1) + _MARGIN_DEG
    at_pole = (north >= 90.0) | (south <= -90.0)
    # The longitude of a corner at a pole is arbitrary.
    west = np.where(at_pole, -180.0, lng.min(axis=1)) - _MARGIN_DEG
    east = np.where(at_pole, 180.0, lng.max(axis=1)) + _MARGIN_DEG
    return west, south, east, north
