"""A circle on the Earth: everything within a great-circle distance of a point.

Owns the geometry of caps of any size, up to the whole sphere; must not know polygons.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from geotoken import cells
from geotoken.geo import EARTH_RADIUS_KM, HALF_EARTH_KM, from_xyz, haversine_km, to_xyz
from geotoken.regions.shape import INSIDE, OUTSIDE, PARTIAL, Bools, CellIds, Floats, Relations

if TYPE_CHECKING:
    from shapely import MultiPolygon

_SLACK_KM = 0.002  # more than the rounding of any distance, be it to the antipode or to edges of millimeters
_MAX_DIAGONAL_KM = 2.4387 * EARTH_RADIUS_KM  # of a cell, at level 0; halved a level (s2metrics.cc, kMaxDiag)
_NUM_OUTLINE_POINTS = 180


@dataclass(frozen=True, slots=True, kw_only=True)
class Circle:
    """All points at most `radius_km` from a center."""

    lat: float
    """Latitude of the center in degrees, in [-90, 90]."""
    lng: float
    """Longitude of the center in degrees, in [-180, 180]."""
    radius_km: float
    """Great-circle distance in km, in (0, HALF_EARTH_KM]."""

    def contains(self, lat: Floats, lng: Floats) -> Bools:
        """Whether points lie in the circle; its edge belongs to it.

        Args:
            lat: Latitude in degrees, shape (N,).
            lng: Longitude in degrees, shape (N,).

        Returns:
            Truth values, shape (N,).
        """
        near: Bools = haversine_km(self.lat, self.lng, lat, lng) <= self.radius_km
        return near

    def relation(self, cell_ids: CellIds) -> Relations:
        """How cells lie to the circle.

        A cap smaller than a hemisphere is convex, so a cell lies in it if its corners do, and off it if its
        edges do and it does not surround the center. A larger one is the complement of a smaller one around
        the antipode.

        Args:
            cell_ids: Valid cell ids of any levels, shape (N,).

        Returns:
            `OUTSIDE`, `PARTIAL` or `INSIDE`, shape (N,), int8.
        """
        is_large = self.radius_km > HALF_EARTH_KM / 2
        lat, lng = (-self.lat, self.lng + 180.0) if is_large else (self.lat, self.lng)
        cap_km = HALF_EARTH_KM - self.radius_km if is_large else self.radius_km

        center_lat, center_lng = cells.to_lat_lng(cell_ids)
        to_center_km = haversine_km(lat, lng, center_lat, center_lng)
        reach_km = _MAX_DIAGONAL_KM * 0.5 ** cells.level(cell_ids)
        in_cap = to_center_km + reach_km <= cap_km - _SLACK_KM
        off_cap = to_center_km - reach_km > cap_km + _SLACK_KM
        rows = np.flatnonzero(~in_cap & ~off_cap)
        corner_lat, corner_lng = cells.corners(cell_ids[rows])
        to_corners_km = haversine_km(lat, lng, corner_lat, corner_lng)  # (M, 4)
        in_cap[rows] = (to_corners_km <= cap_km - _SLACK_KM).all(axis=1)
        far = (to_corners_km > cap_km + _SLACK_KM).all(axis=1)
        rows, corner_lat, corner_lng = rows[far], corner_lat[far], corner_lng[far]
        off_cap[rows] = _edge_km(to_xyz(lat, lng), to_xyz(corner_lat, corner_lng)) > cap_km + _SLACK_KM

        relations = np.full(len(cell_ids), PARTIAL, dtype=np.int8)
        relations[in_cap] = OUTSIDE if is_large else INSIDE
        relations[off_cap] = INSIDE if is_large else OUTSIDE
        if self.radius_km >= HALF_EARTH_KM:
            relations[:] = INSIDE
        return relations

    def outline(self) -> "MultiPolygon":
        """The circle as polygons in the plane of longitude and latitude, cut at the antimeridian.

        Returns:
            Polygons with 180 points on the circle; one around a pole is closed along the pole's edge.
        """
        import shapely

        from geotoken.regions.polygons import WORLD, to_multipolygon, wrap

        lat, lng = self._ring()
        lng = np.unwrap(lng, period=360.0)
        turn = 360.0 * round((lng[-1] - lng[0]) / 360.0)
        if turn:  # once around the axis: one pole is inside; north is tried, and turned around below
            lat = np.concatenate([lat, [90.0, 90.0]])
            lng = np.concatenate([lng, [lng[0] + turn, lng[0]]])
        polygons = wrap(np.column_stack([lng, lat]))
        is_dot = polygons.is_empty and self.radius_km < HALF_EARTH_KM / 2
        if is_dot or polygons.intersects(shapely.Point(self.lng, self.lat)):
            return polygons
        return to_multipolygon(WORLD.difference(polygons))

    def _ring(self) -> tuple[Floats, Floats]:
        """Points on the circle in degrees, first and last the same, each of shape (181,)."""
        center = to_xyz(self.lat, self.lng)
        north = to_xyz(self.lat + 90.0, self.lng)
        east = np.cross(north, center)
        bearing = np.linspace(0, 2 * np.pi, _NUM_OUTLINE_POINTS + 1)[:, None]
        angle = self.radius_km / EARTH_RADIUS_KM
        return from_xyz(
            np.cos(angle) * center + np.sin(angle) * (np.cos(bearing) * north + np.sin(bearing) * east)
        )


def _edge_km(point: Floats, corners: Floats) -> Floats:
    """Distance of a point to the edges of cells where these are nearer than the corners.

    Args:
        point: Unit vector, shape (3,).
        corners: Unit vectors, shape (N, 4, 3), counter-clockwise.

    Returns:
        Distance in km, shape (N,); 0 from within a cell, infinite if a corner is nearest.
    """
    following = np.roll(corners, -1, axis=1)
    normals = np.cross(corners, following)
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    height = normals @ point  # (N, 4), positive within
    beside = (np.cross(normals, corners) @ point > 0) & (np.cross(following, normals) @ point > 0)
    angle = np.where(beside, np.arcsin(np.minimum(np.abs(height), 1.0)), np.inf).min(axis=1, initial=np.inf)
    angle[(height >= 0).all(axis=1)] = 0.0
    distance_km: Floats = angle * EARTH_RADIUS_KM
    return distance_km
