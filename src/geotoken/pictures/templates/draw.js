// Painting: a scene on the canvas of a map; map.js says what is shown and where.

const SHADES = 12;
const LEAST_PIXELS = 2; // cells smaller than this are drawn together
const COLORS = ["sea", "land", "coast", "border", "ink", "halo", "faint", "answer", "neighbor", "candidate",
  "credible", "circle", "region", "ramp0", "ramp1", "ramp2", "ramp3", "ramp4"];
const OUTLINE_KM = 20; // below this length of the scale bar one sees that the outline is simplified, by about 2 km

/** How much of the ground a shade covers: the likelier, the more. */
const opacity = (shade) => 0.16 + (0.72 * shade) / (SHADES - 1);

/** Numbers of a color written #rrggbb. */
const rgb = (hex) => [1, 3, 5].map((k) => parseInt(hex.slice(k, k + 2), 16));

/** The part of a map that paints; it has no state of its own. */
class Painter {
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
    const shown = this.dots.filter((dot) => !dot.hidden), chosen = shown.filter((dot) => dot.chosen || dot === this.pointed);
    for (const dot of shown) if (!chosen.includes(dot)) this.dot(context, dot.lat, dot.lng, 4.5, this.colors[dot.kind]);
    for (const { lat, lng, to } of chosen) {
      if (!to) continue;
      this.stroke(context, [withBox(unroll([[lng, lat], [to[1], to[0]]]))], this.colors.ink, 1.8, [6, 4]);
      this.dot(context, ...to, 5, this.colors.candidate);
    }
    for (const dot of chosen) this.dot(context, dot.lat, dot.lng, 7, this.colors[dot.kind]);
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
    this.canvas.dataset.simplified = String(km < OUTLINE_KM);
    if (km >= OUTLINE_KM) return;
    context.strokeText("outline simplified", right, y - 20);
    context.fillText("outline simplified", right, y - 20);
  }
}
