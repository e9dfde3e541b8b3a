// The map as a part of the page: shows the answers of the state, and does nothing where there is no WebGL.

import { $ } from "./dom.js";
import { answerOf, change, shown, sides, state, subscribe } from "./store.js";

const hasWebGl = () => {
  try {
    return Boolean(document.createElement("canvas").getContext("webgl2"));
  } catch {
    return false;
  }
};

/** Start the map; what is returned can be used at once, before there is one and where there is none. */
export function setUpView() {
  const view = {
    world: null,
    region: [],
    recolor: () => view.world?.recolor(),
    draw: (...ways) => view.world?.draw(...ways),
    stopDrawing: () => view.world?.stopDrawing(),
    /** Show the region that answers are held to. */
    setRegion(features) {
      view.region = features;
      view.world?.set("region", features);
    },
  };
  let drawn = []; // what the map shows: the active answer, then all
  const render = () => {
    if (!view.world) return;
    const answers = sides().map((side) => [side, answerOf(state.selected, side)]).filter(([, answer]) => answer?.status === "ok");
    const active = shown()?.status === "ok" ? shown() : null, wanted = [active, ...answers.flat()];
    if (wanted.length !== drawn.length || wanted.some((one, k) => one !== drawn[k])) {
      drawn = wanted;
      view.world.show(answers, active, view.region);
    }
    if (active && state.level !== null) view.world.setLevel(Math.min(state.level, active.levels.length - 1));
  };
  subscribe(render);
  // Read from the disk and run after the first paint: the page is usable before the map is there.
  const start = async () => {
    const { WorldMap } = await import("./map.js");
    const world = new WorldMap($("#map"), { onPick: pick });
    world.setInset(0);
    await world.ready;
    view.world = world;
    setUpTools(world);
    render();
    change();
    document.documentElement.dataset.map = "ready"; // for whoever waits for it
  };
  if (hasWebGl()) requestAnimationFrame(() => start().catch((error) => withoutMap(error)));
  else withoutMap();
  return view;
}

function withoutMap(error) {
  if (error) console.error(error);
  $("#no-map").hidden = false;
  for (const part of ["#map", ".tools", ".credit"]) $(part).hidden = true;
  document.documentElement.dataset.map = "none";
}

/** A click on a mark of the map shows its entry in the list. */
function pick(kind, index) {
  $("#tab-evidence").click();
  const entry = $(`[data-entry="${kind}-${index}"]`);
  entry?.scrollIntoView({ block: "center" });
  entry?.querySelector("button")?.focus();
}

function setUpTools(world) {
  const { map } = world, button = $("#flat");
  $("#zoom-in").addEventListener("click", () => map.zoomIn());
  $("#zoom-out").addEventListener("click", () => map.zoomOut());
  $("#to-answer").addEventListener("click", () => {
    const answer = shown();
    if (answer?.status === "ok") world.goToLevel(state.level ?? 0, 900);
    else world.goHome();
  });
  button.addEventListener("click", () => {
    const flat = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(flat));
    world.setProjection(flat ? "mercator" : "globe");
  });
  map.getCanvas().setAttribute("aria-label", "Map of the answer; arrows move it, plus and minus zoom");
  $("#to-answer").disabled = false;
}
