// What a posterior looks like: the cells of a level shaded, and the edges of its credible regions.

import { areaKm2, parentHex, parseCell, ringOf } from "./cells.js";

const MASS = 0.99; // what the shaded cells hold of those that are listed
const THIN = 0.004;
const LEAST = 1e-6; // a share that is no more than rounding

/**
 * Features of the likely cells down to a level; `shade` grows with the logarithm of the density, from 0 to 1.
 * The server lists the likeliest cells of each level. What a cell holds beyond those listed inside it is shaded
 * with the cell itself, below them.
 */
export function shadedCells(posterior, position) {
  const likely = likeliest(remainders(posterior.levels.slice(0, position + 1)));
  if (!likely.length) return [];
  const most = likely[0].density, floor = Math.min(likely.at(-1).density, most / 10), span = Math.log(most / floor);
  likely.sort((a, b) => a.cell.level - b.cell.level); // small cells are drawn over large ones
  return likely.map(({ cell, probability, density }) => ({
    type: "Feature",
    properties: { level: cell.level, probability, shade: Math.log(density / floor) / span },
    geometry: { type: "Polygon", coordinates: [ringOf(cell)] },
  }));
}

/** The cells of some levels, coarsest first, each with what is left of it outside of those listed inside it. */
function remainders(levels) {
  const found = [];
  let above = { level: null, cells: new Map() };
  for (const { level, cells: { features } } of levels) {
    const cells = new Map();
    for (const { properties: { cell: hex, probability } } of features) {
      const cell = parseCell(hex), km2 = areaKm2(cell), one = { cell, km2, probability, left: probability, leftKm2: km2 };
      const parent = above.level === null ? null : above.cells.get(parentHex(hex, above.level));
      if (parent) {
        parent.left -= probability;
        parent.leftKm2 -= km2;
      }
      cells.set(hex, one);
      found.push(one);
    }
    above = { level, cells };
  }
  return found.filter(({ left, leftKm2, probability, km2 }) => left > LEAST * probability && leftKm2 > LEAST * km2);
}

/** The cells by falling density that hold most of what all of them hold. */
function likeliest(cells) {
  for (const one of cells) one.density = one.left / one.leftKm2;
  cells.sort((a, b) => b.density - a.density);
  let mass = MASS * cells.reduce((sum, { left }) => sum + left, 0);
  return cells.filter(({ left }) => {
    const inside = mass > 0;
    mass -= left;
    return inside;
  });
}

/** Lines around the credible regions, without the seams at which the server cuts them: 180 degrees and the poles. */
export function credibleEdges(posterior) {
  return (posterior?.credible_regions ?? []).map(({ probability, geometry }) => ({
    type: "Feature",
    properties: { share: Math.round(100 * probability) },
    geometry: { type: "MultiLineString", coordinates: geometry.coordinates.flat().flatMap(withoutSeams) },
  }));
}

/** The pieces of a ring; a very thin one is no cell but a gap between two, from rounding. */
function withoutSeams(ring) {
  if (roundness(ring) < THIN) return [];
  const isSeam = ([x0, y0], [x1, y1]) => (Math.abs(x0) >= 180 && x0 === x1) || (Math.abs(y0) >= 90 && y0 === y1);
  const lines = [[ring[0]]];
  for (let k = 1; k < ring.length; k++) {
    if (isSeam(ring[k - 1], ring[k])) lines.push([ring[k]]);
    else lines.at(-1).push(ring[k]);
  }
  return lines.filter((line) => line.length > 1);
}

/** Area over squared length: 1 / 16 for a square, next to nothing for a sliver. */
function roundness(ring) {
  let area = 0, length = 0;
  for (let k = 1; k < ring.length; k++) {
    const [[x0, y0], [x1, y1]] = [ring[k - 1], ring[k]];
    area += ((x0 - ring[0][0]) * (y1 - ring[0][1]) - (x1 - ring[0][0]) * (y0 - ring[0][1])) / 2;
    length += Math.hypot(x1 - x0, y1 - y0);
  }
  return Math.abs(area) / length ** 2;
}
