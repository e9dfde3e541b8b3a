"use strict";
// Cells of the sphere: the tree of a posterior, and where its cells lie on the map.
// The map is Web Mercator: x from 0 at 180 W to 1 at 180 E, y from 0 in the north to 1 in the south.

// S2's Hilbert curve (s2coords.cc: kPosToIJ, kPosToOrientation) and its six faces.
const POSITION_TO_IJ = [[0, 1, 3, 2], [0, 2, 3, 1], [3, 2, 0, 1], [3, 1, 0, 2]];
const POSITION_TO_TURN = [1, 0, 0, 3];
const FACES = [
  (u, v) => [1, u, v], (u, v) => [-u, 1, v], (u, v) => [-u, -v, 1],
  (u, v) => [-1, -v, -u], (u, v) => [v, -1, -u], (u, v) => [v, u, -1],
];
const toUv = (s) => (s >= 0.5 ? (4 * s * s - 1) / 3 : (1 - 4 * (1 - s) * (1 - s)) / 3);
const fromUv = (u) => (u >= 0 ? 0.5 * Math.sqrt(1 + 3 * u) : 1 - 0.5 * Math.sqrt(1 - 3 * u));

const EARTH_RADIUS_KM = 6371.0088;
const STEPS = 70, ZERO = 4063, LEVEL = 4064;
const LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const BEYOND = 0.05; // how far past the edge of the map a pole is put

/** The six faces, with the cells below them, from the string that pictures/tree.py wrote. */
function readTree(text) {
  const value = new Uint8Array(128);
  for (let k = 0; k < 64; k++) value[LETTERS.charCodeAt(k)] = k;
  let at = 0, level = 0, probability = 0;
  const next = () => {
    for (; at < text.length; at += 2) {
      const code = (value[text.charCodeAt(at)] << 6) | value[text.charCodeAt(at + 1)];
      if (code < LEVEL) {
        probability = code < ZERO ? 2 ** (-code / STEPS) : 0;
        at += 2;
        return;
      }
      level = code - LEVEL;
    }
  };
  const build = (face, depth, i, j, turn) => {
    const cell = { face, level: depth, i, j, p: 0, children: null };
    if (depth === level) {
      cell.p = probability;
      next();
      return cell;
    }
    cell.children = POSITION_TO_IJ[turn].map((ij, position) =>
      build(face, depth + 1, 2 * i + (ij >> 1), 2 * j + (ij & 1), turn ^ POSITION_TO_TURN[position]));
    for (const child of cell.children) cell.p += child.p;
    return cell;
  };
  next();
  return FACES.map((_, face) => build(face, 0, 0, 0, face & 1));
}

/** The cells of a level; a cell that was not divided so far stands for all within it. */
function cut(faces, level) {
  const found = [], waiting = [...faces];
  while (waiting.length) {
    const cell = waiting.pop();
    if (cell.level >= level || !cell.children) found.push(cell);
    else waiting.push(...cell.children);
  }
  return found;
}

/** Bounds of a cell on its face: [u0, v0, u1, v1]. */
function bounds(cell) {
  const side = 2 ** -cell.level;
  return [toUv(cell.i * side), toUv(cell.j * side), toUv((cell.i + 1) * side), toUv((cell.j + 1) * side)];
}

/** Area of a cell in km2. */
function areaKm2(cell) {
  if (cell.area === undefined) {
    const [u0, v0, u1, v1] = bounds(cell);
    const angle = (u, v) => Math.atan2(u * v, Math.sqrt(1 + u * u + v * v));
    cell.area = (angle(u1, v1) - angle(u0, v1) - angle(u1, v0) + angle(u0, v0)) * EARTH_RADIUS_KM ** 2;
  }
  return cell.area;
}

const density = (cell) => cell.p / areaKm2(cell);

/** [lng, lat] in degrees of a vector. */
function toLngLat([x, y, z]) {
  return [Math.atan2(y, x) * (180 / Math.PI), Math.atan2(z, Math.hypot(x, y)) * (180 / Math.PI)];
}

/** Points [lng, lat] around a cell; an edge, a great circle, has more of them the larger the cell is. */
function corners(cell, perEdge = Math.max(1, 16 >> cell.level)) {
  const [u0, v0, u1, v1] = bounds(cell), face = FACES[cell.face], points = [];
  const corner = [[u0, v0], [u1, v0], [u1, v1], [u0, v1]];
  for (let k = 0; k < 4; k++) {
    const [ua, va] = corner[k], [ub, vb] = corner[(k + 1) % 4];
    for (let n = 0; n < perEdge; n++) {
      const t = n / perEdge;
      points.push(toLngLat(face(ua + t * (ub - ua), va + t * (vb - va))));
    }
  }
  return points;
}

const toX = (lng) => lng / 360 + 0.5;
const toY = (lat) => {
  if (Math.abs(lat) >= 89.9) return lat > 0 ? -BEYOND : 1 + BEYOND;
  const y = 0.5 - Math.asinh(Math.tan((lat * Math.PI) / 180)) / (2 * Math.PI);
  return Math.min(Math.max(y, -BEYOND), 1 + BEYOND);
};
const toLng = (x) => ((((x - 0.5) * 360 + 180) % 360) + 360) % 360 - 180;
const toLat = (y) => (Math.atan(Math.sinh((0.5 - y) * 2 * Math.PI)) * 180) / Math.PI;

/** A line of [lng, lat] on the map, [x0, y0, x1, y1, ...], each x near the one before: it may leave 0..1. */
function unroll(points) {
  const line = new Float64Array(2 * points.length);
  for (let k = 0; k < points.length; k++) {
    const x = toX(points[k][0]);
    line[2 * k] = k ? x - Math.round(x - line[2 * k - 2]) : x;
    line[2 * k + 1] = toY(points[k][1]);
  }
  return line;
}

/** A closed ring of [lng, lat] on the map. One around a pole is led along the edge of the map. */
function unrollRing(points) {
  const path = [];
  points.forEach(([lng, lat], k) => {
    if (Math.abs(lat) < 89.9999) path.push([lng, lat]);
    else path.push([points.at(k - 1)[0], lat], [points[(k + 1) % points.length][0], lat]);
  });
  const line = unroll([...path, path[0]]), end = line.length - 2;
  if (Math.abs(line[end] - line[0]) < 0.5) return line.subarray(0, end);
  const pole = path[0][1] > 0 ? -BEYOND : 1 + BEYOND;
  return Float64Array.of(...line, line[end], pole, line[0], pole);
}

/** The ring of a cell on the map, with its bounds. */
function shape(cell) {
  cell.shape ??= withBox(unrollRing(corners(cell)));
  return cell.shape;
}

/** A line with the box around it: {line, x0, y0, x1, y1}. */
function withBox(line) {
  let x0 = Infinity, y0 = Infinity, x1 = -Infinity, y1 = -Infinity;
  for (let k = 0; k < line.length; k += 2) {
    x0 = Math.min(x0, line[k]);
    x1 = Math.max(x1, line[k]);
    y0 = Math.min(y0, line[k + 1]);
    y1 = Math.max(y1, line[k + 1]);
  }
  return { line, x0, y0, x1, y1 };
}

/** Points [lng, lat] of the circle of a radius around a point. */
function circle(lat, lng, km, count = 180) {
  const phi = (lat * Math.PI) / 180, theta = (lng * Math.PI) / 180, r = km / EARTH_RADIUS_KM;
  const points = [];
  for (let k = 0; k <= count; k++) {
    const a = (2 * Math.PI * k) / count;
    const sin = Math.sin(phi) * Math.cos(r) + Math.cos(phi) * Math.sin(r) * Math.cos(a);
    const east = Math.atan2(Math.sin(a) * Math.sin(r) * Math.cos(phi), Math.cos(r) - Math.sin(phi) * sin);
    points.push([((theta + east) * 180) / Math.PI, (Math.asin(Math.max(-1, Math.min(1, sin))) * 180) / Math.PI]);
  }
  return points;
}

/** The cell of a level at a point, or the coarser one that was not divided. */
function cellAt(faces, level, lat, lng) {
  const phi = (lat * Math.PI) / 180, theta = (lng * Math.PI) / 180;
  const x = Math.cos(phi) * Math.cos(theta), y = Math.cos(phi) * Math.sin(theta), z = Math.sin(phi);
  const size = [x, y, z].map(Math.abs), axis = size.indexOf(Math.max(...size));
  const face = axis + ([x, y, z][axis] < 0 ? 3 : 0);
  const [u, v] = [
    () => [y / x, z / x], () => [-x / y, z / y], () => [-x / z, -y / z],
    () => [z / x, y / x], () => [z / y, -x / y], () => [-y / z, -x / z],
  ][face]();
  const i = fromUv(u), j = fromUv(v);
  let cell = faces[face];
  while (cell.level < level && cell.children) {
    const sides = 2 ** (cell.level + 1);
    const ci = Math.floor(Math.min(Math.max(i, 0), 1 - 1e-15) * sides);
    const cj = Math.floor(Math.min(Math.max(j, 0), 1 - 1e-15) * sides);
    cell = cell.children.find((child) => child.i === ci && child.j === cj) ?? cell.children[0];
  }
  return cell;
}

/** Great-circle distance in km. */
function distanceKm(lat1, lng1, lat2, lng2) {
  const rad = Math.PI / 180;
  const a = Math.sin(((lat2 - lat1) * rad) / 2) ** 2
    + Math.cos(lat1 * rad) * Math.cos(lat2 * rad) * Math.sin(((lng2 - lng1) * rad) / 2) ** 2;
  return 2 * EARTH_RADIUS_KM * Math.asin(Math.min(1, Math.sqrt(a)));
}

/** Lines [lng, lat] of an outline, from the strings that tools/build_outline.py wrote. */
function readLine(text, steps) {
  const points = [];
  let at = 0, sums = [0, 0];
  while (at < text.length) {
    sums = sums.map((sum) => {
      let value = 0, shift = 0, letter;
      do {
        letter = text.charCodeAt(at++) - 63;
        value |= (letter & 31) << shift;
        shift += 5;
      } while (letter >= 32);
      return sum + (value & 1 ? ~(value >> 1) : value >> 1);
    });
    points.push([sums[0] / steps, sums[1] / steps]);
  }
  return points;
}
