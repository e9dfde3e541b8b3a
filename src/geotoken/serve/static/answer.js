// The answer in words: where, how sure, and on what evidence. Complete without the map.

import { setApiKey } from "./api.js";
import { distanceKm, edgeKm } from "./cells.js";
import { $, bar, el, icon, link, say, toast } from "./dom.js";
import { change, retry, shown, state, statusOf, subscribe } from "./store.js";
import { confidence, coordinates, distance, headline, percent, sentence, verdict } from "./words.js";

const NEIGHBOR_KM = 50, CANDIDATE_KM = 2; // how much of the world is seen when one of a list is shown

export function setUpAnswer(view) {
  let last = [];
  subscribe(() => {
    const photo = state.selected, answer = shown(), compared = Boolean(state.settings.B);
    const now = [photo, answer, state.side, compared, photo?.url, photo ? statusOf(photo) : ""];
    if (now.every((one, k) => one === last[k])) return;
    const before = last[1];
    last = now;
    $("#headline").replaceChildren(...(photo ? top(photo, answer, compared) : []));
    $("#pane-evidence").replaceChildren(...(answer?.status === "ok" ? evidence(answer, view) : []));
    if (answer && answer !== before) say(spoken(photo, answer));
  });
}

const spoken = (photo, answer) => (answer.status === "ok"
  ? `${photo.name}: ${headline(answer)}. ${verdict(answer)} Even odds within ${distance(answer.radius_km["50"])}.`
  : `${photo.name} was not located. ${answer.error}`);

function top(photo, answer, compared) {
  const picture = el("div", { class: "hero" }, photo.url ? el("img", { src: photo.url, alt: `The photo ${photo.name}` })
    : el("span", { class: "blank" }, icon("photo")), el("span", { class: "name" }, photo.name));
  const body = !answer ? skeleton(photo) : answer.status === "ok" ? located(answer) : failed(answer);
  return [picture, compared ? sideSwitch() : null, el("div", { class: "body" }, body)].filter(Boolean);
}

function sideSwitch() {
  return el("div", { class: "sides", role: "group", "aria-label": "Which settings are shown" }, ["A", "B"].map((side) =>
    el("button", { type: "button", class: `side-${side}`, "aria-pressed": String(state.side === side), onclick: () => {
      change({ side });
      $(`.sides .side-${side}`)?.focus();
    } }, `Settings ${side}`)));
}

function skeleton(photo) {
  const words = statusOf(photo) === "busy" ? "The server is busy. Asking again shortly…" : "Looking…";
  return [el("p", { class: "place" }, words), ...[70, 90, 55, 90].map((width) => el("span", { class: `ghost w${width}` }))];
}

/** Why there is no answer, and what helps. */
function failed({ error, code }) {
  const help = code === "unauthorized" ? keyForm() : code?.startsWith("photo") || !code
    ? el("p", { class: "more" }, "The other photos are not affected.")
    : el("button", { type: "button", onclick: retry }, "Try again");
  return [el("h2", { class: "place" }, "Not located"), el("p", { class: "error" }, sentence(error)), help];
}

function keyForm() {
  const input = el("input", { type: "password", autocomplete: "off" });
  return el("form", { onsubmit: (event) => {
    event.preventDefault();
    setApiKey(input.value.trim());
    retry();
  } }, el("label", {}, "This server wants an API key; ask whoever runs it", input), el("button", {}, "Use this key"));
}

function located(answer) {
  const { lat, lng, radius_km: radius } = answer, held = answer.region_probability;
  const point = `${lat.toFixed(6)}, ${lng.toFixed(6)}`;
  const map = `https://www.openstreetmap.org/?mlat=${lat.toFixed(5)}&mlon=${lng.toFixed(5)}#map=12/${lat.toFixed(5)}/${lng.toFixed(5)}`;
  const fact = (name, value) => el("div", {}, el("dt", {}, name), el("dd", {}, value));
  return [
    el("h2", { class: "place" }, headline(answer)),
    el("p", { class: `verdict ${confidence(answer)}` }, verdict(answer)),
    el("dl", { class: "facts" },
      fact("Even odds within", distance(radius["50"])), fact("9 in 10 within", distance(radius["90"])),
      held === undefined ? null : fact("By photo alone", percent(held))),
    el("p", { class: "actions" }, el("span", {}, coordinates(lat, lng, radius["50"])),
      el("button", { type: "button", ...named("Copy coordinates"), onclick: () => copy(point) }, icon("copy")),
      link(map, [icon("out")], named("Open in OpenStreetMap"))),
  ];
}

/** Attributes of a control that is only an icon. */
const named = (name) => ({ class: "quiet", title: name, "aria-label": name });

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    toast(`Copied ${text}`);
  } catch {
    toast(`Copying is not allowed here: ${text}`);
  }
}

function evidence(answer, view) {
  const warnings = answer.warnings.map((text) => el("p", { class: "warning" }, sentence(text)));
  return [...warnings, ...levels(answer), ...neighbors(answer, view), ...candidates(answer, view)];
}

function levels(answer) {
  const cell = (level, k) => el("tr", {},
    el("th", { scope: "row" }, String(level.level)), el("td", {}, distance(edgeKm(level.level))),
    el("td", { class: "token" }, String(answer.tokens[k] ?? "")), el("td", { class: "wide" }, bar(level.probability)),
    el("td", {}, percent(level.probability)));
  return [
    el("h3", {}, "Narrowing down ", el("span", { class: "more" }, "the cells around the answer")),
    el("table", { class: "levels" },
      el("thead", {}, el("tr", {}, ["Level", "Size", "Token"].map((name) => el("th", { scope: "col" }, name)),
        el("th", { scope: "col", colspan: 2 }, "Probability"))),
      el("tbody", {}, answer.levels.map(cell))),
  ];
}

function neighbors(answer, view) {
  if (!answer.neighbors.length) return [];
  return [
    el("h3", {}, "Looks like ", el("span", { class: "more" }, "photos of the gallery, by similarity")),
    el("ol", { class: "found" }, answer.neighbors.map((one, k) => el("li", { "data-entry": `neighbor-${k}` },
      el("button", { type: "button", class: "show", onclick: () => view.world?.goTo(one.lat, one.lng, NEIGHBOR_KM) },
        el("span", { class: "key neighbor" }), coordinates(one.lat, one.lng, CANDIDATE_KM)),
      el("span", { class: "number" }, one.similarity.toFixed(2)),
      el("span", { class: "more" }, `${distance(distanceKm(answer.lat, answer.lng, one.lat, one.lng))} from the answer. `,
        one.attribution ?? "Author unknown", one.license ? `, ${one.license}` : "", " ", link(one.source_url, "source"))))),
  ];
}

function candidates(answer, view) {
  return [
    el("h3", {}, "Candidates ", el("span", { class: "more" }, "what the decoder found, likeliest first")),
    el("ol", { class: "found" }, answer.candidates.map((one, k) => el("li", { "data-entry": `candidate-${k}` },
      el("button", { type: "button", class: "show", onclick: () => view.world?.goTo(one.lat, one.lng, CANDIDATE_KM) },
        el("span", { class: "key candidate" }), coordinates(one.lat, one.lng)),
      el("span", { class: "number", title: "natural log of the probability of its leaf" }, one.log_prob.toFixed(1)),
      el("span", { class: "more" }, `${distance(distanceKm(answer.lat, answer.lng, one.lat, one.lng))} from the answer`,
        one.num_samples ? `, drawn ${one.num_samples} times` : "")))),
  ];
}
