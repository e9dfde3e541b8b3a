// Photos come in by dropping, pasting and choosing, and stand in a strip, each with its state.

import { $, el, icon, say } from "./dom.js";
import { add, change, remove, state, statusOf, subscribe } from "./store.js";

const WORDS = { done: "located", error: "not located", busy: "waiting: the server is busy", working: "being located" };

export function setUpPhotos() {
  const files = $("#files");
  files.addEventListener("change", () => {
    add(files.files);
    files.value = "";
  });
  $("#add").addEventListener("click", () => files.click());
  document.addEventListener("paste", ({ clipboardData }) => add(clipboardData?.files ?? []));
  setUpDrop();
  subscribe(render);
}

/** Photos can be dropped anywhere on the page. */
function setUpDrop() {
  const curtain = $("#curtain");
  let depth = 0;
  const carriesFiles = ({ dataTransfer }) => [...(dataTransfer?.types ?? [])].includes("Files");
  const show = (change_) => {
    depth = Math.max(0, change_ === null ? 0 : depth + change_);
    curtain.hidden = depth === 0;
  };
  addEventListener("dragenter", (event) => carriesFiles(event) && show(1));
  addEventListener("dragleave", (event) => carriesFiles(event) && show(-1));
  addEventListener("dragover", (event) => carriesFiles(event) && event.preventDefault());
  addEventListener("drop", (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    show(null);
    add(event.dataTransfer.files);
  });
}

let wasBusy = false;

function render({ photos, selected }) {
  const empty = photos.length === 0;
  $("#app").classList.toggle("empty", empty);
  $("#start").hidden = !empty;
  $("#work").hidden = empty;
  const list = $("#photos"), had = document.activeElement?.closest("#photos li")?.dataset.id;
  list.replaceChildren(...photos.map((photo) => item(photo, photo === selected)));
  if (had) (list.querySelector(`li[data-id="${had}"] button`) ?? list.querySelector("button") ?? $("#add")).focus();
  const states = photos.map((photo) => statusOf(photo)), count = (name) => states.filter((one) => one === name).length;
  const left = count("working") + count("busy");
  const failed = count("error") ? `, ${count("error")} not located` : "";
  const words = left ? `${photos.length - left} of ${photos.length} done${failed}` : `${count("done")} located${failed}`;
  $("#progress").hidden = photos.length < 2;
  $("#progress").textContent = count("busy") ? `${words}; the server is busy, waiting` : words;
  if (wasBusy && !left && photos.length > 1) say(words);
  wasBusy = left > 0;
}

function item(photo, current) {
  const status = statusOf(photo);
  const picture = photo.url ? el("img", { src: photo.url, alt: "" }) : el("span", { class: "blank" }, icon("photo"));
  return el("li", { "data-id": photo.id, class: status },
    el("button", {
      type: "button", class: "thumb", title: photo.name, "aria-label": `${photo.name}: ${WORDS[status]}`,
      "aria-current": current ? "true" : null, onclick: () => change({ selected: photo }),
    }, picture, el("span", { class: "dot" })),
    el("button", { type: "button", class: "remove", "aria-label": `Remove ${photo.name}`, onclick: () => remove(photo) }, icon("close")));
}
