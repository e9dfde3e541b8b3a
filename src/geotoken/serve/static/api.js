// What the page asks of its server; the only module that does.

/** An error that the server or the way to it gave: `code`, a message for people, seconds to wait if any. */
export class ApiError extends Error {
  constructor(code, message, retryAfterS = null) {
    super(message);
    this.code = code;
    this.retryAfterS = retryAfterS;
  }
}

async function ask(path, options = {}) {
  let response;
  try {
    response = await fetch(path, { credentials: "same-origin", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError("unreachable", "The server does not answer. Is it still running?");
  }
  const body = await response.json().catch(() => null);
  if (response.ok && body) return body;
  const { code = "broken", message = `The server answered ${response.status} without saying why.` } = body?.error ?? {};
  const wait = response.headers.get("Retry-After"); // of 429 and 503: it is busy, or still loading the model
  throw new ApiError(code, message, wait === null ? null : Math.min(Math.max(Number(wait) || 1, 1), 60));
}

/** Locate photos. `fields` are [name, value] pairs; the reply has one result a photo. */
export function locate(files, fields, signal) {
  const form = new FormData();
  for (const [name, value] of fields) form.append(name, value);
  for (const file of files) form.append("photos", file, file.name || "photo");
  return ask("/v1/locate", { method: "POST", body: form, signal, headers: apiKey() });
}

export const models = () => ask("/v1/models", { headers: apiKey() });

export const countries = () => ask("/v1/countries", { headers: apiKey() });

let key = "";
const listeners = [];

/** Send a key with every request from now on. */
export function setApiKey(text) {
  key = text;
  for (const listener of listeners) listener();
}

/** Be told when there is a key: what was refused without one may be asked for again. */
export const onApiKey = (listener) => listeners.push(listener);

const apiKey = () => (key ? { "X-API-Key": key } : {});
