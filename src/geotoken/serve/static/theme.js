// Sets light or dark before anything is painted; a plain script, so that it runs in time.
"use strict";
{
  let chosen = null;
  try { chosen = localStorage.getItem("geotoken-theme"); } catch { /* storage is blocked: follow the system */ }
  const dark = chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  document.documentElement.dataset.theme = dark ? "dark" : "light";
}
