// Two answers to the same photo side by side, one for each set of settings.

import { distanceKm } from "./cells.js";
import { $, el } from "./dom.js";
import { answerOf, state, subscribe } from "./store.js";
import { coordinates, distance, percent, placeName } from "./words.js";

const ROWS = [
  ["Place", (answer) => placeName(answer.place)],
  ["Point", (answer) => coordinates(answer.lat, answer.lng, answer.radius_km["50"])],
  ["Even odds within", (answer) => distance(answer.radius_km["50"])],
  ["9 in 10 within", (answer) => distance(answer.radius_km["90"])],
  ["Log-probability of the leaf", (answer) => answer.log_prob.toFixed(2)],
  ["Region, by the photo alone", (answer) => (answer.region_probability === undefined ? null : percent(answer.region_probability))],
  ["Candidates", (answer) => String(answer.candidates.length)],
  ["Answered in", (answer) => `${(1000 * answer.seconds).toFixed(0)} ms`],
];

export function setUpCompare() {
  subscribe(() => {
    const box = $("#comparison"), { selected, settings } = state;
    if (!settings.B || !selected) return box.replaceChildren();
    const [a, b] = ["A", "B"].map((side) => answerOf(selected, side));
    box.replaceChildren(a && b ? table(a, b) : el("p", { class: "more" }, "Looking…"));
  });
}

function table(a, b) {
  const value = (answer, of) => (answer.status === "ok" ? of(answer) : answer.error);
  const rows = ROWS.map(([name, of]) => [name, value(a, of), value(b, of)]).filter(([, x, y]) => x !== null || y !== null);
  const apart = a.status === "ok" && b.status === "ok" ? distanceKm(a.lat, a.lng, b.lat, b.lng) : null;
  return el("table", { class: "compare" },
    el("caption", {}, apart === null ? "" : `The two answers are ${distance(apart)} apart.`),
    el("thead", {}, el("tr", {}, el("td"), el("th", { scope: "col", class: "side-A" }, "A"), el("th", { scope: "col", class: "side-B" }, "B"))),
    el("tbody", {}, rows.map(([name, x, y]) => el("tr", { class: x === y ? "same" : null },
      el("th", { scope: "row" }, name), el("td", {}, x ?? "–"), el("td", {}, y ?? "–")))));
}
