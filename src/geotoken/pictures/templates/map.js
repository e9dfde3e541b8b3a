// The map: draws a scene on a canvas, and lets people move about in it.

const EARTH_KM = 2 * Math.PI * EARTH_RADIUS_KM;
const MAX_SCALE = 4e8; // pixels around the Earth: 10 cm a pixel
const SHADES = 12;
const LEAST_PIXELS = 2; // cells smaller than this are drawn together
const COLORS = ["sea", "land", "coast", "border", "ink", "halo", "faint", "answer", "neighbor", "candidate",
  "credible", "circle", "region", "ramp0", "ramp1", "ramp2", "ramp3", "ramp4"];

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

/** How much of the ground a shade covers: the likelier, the more. */
const opacity = (shade) => 0.16 + (0.72 * shade) / (SHADES - 1);

/** Text of a point. */
const pointText = (lat, lng) =>
  `${Math.abs(lat).toFixed(3)}° ${lat >= 0 ? "N" : "S"}, ${Math.abs(lng).toFixed(3)}° ${lng >= 0 ? "E" : "W"}`;

class WorldMap {
  /** A map in a section with a canvas; `outline` is the world's, see tools/build_outline.py. */
  constructor(section, outline) {
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
    this.dots = []; // points of an overview: {lat, lng, text, kind, act}
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
    canvas.addEventListener("pointerleave", () => this.hideTip());
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

  hideTip() {
    this.canvas.style.cursor = "";
    this.tip.hidden = true;
  }

  // ---- drawing ----

  readColors() {
    const style = getComputedStyle(this.section);
    this.colors = Object.fromEntries(COLORS.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
    const stops = [0, 1, 2, 3, 4].map((k) => rgb(this.colors[`ramp${k}`]));
    this.shades = Array.from({ length: SHADES }, (_, k) => {
      const at = (k / (SHADES - 1)) * 4, low = Math.min(Math.floor(at), 3), t = at - low;
      return `rgb(${stops[low].map((value, c) => Math.round(value + t * (stops[low + 1][c] - value))).join(" ")})`;
    });
    const ramp = this.section.querySelector(".ramp");
    if (!ramp) return;
    const context = ramp.getContext("2d");
    context.clearRect(0, 0, ramp.width, ramp.height);
    this.shades.forEach((shade, k) => {
      context.globalAlpha = opacity(k);
      context.fillStyle = shade;
      context.fillRect((k * ramp.width) / SHADES, 0, ramp.width / SHADES, ramp.height);
    });
  }

  draw() {
    if (this.waiting) return;
    this.waiting = requestAnimationFrame(() => {
      this.waiting = 0;
      if (this.width) this.paint();
    });
  }

  paint() {
    const { context, colors, view } = this;
    this.start(context);
    context.fillStyle = colors.sea;
    context.fillRect(0, 0, this.width, this.height);
    this.path(context, this.land, true);
    context.fillStyle = colors.land;
    context.fill("evenodd");
    if (this.scene && this.layers.cells) this.paintCells(context);
    context.lineJoin = "round";
    this.stroke(context, this.borders, colors.border, 0.8);
    this.stroke(context, this.coasts, colors.coast, 1);
    if (this.scene) {
      if (this.layers.credible) this.paintCredible(context);
      if (this.layers.region) this.stroke(context, this.scene.lines.region, colors.region, 2.5, [10, 4, 2, 4]);
      if (this.layers.circles) {
        this.stroke(context, this.scene.lines.circles.slice(1), colors.circle, 1.5, [2, 5]);
        this.stroke(context, this.scene.lines.circles.slice(0, 1), colors.circle, 1.8, [7, 5]);
      }
    }
    this.taken = this.covered();
    if (this.scene) this.paintPoints(context);
    this.paintDots(context);
    if (this.layers.names) this.paintNames(context);
    this.paintScale(context);
    this.canvas.dataset.painted = String(Number(this.canvas.dataset.painted ?? 0) + 1);
  }

  /** Boxes of the controls on the map, where names would not be seen. */
  covered() {
    const { left, top } = this.canvas.getBoundingClientRect();
    return [...this.section.querySelectorAll(".zoom, .layers, .level")].map((control) => {
      const box = control.getBoundingClientRect();
      return [box.left - left, box.top - top, box.right - left, box.bottom - top];
    });
  }

  start(context) {
    const ratio = devicePixelRatio || 1;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, this.width, this.height);
  }

  /** Add those of some boxed lines to a path that are in view, also a world further east or west. */
  path(context, shapes, closed) {
    const { x, y, scale } = this.view, left = x - this.width / scale / 2, right = x + this.width / scale / 2;
    const top = y - this.height / scale / 2, bottom = y + this.height / scale / 2;
    context.beginPath();
    for (const { line, x0, y0, x1, y1 } of shapes) {
      if (y1 < top || y0 > bottom) continue;
      for (let turn = Math.ceil(left - x1); turn <= Math.floor(right - x0); turn++) {
        const ox = this.width / 2 + (turn - x) * scale, oy = this.height / 2 - y * scale;
        context.moveTo(line[0] * scale + ox, line[1] * scale + oy);
        for (let k = 2; k < line.length; k += 2) context.lineTo(line[k] * scale + ox, line[k + 1] * scale + oy);
        if (closed) context.closePath();
      }
    }
  }

  stroke(context, shapes, color, width, dash = []) {
    this.path(context, shapes, false);
    context.strokeStyle = color;
    context.lineWidth = width;
    context.setLineDash(dash);
    context.stroke();
    context.setLineDash([]);
  }

  /** Cells to draw: those of the level in view, or coarser ones where they would be too small to see. */
  visible() {
    const { x, y, scale } = this.view, found = [], waiting = [...this.scene.faces];
    const halfWidth = this.width / scale / 2, halfHeight = this.height / scale / 2;
    while (waiting.length) {
      const cell = waiting.pop();
      if (!cell.p) continue;
      const box = shape(cell);
      if (box.y1 < y - halfHeight || box.y0 > y + halfHeight) continue;
      if (Math.ceil(x - halfWidth - box.x1) > Math.floor(x + halfWidth - box.x0)) continue;
      const small = Math.min(box.x1 - box.x0, box.y1 - box.y0) * scale < 2 * LEAST_PIXELS;
      if (cell.level >= this.level || !cell.children || small) found.push(cell);
      else waiting.push(...cell.children);
    }
    return found;
  }

  paintCells(context) {
    const { most, least } = this.partition(this.level), floor = Math.min(least[0.99], most / 10);
    const span = Math.log(most / floor), groups = Array.from({ length: SHADES }, () => []);
    this.drawn = this.visible();
    for (const cell of this.drawn) {
      const rank = Math.log(density(cell) / floor) / span;
      if (rank >= 0) groups[Math.min(Math.floor(rank * SHADES), SHADES - 1)].push(shape(cell));
    }
    const paper = this.buffer.getContext("2d"), wide = edgeKm(this.level) / this.kmPerPixel();
    groups.forEach((shapes, k) => {
      if (!shapes.length) return;
      this.start(paper);
      this.path(paper, shapes, true);
      paper.fillStyle = paper.strokeStyle = this.shades[k];
      paper.fill();
      paper.lineWidth = 0.6;
      if (wide > 9) paper.globalCompositeOperation = "destination-out"; // seams: shown, or closed where cells are small
      paper.stroke();
      paper.globalCompositeOperation = "source-over";
      context.globalAlpha = opacity(k);
      context.drawImage(this.buffer, 0, 0, this.width, this.height);
    });
    context.globalAlpha = 1;
  }

  /** Outlines of the smallest regions that hold 50 and 90 %: a wide stroke around all cells, less the cells. */
  paintCredible(context) {
    const { least } = this.partition(this.level), drawn = this.layers.cells ? this.drawn : this.visible();
    for (const [share, width] of [[0.9, 1.2], [0.5, 2.6]]) {
      const shapes = drawn.filter((cell) => density(cell) >= least[share]).map(shape);
      const paper = this.buffer.getContext("2d");
      this.start(paper);
      this.path(paper, shapes, true);
      paper.strokeStyle = this.colors.credible;
      paper.lineJoin = "round";
      paper.lineWidth = 2 * width;
      paper.stroke();
      paper.globalCompositeOperation = "destination-out";
      paper.fill();
      paper.globalCompositeOperation = "source-over";
      context.drawImage(this.buffer, 0, 0, this.width, this.height);
    }
  }

  /** A point with a rim, so that it is seen on any ground. */
  dot(context, lat, lng, radius, fill) {
    const [x, y] = this.toScreen(lat, lng);
    context.beginPath();
    context.arc(x, y, radius, 0, 2 * Math.PI);
    context.fillStyle = fill;
    context.fill();
    context.lineWidth = 1.5;
    context.strokeStyle = this.colors.halo;
    context.stroke();
  }

  paintPoints(context) {
    const { scene, colors } = this;
    if (this.layers.neighbors) {
      for (const [lat, lng, similarity] of [...scene.neighbors].reverse()) this.dot(context, lat, lng, 3 + 4 * Math.max(similarity, 0) ** 2, colors.neighbor);
    }
    if (this.layers.candidates) {
      for (const [lat, lng] of [...scene.candidates].reverse()) {
        const [x, y] = this.toScreen(lat, lng);
        context.beginPath();
        for (const [dx, dy] of [[0, -6], [6, 0], [0, 6], [-6, 0]]) context.lineTo(x + dx, y + dy);
        context.closePath();
        context.fillStyle = colors.candidate;
        context.strokeStyle = colors.halo;
        context.lineWidth = 1.5;
        context.fill();
        context.stroke();
      }
    }
    const [x, y] = this.toScreen(...scene.answer);
    for (const [color, width] of [[colors.halo, 6], [colors.answer, 3]]) {
      context.beginPath();
      context.arc(x, y, 8, 0, 2 * Math.PI);
      context.moveTo(x, y - 13);
      context.lineTo(x, y - 8);
      context.moveTo(x, y + 13);
      context.lineTo(x, y + 8);
      context.moveTo(x - 13, y);
      context.lineTo(x - 8, y);
      context.moveTo(x + 13, y);
      context.lineTo(x + 8, y);
      context.strokeStyle = color;
      context.lineWidth = width;
      context.stroke();
    }
    this.taken.push([x - 14, y - 14, x + 14, y + 14]);
    if (this.ring) {
      const [rx, ry] = this.toScreen(this.ring.lat, this.ring.lng);
      context.beginPath();
      context.arc(rx, ry, 15, 0, 2 * Math.PI);
      context.strokeStyle = colors.ink;
      context.lineWidth = 2;
      context.stroke();
    }
  }

  paintDots(context) {
    for (const dot of this.dots) if (!dot.hidden) this.dot(context, dot.lat, dot.lng, dot.chosen ? 7 : 4.5, this.colors[dot.kind]);
  }

  paintNames(context) {
    context.textAlign = "center";
    context.textBaseline = "middle";
    for (const [name, lat, lng, area] of this.countries) {
      const wide = (Math.sqrt(area) / 360) * this.view.scale;
      if (wide > 24 && wide < 20 * this.width) this.name(context, name.toUpperCase(), lat, lng, 10.5, this.colors.faint, 0);
    }
    for (const [name, lat, lng, km] of this.scene?.labels ?? []) {
      if (km / this.kmPerPixel() > 90) this.name(context, name, lat, lng, 12, this.colors.ink, 9);
    }
  }

  /** Write a name where there is room for it; with `lift` above a small square at the point. */
  name(context, text, lat, lng, size, color, lift) {
    const [x, y] = this.toScreen(lat, lng);
    if (x < 0 || x > this.width || y < 0 || y > this.height) return;
    context.font = `${lift ? 500 : 600} ${size}px system-ui, sans-serif`;
    const half = context.measureText(text).width / 2 + 3, box = [x - half, y - lift - 8, x + half, y + (lift ? 3 : 8)];
    if (this.taken.some(([x0, y0, x1, y1]) => box[0] < x1 && box[2] > x0 && box[1] < y1 && box[3] > y0)) return;
    this.taken.push(box);
    context.lineWidth = 3;
    context.lineJoin = "round";
    context.strokeStyle = this.colors.halo;
    context.strokeText(text, x, y - lift);
    context.fillStyle = color;
    context.fillText(text, x, y - lift);
    if (lift) {
      context.fillStyle = this.colors.ink;
      context.fillRect(x - 1.5, y - 1.5, 3, 3);
    }
  }

  paintScale(context) {
    const most = this.kmPerPixel() * 110, power = 10 ** Math.floor(Math.log10(most));
    const km = [5, 2, 1].map((k) => k * power).find((k) => k <= most), wide = km / this.kmPerPixel();
    const right = this.width - 14, y = this.height - 14;
    context.font = "500 11px system-ui, sans-serif";
    context.textAlign = "right";
    context.textBaseline = "alphabetic";
    for (const [color, width] of [[this.colors.halo, 4], [this.colors.ink, 1.5]]) {
      context.strokeStyle = color;
      context.lineWidth = width;
      context.beginPath();
      context.moveTo(right - wide, y - 5);
      context.lineTo(right - wide, y);
      context.lineTo(right, y);
      context.lineTo(right, y - 5);
      context.stroke();
    }
    context.strokeStyle = this.colors.halo;
    context.lineWidth = 3;
    context.strokeText(distance(km), right - 4, y - 5);
    context.fillStyle = this.colors.ink;
    context.fillText(distance(km), right - 4, y - 5);
  }
}

/** Numbers of a color written #rrggbb. */
const rgb = (hex) => [1, 3, 5].map((k) => parseInt(hex.slice(k, k + 2), 16));

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
