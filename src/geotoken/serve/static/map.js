// The map: a globe or a flat world, what is drawn on it, and where the camera goes.

import * as maplibre from "./vendor/maplibre-gl/maplibre-gl.mjs";
import { centerOf, circleLine, edgeKm, parseCell, ringOf } from "./cells.js";
import { calm, el } from "./dom.js";
import { credibleEdges, shadedCells } from "./layers.js";
import { DATA, makeStyle, nothing, readColors } from "./mapstyle.js";
import { restingKm } from "./resting.js";
import { coordinates, distance, percent } from "./words.js";

const PIXELS_AROUND_EARTH = 512; // at zoom 0
const EARTH_KM = 40030;
const CELL_SHARE = 0.2; // of the height of the view that the cell of a level takes
const FARTHEST = 0.6, NEAREST = 22.5; // zoom

const feature = (type, coordinates_, properties = {}) => ({ type: "Feature", geometry: { type, coordinates: coordinates_ }, properties });
const collection = (features) => ({ type: "FeatureCollection", features });

export class WorldMap {
  /** A map in an element; throws where there is no WebGL. */
  constructor(container, { projection = "globe", onPick = () => {} } = {}) {
    this.data = Object.fromEntries(DATA.map((name) => [name, nothing]));
    this.front = 0;
    this.projection = projection;
    this.onPick = onPick;
    this.markers = new Map(); // side -> marker of the answer
    this.map = new maplibre.Map({
      container, style: this.style(), center: [12, 24], zoom: this.restingZoom(container), minZoom: FARTHEST - 1, maxZoom: 23,
      attributionControl: false, fadeDuration: calm() ? 0 : 200, maxPitch: 0, dragRotate: false, pitchWithRotate: false,
      rollEnabled: false, renderWorldCopies: true,
    });
    this.map.touchZoomRotate.disableRotation();
    this.map.keyboard.disableRotation();
    this.map.addControl(new maplibre.ScaleControl({ maxWidth: 130 }), "top-right");
    this.ready = new Promise((resolve) => this.map.once("load", resolve));
    this.describe();
  }

  restingZoom({ clientWidth, clientHeight }) {
    // The globe as large as fits: its diameter is 1 / pi of the world's width.
    return Math.max(FARTHEST, Math.log2((Math.min(clientWidth, clientHeight) * Math.PI * 0.84) / PIXELS_AROUND_EARTH));
  }

  style() {
    return makeStyle(readColors(), this.data, this);
  }

  /** Take up the colors of the theme. */
  recolor() {
    this.map.setStyle(this.style());
  }

  setProjection(projection) {
    this.projection = projection;
    this.map.setProjection({ type: projection });
  }

  set(name, features) {
    this.data[name] = Array.isArray(features) ? collection(features) : features;
    this.map.getSource(name)?.setData(this.data[name]);
  }

  /** Show answers, [side, answer] each; `active` is the one whose cells and evidence are drawn, null for none. */
  show(answers, active, region) {
    this.answer = active;
    this.level = undefined; // whatever is set next is new
    this.set("candidates", (active?.candidates ?? []).map((one, k) =>
      feature("Point", [one.lng, one.lat], { index: k, kind: "candidate", text: `Candidate ${k + 1}\n${coordinates(one.lat, one.lng)}` })));
    this.set("neighbors", (active?.neighbors ?? []).map((one, k) => feature("Point", [one.lng, one.lat], {
      index: k, kind: "neighbor", weight: Math.max(one.similarity, 0) ** 2,
      text: [`Gallery photo, similarity ${one.similarity.toFixed(2)}`, one.attribution, one.license].filter(Boolean).join("\n") })));
    this.set("radii", answers.flatMap(([side, { lat, lng, radius_km: radius }]) => ["50", "90"].map((share) =>
      feature("LineString", circleLine(lat, lng, radius[share]), { side, share }))));
    this.set("between", answers.length === 2
      ? [feature("LineString", answers.map(([, { lng, lat }]) => [lng, lat]))] : []);
    this.set("credible", credibleEdges(active?.posterior));
    this.set("region", region);
    this.mark(answers);
    if (!active) this.setLevel(null);
  }

  /** The markers of the answers; HTML, so that they can pulse. */
  mark(answers) {
    for (const marker of this.markers.values()) marker.remove();
    this.markers.clear();
    for (const [side, { lat, lng }] of answers) {
      const element = el("div", { class: `answer-marker side-${side}`, "aria-hidden": "true" }, answers.length > 1 ? side : "");
      this.markers.set(side, new maplibre.Marker({ element, opacityWhenCovered: "0" }).setLngLat([lng, lat]).addTo(this.map));
    }
  }

  /** Shade the cells of one of the answer's levels, with the cells around the answer down to it. */
  setLevel(position) {
    if (position === this.level) return;
    this.level = position;
    const back = 1 - this.front, posterior = position === null ? null : this.answer.posterior;
    this.set(`cells${back}`, posterior ? shadedCells(posterior, position) : []);
    for (const [k, share] of [[back, 1], [this.front, 0]]) {
      this.map.setPaintProperty(`cells${k}`, "fill-opacity", share);
      this.map.setPaintProperty(`seams${k}`, "line-opacity", 0.35 * share);
    }
    this.front = back;
    const levels = position === null ? [] : this.answer.levels.slice(0, position + 1);
    this.set("path", levels.map(({ cell_hex: hex }, k) =>
      feature("LineString", ringOf(parseCell(hex)), { current: k === position })));
  }

  /** Where the camera sees the cell of a level of the answer. */
  viewOf(position) {
    const { level, cell_hex: hex } = this.answer.levels[position], km = edgeKm(level);
    const [lng, lat] = km > 1000 ? centerOf(parseCell(hex)) : [this.answer.lng, this.answer.lat];
    return { center: [lng, lat], zoom: this.zoomOf(km / CELL_SHARE, lat) };
  }

  /** Zoom at which a length at a latitude fills the height of the view. */
  zoomOf(km, lat) {
    const { clientWidth, clientHeight } = this.map.getContainer(), { bottom = 0 } = this.map.getPadding();
    const pixels = Math.min(clientWidth, clientHeight - bottom);
    const zoom = Math.log2((pixels * EARTH_KM * Math.cos((lat * Math.PI) / 180)) / (PIXELS_AROUND_EARTH * km));
    return Math.min(Math.max(zoom, this.restingZoom(this.map.getContainer()) - 0.4), NEAREST);
  }

  goToLevel(position, durationMs) {
    this.move({ ...this.viewOf(position), duration: durationMs, easing: (t) => t * t * (3 - 2 * t) });
  }

  /** See the answer at rest: half of the probability, and enough around it to know the place. */
  goToAnswer(durationMs = 1200) {
    const { lat, lng } = this.answer;
    this.move({ center: [lng, lat], zoom: this.zoomOf(restingKm(this.answer), lat), duration: durationMs });
  }

  goTo(lat, lng, km) {
    this.move({ center: [lng, lat], zoom: this.zoomOf(km, lat), duration: 1200 });
  }

  goHome() {
    this.move({ center: [12, 24], zoom: this.restingZoom(this.map.getContainer()), duration: 900 });
  }

  /** Move the camera: smoothly, or at once for those who asked for less motion. */
  move(options) {
    if (calm()) this.map.jumpTo(options);
    else if (options.easing) this.map.easeTo(options);
    else this.map.flyTo(options);
  }

  /** Keep the middle of the view clear of what lies over the bottom of the map. */
  setInset(bottom) {
    this.map.setPadding({ top: 0, left: 0, right: 0, bottom });
  }

  /** Tell what is under the pointer; a click on a candidate or neighbor picks it. */
  describe() {
    const popup = new maplibre.Popup({ closeButton: false, closeOnClick: false, offset: 10, maxWidth: "260px", className: "tip" });
    const hit = (event) => {
      const layers = ["candidates", "neighbors", `cells${this.front}`].filter((id) => this.map.getLayer(id));
      return this.drawing ? undefined : this.map.queryRenderedFeatures(event.point, { layers })[0];
    };
    this.map.on("mousemove", (event) => {
      const found = hit(event), { kind, text, level, probability } = found?.properties ?? {};
      this.map.getCanvas().style.cursor = this.drawing ? "crosshair" : kind ? "pointer" : "";
      if (!found) return popup.remove();
      const words = text ?? `Cell of ${distance(edgeKm(level))} · ${percent(probability)}`;
      popup.setLngLat(kind ? found.geometry.coordinates : event.lngLat).setText(words).addTo(this.map);
    });
    this.map.on("mouseout", () => popup.remove());
    this.map.on("click", (event) => {
      const { kind, index } = hit(event)?.properties ?? {};
      if (kind) this.onPick(kind, index);
    });
  }

  /** Let a shape be drawn by dragging: `onDrag` and then `onEnd` get the two ends as {lat, lng}; then `onStop`. */
  draw(onDrag, onEnd, onStop) {
    this.stopDrawing();
    const { map } = this, canvas = map.getCanvas();
    const ends = new AbortController(), { signal } = ends;
    let start = null;
    const at = ({ clientX, clientY }) => {
      const box = canvas.getBoundingClientRect();
      return map.unproject([clientX - box.left, clientY - box.top]).wrap();
    };
    this.drawing = ends;
    map.dragPan.disable();
    map.touchZoomRotate.disable();
    canvas.style.cursor = "crosshair";
    canvas.style.touchAction = "none";
    signal.addEventListener("abort", () => {
      map.dragPan.enable();
      map.touchZoomRotate.enable();
      map.touchZoomRotate.disableRotation();
      canvas.style.cursor = canvas.style.touchAction = "";
      this.drawing = null;
      onStop();
    });
    canvas.addEventListener("pointerdown", (event) => {
      start = at(event);
      canvas.setPointerCapture(event.pointerId);
    }, { signal });
    canvas.addEventListener("pointermove", (event) => start && onDrag(start, at(event)), { signal });
    canvas.addEventListener("pointerup", (event) => {
      if (!start) return;
      const end = at(event);
      this.stopDrawing();
      onEnd(start, end);
    }, { signal });
  }

  stopDrawing() {
    this.drawing?.abort();
  }
}
