// The map: what it shows, and how people move about in it; draw.js paints it.

const EARTH_KM = 2 * Math.PI * EARTH_RADIUS_KM;
const MAX_SCALE = 4e8; // pixels around the Earth: 10 cm a pixel

/** Text of a probability, never rounded to certainty. */
function percent(p) {
  const value = 100 * p;
  if (value < 0.1) return value < 0.001 ? "<0.001 %" : `${value.toPrecision(1)} %`;
  if (value < 9.95) return `${value.toFixed(1)} %`;
  return value <= 99 ? `${value.toFixed(0)} %` : ">99 %";
}

/** Text of a length with two digits. */
function distance(km) {
  const two = (value) => Number(value.toPrecision(2)).toLocaleString("en-US");
  return km >= 1 ? `${two(km)} km` : `${two(1000 * km)} m`;
}

/** Mean length in km of the edges of the cells of a level (s2metrics.cc, kAvgEdge). */
const edgeKm = (level) => 1.459213746386106 * 0.5 ** level * EARTH_RADIUS_KM;

/** Text of a point. */
const pointText = (lat, lng) =>
  `${Math.abs(lat).toFixed(3)}° ${lat >= 0 ? "N" : "S"}, ${Math.abs(lng).toFixed(3)}° ${lng >= 0 ? "E" : "W"}`;

class WorldMap extends Painter {
  /** A map in a section with a canvas; `outline` is the world's, see tools/build_outline.py. */
  constructor(section, outline) {
    super();
    this.section = section;
    this.canvas = section.querySelector("canvas");
    this.tip = section.querySelector(".tip");
    this.context = this.canvas.getContext("2d");
    this.buffer = document.createElement("canvas");
    const lines = (strings) => strings.map((text) => readLine(text, outline.steps_per_degree));
    const land = lines(outline.land);
    this.land = land.map((ring) => withBox(unrollRing(ring.slice(0, -1))));
    this.coasts = land.flatMap(withoutSeam).map((line) => withBox(unroll(line)));
    this.borders = lines(outline.borders).map((line) => withBox(unroll(line)));
    this.countries = outline.countries;
    this.layers = { cells: true, credible: true, circles: true, neighbors: true, candidates: true, region: true, names: true };
    this.follow = true;
    this.level = 0;
    this.scene = null;
    this.dots = []; // points of an overview: {lat, lng, text, kind, act, to: the other end of a line, if any}
    this.pointed = null; // the dot under the pointer
    this.view = { x: 0.5, y: 0.435, scale: 1 };
    this.onLevel = () => {};
    this.readColors();
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      this.readColors();
      this.draw();
    });
    new ResizeObserver(() => this.resize()).observe(this.canvas);
    this.resize();
    this.listen();
  }

  /** Show an answer; `scene` is what pictures/scene.py made, or null for an empty world. */
  show(scene) {
    this.scene = scene;
    this.cache = new Map();
    if (scene) {
      scene.faces ??= readTree(scene.tree);
      scene.lines ??= {
        circles: scene.radii.map(([, km]) => withBox(unroll(circle(...scene.answer, km)))),
        region: regionLines(scene.region).map((line) => withBox(unroll(line))),
      };
      this.setLevel(scene.levels.includes(this.level) ? this.level : scene.levels[0]);
      this.fitAnswer(false);
    } else this.world(false);
  }

  setLevel(level) {
    this.level = level;
    this.onLevel(level);
    this.draw();
  }

  /** Step to a finer (1) or coarser (-1) level. */
  stepLevel(step) {
    if (!this.scene) return;
    const levels = this.scene.levels;
    const next = levels[levels.indexOf(this.level) + step];
    if (next !== undefined) this.setLevel(next);
  }

  /** Cells of a level, densest first, with the density at the edge of some credible regions. */
  partition(level) {
    if (!this.cache.has(level)) {
      const cells = cut(this.scene.faces, level).filter((cell) => cell.p > 0);
      cells.sort((a, b) => density(b) - density(a));
      const least = {};
      let held = 0;
      for (const cell of cells) {
        for (const share of [0.5, 0.9, 0.99]) if (held < share) least[share] = density(cell);
        held += cell.p;
      }
      this.cache.set(level, { most: density(cells[0]), least });
    }
    return this.cache.get(level);
  }

  // ---- view ----

  resize() {
    const ratio = devicePixelRatio || 1, { clientWidth, clientHeight } = this.canvas;
    const first = !this.width;
    this.width = clientWidth;
    this.height = clientHeight;
    for (const canvas of [this.canvas, this.buffer]) {
      canvas.width = Math.max(1, Math.round(clientWidth * ratio));
      canvas.height = Math.max(1, Math.round(clientHeight * ratio));
    }
    if (first) this.view.scale = this.minScale();
    this.moved();
  }

  minScale() {
    return Math.max(this.width, this.height, 1);
  }

  /** Keep the view inside the world, pick the level that suits it, draw. */
  moved() {
    const view = this.view;
    view.scale = Math.min(Math.max(view.scale, this.minScale()), MAX_SCALE);
    view.x -= Math.floor(view.x);
    const half = this.height / view.scale / 2;
    view.y = half >= 0.5 ? 0.5 : Math.min(Math.max(view.y, half), 1 - half);
    if (this.follow && this.scene) {
      const kmPerPixel = this.kmPerPixel();
      const fine = this.scene.levels.filter((level) => edgeKm(level) / kmPerPixel >= 10);
      const level = fine.at(-1) ?? this.scene.levels[0];
      if (level !== this.level) this.setLevel(level);
    }
    this.draw();
  }

  kmPerPixel() {
    return (EARTH_KM * Math.cos((toLat(Math.min(Math.max(this.view.y, 0.02), 0.98)) * Math.PI) / 180)) / this.view.scale;
  }

  /** Move so that a box of the map fits. */
  fit(box, animate = true) {
    const scale = 0.8 * Math.min(this.width / Math.max(box.x1 - box.x0, 1e-9), this.height / Math.max(box.y1 - box.y0, 1e-9));
    this.glide({ x: (box.x0 + box.x1) / 2, y: (box.y0 + box.y1) / 2, scale }, animate);
  }

  /** Show the answer with the circle of half of the probability, or the world where that is a guess. */
  fitAnswer(animate = true) {
    if (!this.scene) return this.world(animate);
    const [lat, lng] = this.scene.answer, half = this.scene.radii[0][1];
    if (half > 2500) return this.world(animate, toX(lng));
    const { x0, x1, y0, y1 } = withBox(unroll(circle(lat, lng, Math.max(half, 0.2))));
    this.fit({ x0, x1, y0, y1 }, animate);
  }

  /** Show all dots of an overview. */
  fitDots(animate = true) {
    const xs = this.dots.map((dot) => toX(dot.lng)).sort((a, b) => a - b), ys = this.dots.map((dot) => toY(dot.lat));
    if (!xs.length) return this.world(animate);
    const gaps = xs.map((x, k) => (k ? x - xs[k - 1] : x + 1 - xs.at(-1))), widest = Math.max(...gaps);
    const x0 = xs[gaps.indexOf(widest)], center = (Math.min(...ys) + Math.max(...ys)) / 2, reach = 0.02;
    const high = (Math.max(...ys) - Math.min(...ys)) / 2 + reach;
    this.fit({ x0: x0 - reach, x1: x0 + 1 - widest + reach, y0: center - high, y1: center + high }, animate);
  }

  world(animate = true, x = 0.5) {
    this.glide({ x, y: 0.435, scale: this.minScale() }, animate);
  }

  /** Move to a point, as near as its surroundings can be told. */
  fly(lat, lng) {
    this.glide({ x: toX(lng), y: toY(lat), scale: Math.max(this.view.scale, (this.width / 300) * EARTH_KM * Math.cos((lat * Math.PI) / 180)) });
    this.ring = { lat, lng };
  }

  glide(target, animate = true) {
    cancelAnimationFrame(this.gliding);
    const from = { ...this.view };
    target.scale = Math.min(Math.max(target.scale, this.minScale()), MAX_SCALE);
    target.x = from.x + (target.x - from.x - Math.round(target.x - from.x));
    if (!animate || matchMedia("(prefers-reduced-motion: reduce)").matches) {
      this.view = { ...target };
      return this.moved();
    }
    const start = performance.now(), grow = Math.log(target.scale / from.scale);
    const step = (now) => {
      const t = Math.min(Math.max((now - start) / 350, 0), 1), eased = t * (2 - t);
      const scale = from.scale * Math.exp(grow * eased);
      // A point moves evenly on the screen when its share follows the scale.
      const share = Math.abs(grow) < 1e-6 ? eased : (1 - from.scale / scale) / (1 - from.scale / target.scale);
      this.view = { x: from.x + (target.x - from.x) * share, y: from.y + (target.y - from.y) * share, scale };
      if (t < 1) this.gliding = requestAnimationFrame(step);
      else this.view = { ...target };
      this.moved();
    };
    this.gliding = requestAnimationFrame(step);
  }

  zoom(factor, px = this.width / 2, py = this.height / 2) {
    cancelAnimationFrame(this.gliding);
    const view = this.view, x = view.x + (px - this.width / 2) / view.scale, y = view.y + (py - this.height / 2) / view.scale;
    view.scale = Math.min(Math.max(view.scale * factor, this.minScale()), MAX_SCALE);
    view.x = x - (px - this.width / 2) / view.scale;
    view.y = y - (py - this.height / 2) / view.scale;
    this.moved();
  }

  pan(dx, dy) {
    cancelAnimationFrame(this.gliding);
    this.view.x -= dx / this.view.scale;
    this.view.y -= dy / this.view.scale;
    this.moved();
  }

  // ---- input ----

  listen() {
    const canvas = this.canvas, fingers = new Map();
    let travelled = 0;
    const at = (event) => {
      const box = canvas.getBoundingClientRect();
      return [event.clientX - box.left, event.clientY - box.top];
    };
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0015) * (event.ctrlKey ? 4 : 1)), ...at(event));
    }, { passive: false });
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      fingers.set(event.pointerId, at(event));
      travelled = fingers.size > 1 ? 99 : 0;
    });
    canvas.addEventListener("pointermove", (event) => {
      const now = at(event), before = fingers.get(event.pointerId);
      if (!before) return this.point(...now);
      const other = [...fingers].find(([id]) => id !== event.pointerId)?.[1];
      travelled += Math.hypot(now[0] - before[0], now[1] - before[1]);
      this.hideTip();
      if (other) {
        const spread = (p) => Math.max(Math.hypot(p[0] - other[0], p[1] - other[1]), 1);
        const middle = [(now[0] + other[0]) / 2, (now[1] + other[1]) / 2];
        this.pan((now[0] - before[0]) / 2, (now[1] - before[1]) / 2);
        this.zoom(spread(now) / spread(before), ...middle);
      } else this.pan(now[0] - before[0], now[1] - before[1]);
      fingers.set(event.pointerId, now);
    });
    const lift = (event) => {
      if (fingers.delete(event.pointerId) && event.type === "pointerup" && travelled < 6) this.press(...at(event));
    };
    canvas.addEventListener("pointerup", lift);
    canvas.addEventListener("pointercancel", lift);
    canvas.addEventListener("pointerleave", () => {
      this.markDot(null);
      this.hideTip();
    });
    canvas.addEventListener("dblclick", (event) => this.zoom(2, ...at(event)));
    canvas.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const keys = {
        ArrowLeft: () => this.pan(80, 0), ArrowRight: () => this.pan(-80, 0),
        ArrowUp: () => this.pan(0, 80), ArrowDown: () => this.pan(0, -80),
        "+": () => this.zoom(1.5), "=": () => this.zoom(1.5), "-": () => this.zoom(1 / 1.5), _: () => this.zoom(1 / 1.5),
        a: () => this.fitAnswer(), w: () => this.world(), 0: () => this.world(),
        "]": () => this.choose(1), "[": () => this.choose(-1),
      };
      const act = keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
      if (!act) return;
      event.preventDefault();
      act();
    });
  }

  /** Choose a level by hand. */
  choose(step) {
    this.follow = false;
    this.stepLevel(step);
  }

  /** Pixels of a point; one beyond the edge of the map, near a pole, is put at the edge. */
  toScreen(lat, lng) {
    const dx = toX(lng) - this.view.x, y = Math.min(Math.max(toY(lat), 0.015), 0.985);
    return [this.width / 2 + (dx - Math.round(dx)) * this.view.scale, this.height / 2 + (y - this.view.y) * this.view.scale];
  }

  /** What lies under the pointer: {text, act}, or null. */
  under(px, py) {
    const near = (lat, lng, reach = 9) => {
      const [x, y] = this.toScreen(lat, lng);
      return Math.hypot(x - px, y - py) <= reach;
    };
    for (const dot of this.dots) if (!dot.hidden && near(dot.lat, dot.lng)) return dot;
    const scene = this.scene;
    if (!scene) return null;
    if (near(...scene.answer, 11)) return { text: `Answer: ${scene.place}\n${pointText(...scene.answer)}\n50 % within ${distance(scene.radii[0][1])}` };
    if (this.layers.candidates) {
      const rank = scene.candidates.findIndex(([lat, lng]) => near(lat, lng, 7));
      if (rank >= 0) {
        const [lat, lng, p] = scene.candidates[rank];
        return { text: `Candidate ${rank + 1}\n${pointText(lat, lng)}\nprobability ${p.toPrecision(2)}` };
      }
    }
    if (this.layers.neighbors) {
      const hits = scene.neighbors.filter(([lat, lng]) => near(lat, lng));
      if (hits.length) {
        const lines = hits.slice(0, 3).map(([, , similarity, credit]) => `similarity ${similarity.toFixed(2)}${credit ? `\n${credit}` : ""}`);
        return { text: `Similar gallery photo\n${lines.join("\n")}${hits.length > 3 ? `\nand ${hits.length - 3} more` : ""}` };
      }
    }
    if (!this.layers.cells) return null;
    const y = this.view.y + (py - this.height / 2) / this.view.scale;
    if (y < 0 || y > 1) return null;
    const lng = toLng(this.view.x + (px - this.width / 2) / this.view.scale);
    const cell = cellAt(scene.faces, this.level, toLat(y), lng);
    const whole = cell.level < this.level && !cell.children ? "\nnot divided further" : "";
    return { text: `${percent(cell.p)}\ncell of level ${cell.level}, about ${distance(Math.sqrt(areaKm2(cell)))}${whole}` };
  }

  point(px, py) {
    const found = this.under(px, py);
    this.markDot(found);
    if (!found) return this.hideTip();
    this.canvas.style.cursor = found.act ? "pointer" : "";
    this.tip.textContent = found.text;
    this.tip.hidden = false;
    const { offsetWidth, offsetHeight } = this.tip;
    this.tip.style.left = `${Math.max(4, Math.min(px + 14, this.width - offsetWidth - 4))}px`;
    this.tip.style.top = `${Math.max(4, py + 18 + offsetHeight > this.height ? py - offsetHeight - 10 : py + 18)}px`;
  }

  press(px, py) {
    const found = this.under(px, py);
    if (found?.act) found.act();
    else this.point(px, py);
  }

  /** Remember the dot under the pointer, for its line is shown; anything else is none. */
  markDot(found) {
    const dot = this.dots.includes(found) ? found : null;
    if (dot !== this.pointed) {
      this.pointed = dot;
      this.draw();
    }
  }

  hideTip() {
    this.canvas.style.cursor = "";
    this.tip.hidden = true;
  }
}

/** A coast without the straight parts along 180 degrees and the South Pole, where the data was cut. */
function withoutSeam(ring) {
  const lines = [[]];
  ring.forEach(([lng, lat], k) => {
    const seam = k && ((Math.abs(lng) >= 179.99 && Math.abs(ring[k - 1][0]) >= 179.99) || (lat < -85.1 && ring[k - 1][1] < -85.1));
    if (seam) lines.push([]);
    lines.at(-1).push([lng, lat]);
  });
  return lines.filter((line) => line.length > 1);
}

/** Lines of a GeoJSON polygon, multipolygon or collection; nothing for null. */
function regionLines(geometry) {
  if (!geometry) return [];
  if (geometry.type === "FeatureCollection") return geometry.features.flatMap((feature) => regionLines(feature.geometry));
  if (geometry.type === "Feature") return regionLines(geometry.geometry);
  if (geometry.type === "GeometryCollection") return geometry.geometries.flatMap(regionLines);
  if (geometry.type === "Polygon") return geometry.coordinates.flatMap(withoutSeam);
  if (geometry.type === "MultiPolygon") return geometry.coordinates.flat().flatMap(withoutSeam);
  return [];
}
