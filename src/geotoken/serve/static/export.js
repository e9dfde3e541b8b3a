// Answers as files, made in the browser: GeoJSON, KML and CSV with the columns of `geotoken locate --out`.

import { $$, el, toast } from "./dom.js";
import { answerOf, shown, state } from "./store.js";
import { distance, placeName } from "./words.js";

const LEVELS = [0, 4, 8, 12, 16]; // whose probability has a column
const TYPES = { geojson: "application/geo+json", kml: "application/vnd.google-earth.kml+xml", csv: "text/csv" };
const KML = "http://www.opengis.net/kml/2.2";

export function setUpExport() {
  for (const button of $$("[data-format]")) button.addEventListener("click", () => save(button.dataset.format));
}

function save(format) {
  if (format === "cells") return saveCells();
  const rows = state.photos.map((photo) => [photo, answerOf(photo)]).filter(([, answer]) => answer).map(([photo, answer]) => row(photo, answer));
  if (!rows.length) return toast("There is no answer yet.");
  download(`geotoken.${format}`, { geojson, kml, csv }[format](rows), TYPES[format]);
  const left = state.photos.length - rows.length;
  toast(`Saved ${rows.length} ${rows.length === 1 ? "row" : "rows"}${left ? `; ${left} still under way` : ""}.`);
}

function saveCells() {
  const answer = shown(), layer = answer?.posterior?.levels[state.level ?? 0];
  if (!layer) return toast("There is no answer yet.");
  download(`geotoken-level-${layer.level}.geojson`, `${JSON.stringify(layer.cells)}\n`, TYPES.geojson);
  toast(`Saved ${layer.cells.features.length} cells of level ${layer.level}.`);
}

/** An answer as one flat row, per geotoken/exports/columns.py. */
function row(photo, answer) {
  const probability = Object.fromEntries((answer.levels ?? []).map((one) => [one.level, one.probability]));
  const { city, admin1, country, country_code } = answer.place ?? {};
  return {
    image: photo.name, status: answer.status, lat: answer.lat, lng: answer.lng,
    radius_50_km: answer.radius_km?.["50"], radius_90_km: answer.radius_km?.["90"],
    ...Object.fromEntries(LEVELS.map((level) => [`probability_level_${level}`, probability[level]])),
    region_probability: answer.region_probability, city, admin1, country, country_code,
    cell_hex: answer.cell?.hex, log_prob: answer.log_prob, warnings: (answer.warnings ?? []).join("; "), error: answer.error,
  };
}

/** A FeatureCollection of points; a photo that failed is a feature without geometry (RFC 7946). */
export function geojson(rows) {
  const features = rows.map(({ lat, lng, ...properties }) => ({
    type: "Feature", geometry: lat === undefined ? null : { type: "Point", coordinates: [lng, lat] }, properties,
  }));
  return `${JSON.stringify({ type: "FeatureCollection", features }, null, 1)}\n`;
}

/** A table; text that a spreadsheet would take for a formula has a ' in front. */
export function csv(rows) {
  const field = (value) => {
    if (typeof value !== "string") return value ?? "";
    const text = value.replace(/[\u0000-\u001f\u007f-\u009f]/g, " "), safe = /^'*[=+@-]/.test(text) ? `'${text}` : text;
    return /[",]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
  };
  return [Object.keys(rows[0]), ...rows.map(Object.values)].map((values) => `${values.map(field).join(",")}\n`).join("");
}

/** Placemarks; built as a document, so that a name is text whatever it holds. */
export function kml(rows) {
  const file = document.implementation.createDocument(KML, "kml");
  const add = (parent, name, text = "", attributes = {}) => {
    const child = file.createElementNS(KML, name);
    child.textContent = text.replace(/[\u0000-\u001f\u007f-\u009f\ufffe\uffff]/g, " ");
    for (const [key, value] of Object.entries(attributes)) child.setAttribute(key, value);
    return parent.appendChild(child);
  };
  const folder = add(file.documentElement, "Document");
  for (const one of rows) {
    const mark = add(folder, "Placemark"), ok = one.status === "ok";
    add(mark, "name", one.image);
    add(mark, "description", ok
      ? `${placeName(one)}; even odds within ${distance(one.radius_50_km)}, 9 in 10 within ${distance(one.radius_90_km)}` : one.error);
    const data = add(mark, "ExtendedData");
    for (const [name, value] of Object.entries(one)) {
      if (value !== undefined && value !== "") add(add(data, "Data", "", { name }), "value", String(value));
    }
    if (ok) add(add(mark, "Point"), "coordinates", `${one.lng},${one.lat}`);
  }
  return `<?xml version="1.0" encoding="UTF-8"?>\n${new XMLSerializer().serializeToString(file)}\n`;
}

function download(name, text, type) {
  const url = URL.createObjectURL(new Blob([text], { type }));
  const anchor = el("a", { href: url, download: name });
  anchor.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
