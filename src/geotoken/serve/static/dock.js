// The idea made visible: a place is written token by token, and each step narrows it down.
// A column for each level shows how much of the probability its cell holds; the slider and "play" go through them.

import { edgeKm } from "./cells.js";
import { $, calm, el, icon } from "./dom.js";
import { change, pause, shown, state, subscribe } from "./store.js";
import { restingLevel } from "./resting.js";
import { distance, percent, sizeName } from "./words.js";

const STEP_MS = 1250, FLIGHT_MS = 1050, LINGER_MS = 1500;

export function setUpDock(view) {
  const slider = $("#level"), button = $("#play");
  let answer = null, playing = null, played = false;
  let from = 0; // the level that play starts at: the first, or where it was stopped
  let met = false; // whether the camera has been sent to the answer

  const stop = () => {
    playing?.abort();
    playing = null;
    change({ playing: false });
  };

  /** From the face to the leaf, the camera following; then back to where half of the probability is seen. */
  async function play() {
    stop();
    const run = new AbortController(), { levels } = answer;
    playing = run;
    change({ playing: true });
    try {
      played = true;
      for (let k = from < levels.length - 1 ? from : 0; k < levels.length; k++) {
        go(k, FLIGHT_MS);
        await pause(STEP_MS, run.signal);
      }
      await pause(LINGER_MS, run.signal);
      rest(2 * FLIGHT_MS);
    } catch (error) {
      if (error.name !== "AbortError") throw error;
    }
    if (playing === run) stop();
  }

  function go(level, durationMs) {
    change({ level });
    view.world?.goToLevel(level, durationMs);
  }

  function rest(durationMs) {
    from = 0;
    change({ level: restingLevel(answer) });
    view.world?.goToAnswer(durationMs);
  }

  slider.addEventListener("input", () => {
    stop();
    from = Number(slider.value);
    go(from, 500);
  });
  button.addEventListener("click", () => {
    if (!state.playing) return play();
    from = state.level;
    return stop();
  });
  for (const kind of ["pointerdown", "wheel"]) $("#map").addEventListener(kind, stop, { passive: true });

  subscribe(() => {
    const now = shown()?.status === "ok" ? shown() : null;
    $("#dock").hidden = !now;
    if (now !== answer) {
      stop();
      answer = now;
      met = false;
      from = 0;
      if (now) {
        slider.max = String(now.levels.length - 1);
        $("#columns").replaceChildren(...now.levels.map(column(now)));
        change({ level: restingLevel(now) });
      } else if (!state.photos.length) view.world?.goHome();
    }
    if (now && !met && view.world) { // the map may come later than the answer
      met = true;
      view.world.setInset($("#dock").offsetHeight + 12);
      if (played || calm()) rest(1200);
      else setTimeout(() => now === answer && play(), 300);
    }
    if (now && state.level !== null) describe(now, Math.min(state.level, now.levels.length - 1));
  });

  function describe({ levels }, position) {
    const { level, probability } = levels[position], km = edgeKm(level), name = sizeName(km);
    slider.value = String(position);
    slider.setAttribute("aria-valuetext", `Level ${level}, ${name}, ${distance(km)}: ${percent(probability)}`);
    $("#dock-name").textContent = name[0].toUpperCase() + name.slice(1);
    $("#dock-more").replaceChildren(`Level ${level}, ${distance(km)} wide: holds `, el("strong", {}, percent(probability)));
    [...$("#columns").children].forEach((one, k) => {
      one.classList.toggle("past", k < position);
      one.classList.toggle("now", k === position);
    });
    button.replaceChildren(icon(state.playing ? "pause" : "play"));
    button.setAttribute("aria-label", state.playing ? "Pause" : "Play: narrow down level by level");
  }
}

/** A column: its height is the probability of the cell, below it the token that led there. */
const column = ({ tokens }) => ({ level, probability }, k) => {
  const fill = el("i");
  fill.style.height = `${Math.max(3, 100 * probability)}%`; // set by the DOM, which the policy on styles allows
  return el("span", { class: "column" }, el("b", {}, fill), el("em", {}, String(tokens[k] ?? "")), el("small", {}, distance(edgeKm(level))));
};
