// Numbers and places in words, with no more digits than they deserve: the wording of src/geotoken/words.py.

import { centerOf, distanceKm, parseCell } from "./cells.js";

/** A text as a sentence: a capital in front, one full stop at the end. */
export const sentence = (text) => `${text[0].toUpperCase()}${text.slice(1).replace(/[.?!]?$/, (end) => end || ".")}`;

const AREAS = [["street", 1], ["city", 25], ["region", 200], ["country", 750], ["continent", 2500]];
const CITY_KM = 25, REGION_KM = 200, CONTINENT_KM = 2500, HINT = 0.25, DOUBTFUL = 0.02;

/** Names for cells by the length of their edge in km, largest first. */
const SIZES = [
  [5000, "a face of the cube"], [1500, "half a continent"], [400, "a country"], [100, "a region"],
  [20, "a large city"], [5, "a town"], [1, "a neighborhood"], [0.3, "a few blocks"],
  [0.08, "a block"], [0.02, "a building"], [0, "a street corner"],
];

export const sizeName = (km) => SIZES.find(([least]) => km >= least)[1];

/** A length with two significant digits: "6,300 km", "3.2 km", "350 m". */
export function distance(km) {
  const two = (value) => Number(value.toPrecision(2));
  if (two(1000 * km) >= 1000) return `${two(km).toLocaleString("en-US")} km`;
  return two(1000 * km) >= 1 ? `${two(1000 * km)} m` : "under 1 m";
}

/** A probability that is never rounded to certainty: "61 %", "3.2 %", "<0.1 %", ">99 %". */
export function percent(p) {
  const value = 100 * p;
  if (value < 0.1) return "<0.1 %";
  if (value < 9.95) return `${value.toFixed(1)} %`;
  return value <= 99 ? `${value.toFixed(0)} %` : ">99 %";
}

/** A point for people: fewer decimals where half of the posterior lies farther off. */
export function coordinates(lat, lng, radius50Km = 0) {
  const digits = radius50Km <= CITY_KM ? 4 : 2;
  return `${Math.abs(lat).toFixed(digits)}° ${lat >= 0 ? "N" : "S"}, ${Math.abs(lng).toFixed(digits)}° ${lng >= 0 ? "E" : "W"}`;
}

export const placeName = ({ city, admin1, country }) => [...new Set([city, admin1, country])].filter(Boolean).join(", ");

/** Where an answer is: "Near Agra, Uttar Pradesh, India". */
export function headline(answer) {
  const { place, radius_km: radius } = answer, name = placeName(place);
  let phrase = `near ${name}`;
  if (place.distance_km > CITY_KM) {
    const which = place.distance_km > 500 ? "the nearest settlement of note, " : "";
    phrase = `${distance(place.distance_km)} from ${which}${name}`;
  }
  if (radius["50"] > CONTINENT_KM) phrase = `best bet: ${phrase}`;
  return phrase[0].toUpperCase() + phrase.slice(1);
}

/** What an answer is good for, in one sentence. */
export function verdict(answer) {
  const held = answer.region_probability;
  if (held !== undefined && held < DOUBTFUL) return `Hardly there: the photo alone gives this region ${percent(held)}.`;
  const [r50, r90] = [answer.radius_km["50"], answer.radius_km["90"]];
  const smallest = (km) => AREAS.find(([, limit]) => km <= limit)?.[0];
  const sure = smallest(r90), probable = smallest(r50), city = cityProbability(answer);
  if (sure) return sure === probable ? `Sure of the ${sure}.` : `Sure of the ${sure}, probably the right ${probable}.`;
  if (r50 > REGION_KM && city >= HINT) return `Perhaps this city (${percent(city)}); if not, somewhere quite different.`;
  return probable ? `Probably the right ${probable}, but not sure.` : "A guess: the photo looks like many places.";
}

/** "sure", "likely" or "guess": how a verdict is colored. */
export function confidence(answer) {
  if (answer.region_probability < DOUBTFUL) return "guess";
  if (answer.radius_km["90"] <= REGION_KM) return "sure";
  return answer.radius_km["50"] <= REGION_KM ? "likely" : "guess";
}

/** Probability within the radius of a city, from the cells of level 10 whose centers lie in it. */
function cityProbability({ lat, lng, posterior }) {
  const level = posterior?.levels.find((one) => one.level === 10);
  return (level?.cells.features ?? []).reduce((sum, { properties }) => {
    const [x, y] = centerOf(parseCell(properties.cell));
    return distanceKm(lat, lng, y, x) <= CITY_KM ? sum + properties.probability : sum;
  }, 0);
}
