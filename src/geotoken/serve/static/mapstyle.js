// How the map looks: its sources and layers, with the colors of the theme.

export const CROSSFADE_MS = 450;
const FONT = ["sans-serif"]; // drawn by the browser itself: no glyph server
const SHADES = [[0, 0.1], [0.3, 0.3], [0.55, 0.5], [0.78, 0.64], [1, 0.74]]; // [shade, opacity]: land shows where little is likely
const RANKS_OF_TOWNS = [0, 3, 60, 4, 500, 5, 1400, 6, 1e9]; // how many names there are from a zoom on
const RANKS_OF_COUNTRIES = [14, 2, 60, 3, 1e9, 8, 0];
const COLORS = ["sea", "land", "border", "label", "halo", "sky", "glow", "ink", "answer", "other", "neighbor", "candidate",
  "credible", "region", "ramp0", "ramp1", "ramp2", "ramp3", "ramp4"];

/** The sources that change; the rest is the world. */
export const DATA = ["cells0", "cells1", "path", "credible", "radii", "region", "between", "candidates", "neighbors"];

export const nothing = { type: "FeatureCollection", features: [] };

/** A color #rrggbb with an opacity. */
const transparent = (hex, opacity) => `rgba(${[1, 3, 5].map((k) => parseInt(hex.slice(k, k + 2), 16)).join(",")},${opacity})`;

/** Colors of the theme, from the custom properties of style.css. */
export function readColors() {
  const style = getComputedStyle(document.documentElement);
  return Object.fromEntries(COLORS.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
}

/** The whole style; `data` holds the GeoJSON of each of `DATA`, `front` says which of the two cell layers is seen. */
export function makeStyle(color, data, { front, projection }) {
  const url = (name) => ({ type: "geojson", data: new URL(`world/${name}.json`, import.meta.url).href });
  const own = (name) => ({ type: "geojson", data: data[name] ?? nothing, tolerance: 0.1, maxzoom: 20 });
  const ramp = ["interpolate", ["linear"], ["get", "shade"], ...SHADES.flatMap(([at, opacity], k) => [at, transparent(color[`ramp${k}`], opacity)])];
  const fade = { duration: CROSSFADE_MS, delay: 0 };
  const cells = (k) => [
    { id: `cells${k}`, type: "fill", source: `cells${k}`, paint: {
      "fill-color": ramp, "fill-antialias": false, "fill-opacity": k === front ? 1 : 0, "fill-opacity-transition": fade } },
    { id: `seams${k}`, type: "line", source: `cells${k}`, paint: {
      "line-color": color.halo, "line-width": 0.6, "line-opacity": k === front ? 0.35 : 0, "line-opacity-transition": fade } },
  ];
  const line = (id, paint, layout = {}) => ({ id, type: "line", source: id, paint, layout: { "line-join": "round", ...layout } });
  const dot = (id, radius, fill) => ({ id, type: "circle", source: id, paint: {
    "circle-radius": radius, "circle-color": fill, "circle-stroke-color": color.halo, "circle-stroke-width": 1.5 } });
  const half = ["==", ["get", "share"], 50];
  const text = (id, kind, ranks, size, layout) => ({
    id, type: "symbol", source: "labels", filter: ["all", ["==", ["get", "kind"], kind], ["<", ["get", "rank"], ["step", ["zoom"], ...ranks]]],
    layout: {
      "text-field": ["get", "name"], "text-font": FONT, "text-size": size, "text-max-width": 7,
      "symbol-sort-key": ["get", "rank"], ...layout,
    },
    paint: { "text-color": color.label, "text-halo-color": color.halo, "text-halo-width": 1.4, "text-opacity": 0.9 },
  });
  return {
    version: 8,
    projection: { type: projection },
    sky: {
      "atmosphere-blend": ["interpolate", ["linear"], ["zoom"], 0, Number(color.glow), 5, 0],
      "sky-color": color.sky, "horizon-color": color.sky,
    },
    sources: {
      land: url("land"), borders: url("borders"), labels: url("labels"),
      ...Object.fromEntries(DATA.map((name) => [name, own(name)])),
    },
    layers: [
      { id: "sea", type: "background", paint: { "background-color": color.sea } },
      { id: "land", type: "fill", source: "land", paint: { "fill-color": color.land } },
      ...cells(0), ...cells(1),
      { id: "borders", type: "line", source: "borders", paint: {
        "line-color": color.border, "line-width": ["interpolate", ["linear"], ["zoom"], 0, 0.4, 6, 1.2] } },
      text("towns", "town", RANKS_OF_TOWNS, 11.5, { "text-anchor": "top", "text-offset": [0, 0.2] }),
      text("countries", "country", RANKS_OF_COUNTRIES, ["interpolate", ["linear"], ["zoom"], 1, 10, 5, 15],
        { "text-transform": "uppercase", "text-letter-spacing": 0.08 }),
      line("path", {
        "line-color": color.ink, "line-width": ["case", ["get", "current"], 2.4, 1],
        "line-opacity": ["case", ["get", "current"], 0.95, 0.35],
      }),
      line("credible", { "line-color": color.credible, "line-opacity": ["interpolate", ["linear"], ["zoom"], 2, 0.55, 6, 0.9],
        "line-width": ["interpolate", ["linear"], ["zoom"], 2, ["case", half, 1.2, 0.6], 6, ["case", half, 2.4, 1.2]] }),
      line("radii", {
        "line-color": ["case", ["==", ["get", "side"], "B"], color.other, color.ink],
        "line-width": 1.4, "line-opacity": 0.75, "line-dasharray": [4, 3],
      }),
      line("region", { "line-color": color.region, "line-width": 2.4, "line-dasharray": [3, 1.5] }),
      line("between", { "line-color": color.other, "line-width": 2, "line-dasharray": [1, 1.6] }, { "line-cap": "round" }),
      dot("neighbors", ["+", 3.5, ["*", 4, ["get", "weight"]]], color.neighbor),
      dot("candidates", 4.5, color.candidate),
    ],
  };
}
