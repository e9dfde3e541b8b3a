// How the answer is sought: one set of settings, or two to compare.

import { models, onApiKey } from "./api.js";
import { $, el } from "./dom.js";
import { ask, DEFAULTS, isRead, state } from "./store.js";

const CHOICES = {
  decoder: { label: "Search", values: {
    beam: "beam: several paths at once", greedy: "greedy: the likeliest step each time",
    sample: "sample: draw paths at random", best_first: "best first: proven likeliest",
  } },
  select: { label: "Answer", values: {
    mbr: "greatest expected use", log_prob: "likeliest leaf", medoid: "middle of the candidates",
    similarity: "similarity to the photo", reward: "learned reward",
  } },
};
const NUMBERS = {
  beam_width: { label: "Beam width", min: 1, max: 100, step: 1 },
  samples: { label: "Samples", min: 1, max: 1000, step: 1 },
  temperature: { label: "Temperature", min: 0.05, max: 3, step: 0.05 },
  seed: { label: "Seed", min: 0, max: 1e9, step: 1 },
  top_k: { label: "Listed", min: 1, max: 100, step: 1 },
};

export function setUpSettings() {
  const form = $("#settings"), compare = el("input", { type: "checkbox", name: "compare" });
  form.append(fields("A"), el("label", { class: "check" }, compare, " Compare with other settings"), fields("B"));
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("change", ({ target }) => {
    if (target === compare) {
      const B = compare.checked ? { ...state.settings.A, decoder: "sample", select: "medoid" } : null;
      if (B) fill(form, "B", B);
      ask({ settings: { ...state.settings, B }, side: B ? state.side : "A" });
    } else read(form, target);
    show(form);
  });
  show(form);
  const load = () => models().then(({ models: [model] }) => describe(form, model), () => {});
  onApiKey(load);
  load();
}

/** Name the model, and leave out what it cannot do. */
function describe(form, model) {
  $("#model").textContent = `${model.name} · ${model.head}`;
  for (const option of form.querySelectorAll("[name=select] option")) {
    if (!model.selectors.includes(option.value)) option.remove();
  }
}

function fields(side) {
  const option = ([value, text]) => el("option", { value }, text);
  return el("fieldset", { "data-side": side, class: `side side-${side}` },
    el("legend", {}, `Settings ${side}`),
    Object.entries(CHOICES).map(([name, { label, values }]) =>
      el("label", {}, label, el("select", { name, "data-side": side }, Object.entries(values).map(option)))),
    el("div", { class: "fields" }, Object.entries(NUMBERS).map(([name, { label, ...range }]) =>
      el("label", { "data-name": name }, label,
        el("input", { type: "number", name, "data-side": side, value: DEFAULTS[name], ...range })))));
}

function fill(form, side, settings) {
  for (const input of form.querySelectorAll(`[name][data-side=${side}]`)) input.value = settings[input.name];
}

/** Take up a field; a number out of its range goes back to what it was. */
function read(form, input) {
  const { side } = input.dataset, settings = state.settings[side];
  if (!settings) return;
  if (input.value === "" || !input.checkValidity()) {
    input.value = settings[input.name];
    return;
  }
  ask({ settings: { ...state.settings, [side]: { ...settings, [input.name]: input.value } } });
}

/** Show only what plays a part. */
function show(form) {
  for (const side of ["A", "B"]) {
    const settings = state.settings[side], set = $(`fieldset[data-side=${side}]`, form);
    set.hidden = !settings;
    if (settings) for (const label of set.querySelectorAll("[data-name]")) label.hidden = !isRead(settings, label.dataset.name);
  }
  $("fieldset[data-side=A] legend", form).textContent = state.settings.B ? "Settings A" : "How to look";
}
