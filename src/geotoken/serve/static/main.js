// The page: brings its parts together. Each part shows a piece of the state of store.js and changes it.

import { $, $$, calm, icon, say } from "./dom.js";
import { setUpAnswer } from "./answer.js";
import { setUpCompare } from "./compare.js";
import { setUpDock } from "./dock.js";
import { setUpExport } from "./export.js";
import { setUpHints } from "./hints.js";
import { setUpPhotos } from "./photos.js";
import { setUpSettings } from "./settings.js";
import { setUpView } from "./view.js";

/** Light or dark: the system's choice until another is made here. */
function setUpTheme(view) {
  const root = document.documentElement, button = $("#theme");
  const show = (theme) => {
    root.dataset.theme = theme;
    button.setAttribute("aria-pressed", String(theme === "dark"));
    button.replaceChildren(icon(theme === "dark" ? "sun" : "moon"));
    view.recolor();
  };
  button.addEventListener("click", () => {
    const theme = root.dataset.theme === "dark" ? "light" : "dark";
    try { localStorage.setItem("geotoken-theme", theme); } catch { /* storage is blocked: until the page closes */ }
    show(theme);
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", ({ matches }) => show(matches ? "dark" : "light"));
  show(root.dataset.theme);
}

/** Tabs as the ARIA pattern has them: arrows move, only the chosen one is in the tab order. */
function setUpTabs() {
  const tabs = $$("[role=tab]");
  const choose = (chosen, focus) => {
    for (const tab of tabs) {
      const on = tab === chosen;
      tab.setAttribute("aria-selected", String(on));
      tab.tabIndex = on ? 0 : -1;
      $(`#${tab.getAttribute("aria-controls")}`).hidden = !on;
    }
    if (focus) chosen.focus();
  };
  tabs.forEach((tab, k) => {
    tab.addEventListener("click", () => choose(tab, false));
    tab.addEventListener("keydown", ({ key }) => {
      const to = { ArrowRight: k + 1, ArrowLeft: k - 1, Home: 0, End: tabs.length - 1 }[key];
      if (to !== undefined) choose(tabs.at(to % tabs.length), true);
    });
  });
}

const view = setUpView();
setUpTheme(view);
setUpTabs();
setUpPhotos();
setUpAnswer(view);
setUpDock(view);
setUpHints(view);
setUpCompare();
setUpExport();
setUpSettings();
if (calm()) document.documentElement.classList.add("calm");
say("Ready for a photo.");
