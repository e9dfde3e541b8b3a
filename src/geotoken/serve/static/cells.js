// Cells of the sphere and circles on it, as rings of [longitude, latitude] that MapLibre can draw.
// A ring runs on past 180 degrees rather than jump, and one around a pole is led along the pole.

// S2's Hilbert curve (s2coords.cc: kPosToIJ, kPosToOrientation) and its six faces.
const POSITION_TO_IJ = [[0, 1, 3, 2], [0, 2, 3, 1], [3, 2, 0, 1], [3, 1, 0, 2]];
const POSITION_TO_TURN = [1, 0, 0, 3];
const FACES = [
  (u, v) => [1, u, v], (u, v) => [-u, 1, v], (u, v) => [-u, -v, 1],
  (u, v) => [-1, -v, -u], (u, v) => [v, -1, -u], (u, v) => [v, u, -1],
];
const toUv = (s) => (s >= 0.5 ? (4 * s * s - 1) / 3 : (1 - 4 * (1 - s) * (1 - s)) / 3);

const EARTH_RADIUS_KM = 6371.0088;
const RAD = Math.PI / 180;
const POLE = 89.9999; // beyond this latitude a point has no longitude of its own

/** Mean length in km of the edges of the cells of a level (s2metrics.cc, kAvgEdge). */
export const edgeKm = (level) => 1.459213746386106 * 0.5 ** level * EARTH_RADIUS_KM;

/** Where a cell lies on its cube face: {face, level, bounds: [u0, v0, u1, v1]}. */
export function parseCell(hex) {
  const id = BigInt(`0x${hex.padEnd(16, "0")}`);
  const face = Number(id >> 61n);
  let level = 30;
  for (let bits = id; level > 0 && !(bits & 1n); bits >>= 2n) level -= 1;
  let i = 0, j = 0, turn = face & 1;
  for (let depth = 1; depth <= level; depth++) {
    const position = Number((id >> BigInt(61 - 2 * depth)) & 3n), ij = POSITION_TO_IJ[turn][position];
    i = 2 * i + (ij >> 1);
    j = 2 * j + (ij & 1);
    turn ^= POSITION_TO_TURN[position];
  }
  const side = 2 ** -level;
  return { face, level, bounds: [i, j, i + 1, j + 1].map((at) => toUv(at * side)) };
}

/** The ancestor of a cell at a level. */
export function parentHex(hex, level) {
  const id = BigInt(`0x${hex.padEnd(16, "0")}`), last = 1n << BigInt(2 * (30 - level));
  return ((id & -last) | last).toString(16).padStart(16, "0").replace(/0+$/, "");
}

/** Area of a cell in km2. */
export function areaKm2({ bounds: [u0, v0, u1, v1] }) {
  const angle = (u, v) => Math.atan2(u * v, Math.sqrt(1 + u * u + v * v));
  return (angle(u1, v1) - angle(u0, v1) - angle(u1, v0) + angle(u0, v0)) * EARTH_RADIUS_KM ** 2;
}

/** [lng, lat] of the center of a cell. */
export function centerOf({ face, bounds: [u0, v0, u1, v1] }) {
  return toLngLat(FACES[face]((u0 + u1) / 2, (v0 + v1) / 2));
}

/** The closed ring around a cell; its edges are great circles, so large cells have more points. */
export function ringOf({ face, level, bounds: [u0, v0, u1, v1] }) {
  const perEdge = Math.max(1, 32 >> level), points = [];
  const corners = [[u0, v0], [u1, v0], [u1, v1], [u0, v1]];
  corners.forEach(([ua, va], k) => {
    const [ub, vb] = corners[(k + 1) % 4];
    for (let n = 0; n < perEdge; n++) {
      const t = n / perEdge;
      points.push(toLngLat(FACES[face](ua + t * (ub - ua), va + t * (vb - va))));
    }
  });
  return closed(points);
}

/** The closed ring of a box; west may be greater than east, across 180 degrees. */
export function boxRing(west, south, east, north) {
  const right = east < west ? east + 360 : east, points = [];
  const steps = Math.max(1, Math.ceil((right - west) / 10));
  for (let n = 0; n < steps; n++) points.push([west + ((right - west) * n) / steps, south]);
  for (let n = 0; n < steps; n++) points.push([right - ((right - west) * n) / steps, north]);
  return [...points, [west, north], points[0]];
}

/** The line of a circle around a point. */
export function circleLine(lat, lng, km, count = 180) {
  const phi = lat * RAD, r = Math.min(km / EARTH_RADIUS_KM, Math.PI - 1e-6), points = [];
  for (let k = 0; k <= count; k++) {
    const a = (2 * Math.PI * k) / count;
    const sin = Math.sin(phi) * Math.cos(r) + Math.cos(phi) * Math.sin(r) * Math.cos(a);
    const east = Math.atan2(Math.sin(a) * Math.sin(r) * Math.cos(phi), Math.cos(r) - Math.sin(phi) * sin);
    points.push([lng + east / RAD, Math.asin(Math.max(-1, Math.min(1, sin))) / RAD]);
  }
  return unrolled(points);
}

/** Great-circle distance in km. */
export function distanceKm(lat1, lng1, lat2, lng2) {
  const a = Math.sin(((lat2 - lat1) * RAD) / 2) ** 2
    + Math.cos(lat1 * RAD) * Math.cos(lat2 * RAD) * Math.sin(((lng2 - lng1) * RAD) / 2) ** 2;
  return 2 * EARTH_RADIUS_KM * Math.asin(Math.min(1, Math.sqrt(a)));
}

function toLngLat([x, y, z]) {
  return [Math.atan2(y, x) / RAD, Math.atan2(z, Math.hypot(x, y)) / RAD];
}

/** Points whose longitudes differ by less than 180 from one to the next. */
function unrolled(points) {
  let before = points[0][0];
  return points.map(([lng, lat]) => {
    before = lng - 360 * Math.round((lng - before) / 360);
    return [before, lat];
  });
}

function closed(points) {
  const path = points.flatMap(([lng, lat], k) => {
    if (Math.abs(lat) < POLE) return [[lng, lat]];
    return [[points.at(k - 1)[0], lat], [points[(k + 1) % points.length][0], lat]];
  });
  const ring = unrolled([...path, path[0]]), [first, last] = [ring[0], ring.at(-1)];
  if (Math.abs(last[0] - first[0]) < 180) return [...ring.slice(0, -1), first];
  const pole = first[1] > 0 ? 90 : -90; // around the pole: down to it, back along it
  return [...ring, [last[0], pole], [first[0], pole], first];
}
