// A page around the map: the photos beside it, its controls, and the table of a report.

const section = document.querySelector(".map");
const map = new WorldMap(section, window.geotokenOutline ?? JSON.parse(document.getElementById("outline").textContent));
const statusLine = document.getElementById("map-status");
const slider = document.getElementById("level");
const follow = section.querySelector(".follow input");

for (const button of section.querySelectorAll("[data-do]")) {
  const act = { in: () => map.zoom(1.6), out: () => map.zoom(1 / 1.6), answer: () => map.fitAnswer(), world: () => map.world() };
  button.addEventListener("click", act[button.dataset.do]);
}
for (const box of section.querySelectorAll("[data-layer]")) {
  box.addEventListener("change", () => {
    map.layers[box.dataset.layer] = box.checked;
    map.draw();
  });
}

map.onLevel = (level) => {
  const levels = map.scene.levels, text = `level ${level} · about ${distance(edgeKm(level))}`;
  slider.max = levels.length - 1;
  slider.value = levels.indexOf(level);
  slider.setAttribute("aria-valuetext", text);
  section.querySelector("output").textContent = text;
  follow.checked = map.follow;
};
slider.addEventListener("input", () => {
  map.follow = false;
  map.setLevel(map.scene.levels[slider.value]);
});
follow.addEventListener("change", () => {
  map.follow = follow.checked;
  map.moved();
});

/** Show the photo of an entry, or an empty world for one that could not be located. */
function showPhoto(entry) {
  const data = entry?.querySelector('script[type="application/json"]');
  if (entry && data) entry.scene ??= JSON.parse(data.textContent);
  const scene = entry?.scene ?? null;
  if (typeof scene?.region === "string") scene.region = JSON.parse(document.getElementById(scene.region).textContent);
  section.classList.toggle("empty", !scene);
  section.classList.toggle("held-to", Boolean(scene?.region));
  map.ring = null;
  map.show(scene);
  const name = entry?.querySelector("summary strong").textContent;
  const where = scene ? `${name}: ${scene.place}` : entry ? `${name}: not located` : "The world";
  map.canvas.setAttribute("aria-label", `Map. ${where}`);
  statusLine.textContent = where;
}

const entries = [...document.querySelectorAll("details.photo")];
for (const entry of entries) {
  entry.addEventListener("toggle", () => {
    if (entry.open) {
      for (const other of entries) if (other !== entry) other.open = false;
      showPhoto(entry);
    }
  });
  for (const button of entry.querySelectorAll(".show")) {
    button.addEventListener("click", () => map.fly(Number(button.dataset.lat), Number(button.dataset.lng)));
  }
}
const table = document.querySelector("table.answers");
if (table) overview(table);
else showPhoto(entries.find((entry) => entry.open) ?? null);

/** The table of a report: sorted by its buttons, filtered by a text, with a dot on the map for each row. */
function overview(table) {
  const body = table.tBodies[0], rows = [...body.rows], count = document.getElementById("count");
  section.classList.add("empty");
  map.canvas.setAttribute("aria-label", "Map of all answers");
  map.dots = rows.filter((row) => row.dataset.lat).map((row) => ({
    lat: Number(row.dataset.lat), lng: Number(row.dataset.lng), row, kind: row.dataset.kind,
    to: row.dataset.to?.split(",").map(Number),
    text: `${row.querySelector(".name").textContent}\n${row.querySelector(".place").textContent}`,
    act: () => { location.href = row.querySelector("a").href; },
  }));
  for (const dot of map.dots) {
    for (const [event, chosen] of [["mouseenter", true], ["mouseleave", false], ["focusin", true], ["focusout", false]]) {
      dot.row.addEventListener(event, () => {
        dot.chosen = chosen;
        map.draw();
      });
    }
  }
  for (const row of rows) row.words = row.textContent.toLowerCase();
  map.fitDots(false);

  const filter = document.getElementById("filter");
  const sift = () => {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      row.hidden = !words.every((word) => row.words.includes(word));
      shown += !row.hidden;
    }
    for (const dot of map.dots) dot.hidden = dot.row.hidden;
    count.textContent = shown === rows.length ? `${shown} photos` : `${shown} of ${rows.length} photos`;
    map.draw();
  };
  filter.addEventListener("input", sift);
  sift();

  for (const header of table.querySelectorAll("th[data-column]")) {
    header.querySelector("button").addEventListener("click", () => {
      const rising = header.getAttribute("aria-sort") !== "ascending", column = Number(header.dataset.column);
      for (const other of table.querySelectorAll("th[aria-sort]")) other.removeAttribute("aria-sort");
      header.setAttribute("aria-sort", rising ? "ascending" : "descending");
      const value = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent.trim();
      const sign = rising ? 1 : -1, compare = new Intl.Collator("en", { numeric: false }).compare;
      const keys = new Map(rows.map((row) => [row, value(row)]));
      const numeric = header.dataset.kind === "number";
      rows.sort((a, b) => {
        const x = keys.get(a), y = keys.get(b);
        if (!x || !y) return x ? -1 : y ? 1 : 0; // what is not known stays last
        return sign * (numeric ? x - y : compare(x, y));
      });
      body.append(...rows);
    });
  }
}
