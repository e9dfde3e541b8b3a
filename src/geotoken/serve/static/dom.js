// Elements of the page. Text from files and replies goes in as text, never as HTML.

export const $ = (selector, root = document) => root.querySelector(selector);
export const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];

const NS = "http://www.w3.org/2000/svg";

/** An element: `el("p", {class: "more", onclick: act}, "text", child, null)`; null children are left out. */
export function el(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

/** The same for SVG. */
export function svg(name, attributes = {}, ...children) {
  return filled(document.createElementNS(NS, name), attributes, children);
}

function filled(element, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** A link that leaves the page; null unless it is http or https. */
export function link(url, text, attributes = {}) {
  if (!/^https?:\/\//i.test(url ?? "")) return null;
  return el("a", { href: url, target: "_blank", rel: "noopener noreferrer", ...attributes }, ...[text].flat());
}

/** A bar for the eye; the number stands beside it. */
export function bar(share) {
  const width = (100 * Math.min(Math.max(share, 0), 1)).toFixed(1);
  return svg("svg", { class: "bar", viewBox: "0 0 100 6", preserveAspectRatio: "none", "aria-hidden": "true" },
    svg("rect", { class: "track", width: 100, height: 6 }), svg("rect", { class: "fill", width, height: 6 }));
}

/** An icon of index.html. */
export const icon = (name) => svg("svg", { class: "icon", "aria-hidden": "true" }, svg("use", { href: `#i-${name}` }));

/** Say something to screen readers. */
export function say(text) {
  $("#status").textContent = text;
}

/** A word at the bottom that fades, for eyes and screen readers. */
export function toast(text) {
  const box = $("#toast");
  box.textContent = text;
  box.classList.add("on");
  clearTimeout(toast.timer);
  toast.timer = setTimeout(() => box.classList.remove("on"), 2600);
  say(text);
}

export const calm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;
