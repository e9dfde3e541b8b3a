// What a person knows: the region a photo is from, a guess, several photos of one place.
// A region can be drawn with the pointer; the fields beside it do the same with the keyboard.

import { countries, onApiKey } from "./api.js";
import { boxRing, circleLine, distanceKm } from "./cells.js";
import { $, $$, el, say } from "./dom.js";
import { ask, shown, state } from "./store.js";

const FIELDS = { near: ["lat", "lng", "km"], bbox: ["west", "south", "east", "north"] };
const LIMITS = { lat: 90, lng: 180, west: 180, east: 180, south: 90, north: 90, km: 20015 };
const NAMES = { lat: "latitude", lng: "longitude", km: "radius" }; // the others are called what they are
const MOST_SHAPE_BYTES = 1 << 20; // what the server takes

const round = (value, digits) => Number(value.toFixed(digits));

export function setUpHints(view) {
  const form = $("#hints"), { elements } = form;
  let shape = null; // {text, geometry} of a GeoJSON file

  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("change", async ({ target }) => {
    if (target.name === "shape") shape = await readShape(target.files[0]);
    if (target.name === "kind") open(target.value);
    apply();
  });
  for (const button of $$(".draw", form)) {
    button.addEventListener("click", () => draw(button));
    button.hidden = true; // until there is a map
  }
  new MutationObserver(() => $$(".draw", form).forEach((button) => { button.hidden = !view.world; }))
    .observe(document.documentElement, { attributeFilter: ["data-map"] });
  addEventListener("keydown", ({ key }) => key === "Escape" && view.stopDrawing());
  const load = () => countries().then(({ countries: list }) =>
    elements.country.replaceChildren(elements.country.options[0], ...list.map(({ code, name }) => el("option", { value: code }, name))), () => {});
  onApiKey(load);
  load();

  const note = (text) => { $("#hint-note").textContent = text; };

  /** Show the fields of a kind of region; a circle starts around the answer in view. */
  function open(kind) {
    view.stopDrawing();
    for (const group of $$("[data-kind]", form)) group.hidden = group.dataset.kind !== kind;
    const answer = shown();
    if (kind === "near" && !elements.lat.value && answer?.status === "ok") {
      elements.lat.value = round(answer.lat, 3);
      elements.lng.value = round(answer.lng, 3);
      elements.km.value = 500;
    }
  }

  /** The numbers of a kind of region, or null with a word about what is missing. */
  function numbers(kind) {
    const values = FIELDS[kind].map((name) => elements[name].value.trim());
    if (values.some((text) => text === "")) return null;
    for (const [k, name] of FIELDS[kind].entries()) {
      const value = Number(values[k]), limit = LIMITS[name], least = name === "km" ? 0 : -limit;
      const bad = !Number.isFinite(value) || value > limit || value < least || (name === "km" && value === 0);
      elements[name].setAttribute("aria-invalid", String(bad));
      if (bad) {
        note(`${values[k]} is not the ${NAMES[name] ?? name}: give a number from ${least} to ${limit}.`);
        return null;
      }
    }
    return values.map(Number);
  }

  /** What the form says, as the server wants it and as the map shows it. */
  function region() {
    const kind = elements.kind.value;
    if (kind === "country") return elements.country.value ? { within: [`country=${elements.country.value}`], lines: [] } : null;
    if (kind === "geojson") return shape && { within: [shape.text], lines: shape.features };
    const values = kind && numbers(kind);
    if (!values) return null;
    if (kind === "bbox" && values[1] >= values[3]) {
      note("The north must be greater than the south.");
      return null;
    }
    const line = kind === "near" ? circleLine(...values) : boxRing(...values);
    return { within: [`${kind}=${values.join(",")}`], lines: [lineFeature(line)] };
  }

  /** Take up the form; photos are asked about again where it changed anything. */
  function apply() {
    note("");
    const found = region(), guess = readGuess(elements.guess);
    view.setRegion(found?.lines ?? []);
    const hints = { within: found?.within ?? [], guess, together: elements.together.checked };
    if (JSON.stringify(hints) !== JSON.stringify(state.hints)) ask({ hints });
  }

  async function readShape(file) {
    if (!file) return null;
    try {
      if (file.size > MOST_SHAPE_BYTES) throw new Error("it is larger than 1 MB");
      const text = await file.text(), value = JSON.parse(text);
      if (value.type === "FeatureCollection") return { text, features: value.features };
      return { text, features: [value.type === "Feature" ? value : { type: "Feature", properties: {}, geometry: value }] };
    } catch (error) {
      setTimeout(() => note(`${file.name} cannot be used: ${error.message}.`));
      return null;
    }
  }

  function draw(button) {
    const kind = elements.kind.value, isCircle = kind === "near";
    button.setAttribute("aria-pressed", "true");
    say(isCircle ? "Drag from the middle to the edge on the map." : "Drag from corner to corner on the map.");
    note(isCircle ? "Drag on the map from the middle to the edge. Escape stops." : "Drag on the map from corner to corner. Escape stops.");
    const take = (a, b) => {
      const values = isCircle
        ? { lat: a.lat, lng: a.lng, km: Math.max(distanceKm(a.lat, a.lng, b.lat, b.lng), 0.1) }
        : boxOf(a, b);
      for (const [name, value] of Object.entries(values)) elements[name].value = round(value, name === "km" ? 1 : 3);
      return FIELDS[kind].map((name) => Number(elements[name].value));
    };
    view.draw((a, b) => view.setRegion([lineFeature((isCircle ? circleLine : boxRing)(...take(a, b)))]), (a, b) => {
      take(a, b);
      apply();
      elements[FIELDS[kind][0]].focus();
    }, () => button.removeAttribute("aria-pressed"));
  }
}

const lineFeature = (line) => ({ type: "Feature", properties: {}, geometry: { type: "LineString", coordinates: line } });

/** The box between two corners, the short way around the Earth. */
function boxOf(a, b) {
  const [left, right] = (((b.lng - a.lng + 540) % 360) - 180) >= 0 ? [a, b] : [b, a];
  return { west: left.lng, south: Math.min(a.lat, b.lat), east: right.lng, north: Math.max(a.lat, b.lat) };
}

/** A guess as the server wants it: LAT,LNG or LAT,LNG,WEIGHT. */
function readGuess(input) {
  const numbers = input.value.split(/[\s,;]+/).filter(Boolean), ok = numbers.length === 0
    || ((numbers.length === 2 || numbers.length === 3) && numbers.every((text) => Number.isFinite(Number(text)))
    && Math.abs(numbers[0]) <= 90 && Math.abs(numbers[1]) <= 180 && !(numbers[2] <= 0));
  input.setAttribute("aria-invalid", String(!ok));
  $("#guess-note").textContent = ok ? "It counts as evidence beside the photo, not as the truth."
    : "Give a latitude from -90 to 90 and a longitude from -180 to 180, such as 48.86, 2.35.";
  return ok && numbers.length ? [numbers.join(",")] : [];
}
