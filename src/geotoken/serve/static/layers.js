// What a posterior looks like: the cells of a level shaded, and the edges of its credible regions.

import { areaKm2, parseCell, ringOf } from "./cells.js";

const MASS = 0.99; // what the shaded cells hold of those that are listed

/** Features of the likely cells of a level; `shade` grows with the logarithm of the density, from 0 to 1. */
export function shadedCells(layer) {
  const cells = layer.cells.features.map(({ properties: { cell: hex, probability } }) => {
    const cell = parseCell(hex);
    return { cell, probability, density: probability / areaKm2(cell) };
  });
  cells.sort((a, b) => b.density - a.density);
  let left = MASS * cells.reduce((sum, { probability }) => sum + probability, 0);
  const likely = cells.filter(({ probability }) => {
    const inside = left > 0;
    left -= probability;
    return inside;
  });
  if (!likely.length) return [];
  const most = likely[0].density, floor = Math.min(likely.at(-1).density, most / 10), span = Math.log(most / floor);
  return likely.map(({ cell, probability, density }) => ({
    type: "Feature",
    properties: { level: cell.level, probability, shade: Math.log(density / floor) / span },
    geometry: { type: "Polygon", coordinates: [ringOf(cell)] },
  }));
}

/** Lines around the credible regions, without the seams at which the server cuts them: 180 degrees and the poles. */
export function credibleEdges(posterior) {
  return (posterior?.credible_regions ?? []).map(({ probability, geometry }) => ({
    type: "Feature",
    properties: { share: Math.round(100 * probability) },
    geometry: { type: "MultiLineString", coordinates: geometry.coordinates.flat().flatMap(withoutSeams) },
  }));
}

function withoutSeams(ring) {
  const isSeam = ([x0, y0], [x1, y1]) => (Math.abs(x0) >= 180 && x0 === x1) || (Math.abs(y0) >= 90 && y0 === y1);
  const lines = [[ring[0]]];
  for (let k = 1; k < ring.length; k++) {
    if (isSeam(ring[k - 1], ring[k])) lines.push([ring[k]]);
    else lines.at(-1).push(ring[k]);
  }
  return lines.filter((line) => line.length > 1);
}
