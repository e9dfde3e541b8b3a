// The state of the page: photos, what was asked about them, and what came back.
// Whoever shows a part of it subscribes; whoever changes it calls `change`.

import { ApiError, locate } from "./api.js";

export const DEFAULTS = { decoder: "beam", beam_width: "5", samples: "30", temperature: "1", seed: "0", select: "mbr", top_k: "5" };
const READ_BY = { greedy: [], sample: ["samples", "temperature", "seed"], beam: ["beam_width"], best_first: [] };
const MOST_AT_ONCE = 2; // a server of one worker takes as many
const SMALL_PX = 640;

export const state = {
  photos: [], // {id, file, name, url, answers: Map(key -> {status, ...})}
  selected: null, // a photo
  side: "A", // whose answer is shown
  settings: { A: { ...DEFAULTS }, B: null }, // B: another to compare with
  hints: { within: [], guess: [], together: false },
  level: null, // position among the levels of the answer; null until there is one
  playing: false,
};

const listeners = new Set();
let scheduled = false;

export function subscribe(listener) {
  listeners.add(listener);
}

/** Change the state and tell everybody, once for all changes of a turn. */
export function change(patch = {}) {
  Object.assign(state, patch);
  if (scheduled) return;
  scheduled = true;
  queueMicrotask(() => {
    scheduled = false;
    for (const listener of listeners) listener(state);
  });
}

/** Whether a setting plays a part under the decoder chosen. */
export const isRead = (settings, name) =>
  !Object.values(READ_BY).flat().includes(name) || READ_BY[settings.decoder].includes(name);

/** What is sent with a photo, [name, value] pairs in a fixed order. */
function fieldsOf(side) {
  const settings = state.settings[side], { within, guess, together } = state.hints;
  return [
    ...Object.keys(DEFAULTS).filter((name) => isRead(settings, name)).map((name) => [name, settings[name]]),
    ...within.map((value) => ["within", value]), ...guess.map((value) => ["guess", value]),
    ...(together ? [["together", "true"]] : []), ["posterior", "true"],
  ];
}

const keyOf = (side) => JSON.stringify([fieldsOf(side), state.hints.together ? state.photos.map(({ id }) => id) : 0]);

export const sides = () => (state.settings.B ? ["A", "B"] : ["A"]);

/** The answer about a photo under the present settings, or undefined. */
export const answerOf = (photo, side = state.side) => photo?.answers.get(keyOf(side));

/** The answer shown. */
export const shown = () => answerOf(state.selected);

let nextId = 1;

/** Take in photos; each is asked about at once. */
export function add(files) {
  const photos = [...files].map((file) => ({ id: nextId++, file, name: file.name || "pasted photo", url: null, answers: new Map() }));
  if (!photos.length) return;
  for (const photo of photos) thumbnail(photo);
  change({ photos: [...state.photos, ...photos], selected: state.selected ?? photos[0] });
  pump();
}

export function remove(photo) {
  if (photo.url) URL.revokeObjectURL(photo.url);
  const at = state.photos.indexOf(photo), photos = state.photos.filter((one) => one !== photo);
  for (const job of jobs) if (job.photos.includes(photo)) job.abort.abort();
  change({ photos, selected: state.selected === photo ? photos[Math.min(at, photos.length - 1)] ?? null : state.selected });
  pump();
}

/** Other settings or hints: photos are asked about again, the one in view first. */
export function ask(patch) {
  change(patch);
  const wanted = new Set(sides().map(keyOf));
  for (const job of jobs) if (!wanted.has(job.key)) job.abort.abort();
  pump();
}

/** Forget failures and try again. */
export function retry() {
  for (const { answers } of state.photos) {
    for (const [key, { status }] of answers) if (status === "error") answers.delete(key);
  }
  change();
  pump();
}

/** A small copy to show; a format that the browser cannot read has none. */
async function thumbnail(photo) {
  try {
    const whole = await createImageBitmap(photo.file);
    const scale = Math.min(1, SMALL_PX / Math.max(whole.width, whole.height));
    const canvas = new OffscreenCanvas(Math.max(1, whole.width * scale), Math.max(1, whole.height * scale));
    canvas.getContext("2d").drawImage(whole, 0, 0, canvas.width, canvas.height);
    whole.close();
    photo.url = URL.createObjectURL(await canvas.convertToBlob({ type: "image/webp", quality: 0.85 }));
  } catch {
    photo.url = ""; // shown as a file without a picture
  }
  change();
}

const jobs = new Set(); // requests under way

/** Start as many requests as may run at once: each asks about one photo, or about all of them together. */
function pump() {
  const { selected, photos, hints } = state;
  const order = selected ? [selected, ...photos.filter((photo) => photo !== selected)] : photos;
  for (const photo of order) {
    for (const side of sides()) {
      if (jobs.size >= MOST_AT_ONCE) return;
      const key = keyOf(side), group = hints.together ? photos : [photo];
      const running = [...jobs].some((job) => job.key === key && job.photos.includes(photo));
      if (!running && !photo.answers.has(key)) run({ key, photos: group, fields: fieldsOf(side), abort: new AbortController() });
    }
  }
}

async function run(job) {
  jobs.add(job);
  change();
  const started = performance.now();
  let results;
  try {
    results = (await patiently(job)).results;
  } catch (error) {
    if (job.abort.signal.aborted) results = null;
    else {
      if (!(error instanceof ApiError)) console.error(error);
      results = job.photos.map(() => ({ status: "error", error: error.message, code: error.code, warnings: [] }));
    }
  }
  jobs.delete(job);
  const seconds = (performance.now() - started) / 1000;
  job.photos.forEach((photo, k) => {
    const result = results?.[k] ?? (results ? results[0] : null); // together: one answer for all
    if (result) photo.answers.set(job.key, { ...result, seconds });
  });
  change();
  pump();
}

/** Ask; where the server is too busy, wait as long as it says and ask again. */
async function patiently(job) {
  for (;;) {
    try {
      return await locate(job.photos.map(({ file }) => file), job.fields, job.abort.signal);
    } catch (error) {
      if (!error.retryAfterS) throw error;
      job.waits = true;
      change();
      await pause(1000 * error.retryAfterS, job.abort.signal);
      job.waits = false;
    }
  }
}

/** Wait, or until aborted. */
export function pause(ms, signal) {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(new DOMException("stopped", "AbortError"));
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, ms);
    if (signal?.aborted) stop();
    else signal?.addEventListener("abort", stop, { once: true });
  });
}

/** "done", "error", "busy" (the server has too much to do) or "working". */
export function statusOf(photo, side = state.side) {
  const answer = answerOf(photo, side);
  if (answer) return answer.status === "ok" ? "done" : "error";
  return [...jobs].some((job) => job.waits && job.photos.includes(photo)) ? "busy" : "working";
}
