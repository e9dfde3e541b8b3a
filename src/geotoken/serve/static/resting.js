// How an answer is seen at rest: half of the probability, and enough around it to know the place.

import { edgeKm } from "./cells.js";

const RESTING_RADII = 2.6, RESTING_KM = [90, 13_000];
const RESTING_CELLS = 26; // that the view at rest is high

/** Height in km of the view of an answer at rest. */
export const restingKm = ({ radius_km: radius }) => Math.min(Math.max(RESTING_RADII * radius["50"], RESTING_KM[0]), RESTING_KM[1]);

/** The level that suits that view, as a position among those of the answer. */
export const restingLevel = (answer) =>
  Math.max(0, answer.levels.findLastIndex(({ level }) => edgeKm(level) >= restingKm(answer) / RESTING_CELLS));
