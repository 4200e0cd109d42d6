// Calls the service: JSON calls that repeat what may be repeated, streams that resume, the server's
// clock. Pages and the parts of pages call nothing else.

const BASE = (document.querySelector('meta[name="quota-api"]')?.content ?? "").replace(/\/$/, "");
const TRY_LIMIT_MS = 15_000; // one try of a call
const WAIT_MAX_MS = 20_000; // between two tries
const SILENCE_MAX_MS = 45_000; // a stream says something every 15 s
const REPEATED = new Set([429, 502, 503, 504]);

let credential = "";

/** Sets the key or token that calls send; "" sends none. It is kept in this module alone. */
export function setCredential(keyOrToken) {
  credential = keyOrToken;
}

/** A refusal by the service (RFC 9457): its slug, status and members, and when to ask again. */
export class Problem extends Error {
  constructor(status, members, retryAfterS) {
    super(members.detail ?? members.title ?? `HTTP ${status}`);
    this.status = status;
    this.members = members;
    this.slug = (members.type ?? "").split("/").pop() || `http-${status}`;
    this.retryAfterS = retryAfterS;
  }
}

/** There was no answer: the network is away, or nothing listens. */
export class NoAnswer extends Error {}

/**
 * Makes a call and returns the JSON of its answer, null where there is none.
 *
 * GET, PUT and DELETE, a POST with an idempotency key and one that is said to be `repeatable` are
 * repeated when there was no answer, and when the service asks to come again. Throws Problem,
 * NoAnswer, and what `signal` aborts with.
 */
export async function call(method, path, options = {}) {
  const { body, idempotencyKey, signal, headers = {}, tries = 5 } = options;
  const mayRepeat = method !== "POST" || idempotencyKey !== undefined || options.repeatable;
  const sent = { Accept: "application/json", ...authorization(), ...headers };
  if (body !== undefined) sent["Content-Type"] = "application/json";
  if (idempotencyKey !== undefined) sent["Idempotency-Key"] = idempotencyKey;
  for (let attempt = 1; ; attempt += 1) {
    let waitMs = Math.min(500 * 2 ** (attempt - 1), WAIT_MAX_MS);
    let error;
    try {
      return await once(method, path, sent, body, signal);
    } catch (caught) {
      if (signal?.aborted) throw caught;
      error = caught;
    }
    const isLater = error instanceof NoAnswer || REPEATED.has(error.status);
    if (!mayRepeat || !isLater || attempt >= tries) throw error;
    if (error.retryAfterS) waitMs = Math.min(error.retryAfterS * 1000, WAIT_MAX_MS);
    await pause(waitMs * (0.75 + Math.random() / 2), signal);
  }
}

export const get = (path, options) => call("GET", path, options);
export const post = (path, body, options) => call("POST", path, { ...options, body });
export const put = (path, body, options) => call("PUT", path, { ...options, body });
export const del = (path, options) => call("DELETE", path, options);

/** An idempotency key that no other order has. */
export function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

async function once(method, path, headers, body, signal) {
  const timed = limited(TRY_LIMIT_MS, signal);
  const sentAt = Date.now();
  try {
    const response = await fetch(BASE + path, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: timed.signal,
      credentials: "same-origin",
      cache: "no-cache",
    });
    const text = await response.text();
    const isJson = (response.headers.get("Content-Type") ?? "").includes("json");
    const document = isJson && text ? JSON.parse(text) : null;
    noteTime(document?.server_time, response.headers.get("Date"), sentAt);
    if (response.ok) return document;
    throw new Problem(response.status, document ?? {}, retryAfter(response));
  } catch (error) {
    if (error instanceof Problem || signal?.aborted) throw error;
    throw new NoAnswer(String(error));
  } finally {
    timed.end();
  }
}

function authorization() {
  return credential ? { Authorization: `Bearer ${credential}` } : {};
}

function retryAfter(response) {
  const seconds = Number(response.headers.get("Retry-After"));
  return Number.isFinite(seconds) ? seconds : 0;
}

/** A signal that aborts with another, or after a time. */
function limited(limitMs, signal) {
  const controller = new AbortController();
  const abort = () => controller.abort(signal?.reason);
  if (signal?.aborted) abort();
  signal?.addEventListener("abort", abort);
  const timer = limitMs ? setTimeout(() => controller.abort(), limitMs) : 0;
  const end = () => {
    clearTimeout(timer);
    signal?.removeEventListener("abort", abort);
  };
  return { signal: controller.signal, abort: () => controller.abort(), end };
}

/** Resolves after a time; rejects when the signal aborts. */
export function pause(ms, signal) {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const timer = setTimeout(done, ms);
    function done() {
      signal?.removeEventListener("abort", stop);
      resolve();
    }
    function stop() {
      clearTimeout(timer);
      reject(signal.reason);
    }
    signal?.addEventListener("abort", stop);
    return undefined;
  });
}

// --- the server's clock -----------------------------------------------------------------------

let offsetMs = 0; // what the server's clock is ahead of Date.now()
let errorMs = Infinity; // how far wrong the offset can be
let measuredAt = 0;

/** The time now by the server's clock, in milliseconds of the epoch. */
export const serverNow = () => Date.now() + offsetMs;

function noteTime(exact, dateHeader, sentAt) {
  const told = Date.parse(exact ?? dateHeader ?? "");
  if (Number.isNaN(told)) return;
  const now = Date.now();
  const isExact = exact !== undefined;
  const error = (now - sentAt) / 2 + (isExact ? 5 : 500); // Date has whole seconds
  const offset = told + (isExact ? 0 : 500) - (now + sentAt) / 2;
  const wasChanged = Math.abs(offset - offsetMs) > error + errorMs; // somebody set this clock
  if (error <= errorMs * 1.5 || wasChanged || now - measuredAt > 120_000) {
    offsetMs = offset;
    errorMs = error;
    measuredAt = now;
  }
}

// --- streams ----------------------------------------------------------------------------------

/**
 * Reads a stream of server-sent events until `close()` of what it returns is called; that has
 * `heardAt`, the time of the last byte by the server's clock.
 *
 * `onEvent(name, data, id)` gets each event, its data parsed. `onState` gets "open" when the stream
 * is read; "lost" with what ended it, if anything did, when it is opened again; and "refused" with
 * the Problem when the service refuses for good: the stream is closed then. Resumes after the last
 * id; a phone that wakes up, and a network that is back, try at once.
 */
export function stream(path, { onEvent, onState = () => {}, lastEventId } = {}) {
  let lastId = lastEventId;
  let failures = 0;
  let wake = () => {};
  let current = null;
  let retryMs = 3000;
  const closing = new AbortController();
  const handle = { heardAt: null, close: () => closing.abort() }; // by the server's clock

  const tryNow = () => {
    if (document.visibilityState === "visible" && navigator.onLine !== false) wake();
  };
  const goOffline = () => current?.abort();
  addEventListener("online", tryNow);
  addEventListener("offline", goOffline);
  document.addEventListener("visibilitychange", tryNow);
  closing.signal.addEventListener("abort", () => {
    removeEventListener("online", tryNow);
    removeEventListener("offline", goOffline);
    document.removeEventListener("visibilitychange", tryNow);
    current?.abort();
    wake();
  });
  run();
  return handle;

  async function run() {
    while (!closing.signal.aborted) {
      let error = null;
      try {
        await readOnce();
        failures = 0;
      } catch (caught) {
        error = caught;
        if (closing.signal.aborted) return;
        if (error instanceof Problem && !REPEATED.has(error.status)) {
          onState("refused", error);
          closing.abort();
          return;
        }
        failures += 1;
        retryMs = Math.max(error.retryAfterS ? error.retryAfterS * 1000 : 0, 500);
      }
      if (closing.signal.aborted) return;
      onState("lost", error);
      const waitMs = Math.min(retryMs * 2 ** Math.max(failures - 1, 0), WAIT_MAX_MS);
      await new Promise((resolve) => {
        wake = resolve;
        setTimeout(resolve, waitMs * (0.5 + Math.random()));
      });
    }
  }

  async function readOnce() {
    current = limited(0, closing.signal);
    let silence = 0;
    const heard = () => {
      handle.heardAt = serverNow();
      clearTimeout(silence);
      silence = setTimeout(() => current.abort(), SILENCE_MAX_MS);
    };
    silence = setTimeout(() => current.abort(), SILENCE_MAX_MS);
    try {
      const headers = { Accept: "text/event-stream", ...authorization() };
      if (lastId) headers["Last-Event-ID"] = lastId;
      const sentAt = Date.now();
      const response = await fetch(BASE + path, {
        headers,
        signal: current.signal,
        credentials: "same-origin",
        cache: "no-store",
      });
      noteTime(undefined, response.headers.get("Date"), sentAt);
      if (!response.ok) {
        const members = await response.json().catch(() => ({}));
        throw new Problem(response.status, members, retryAfter(response));
      }
      onState("open");
      failures = 0;
      await readLines(response.body.getReader(), heard);
    } finally {
      clearTimeout(silence);
      current.end();
    }
  }

  async function readLines(reader, heard) {
    const decoder = new TextDecoder();
    const parts = []; // of a line whose end is still to come: it may be megabytes long
    let event = { name: "message", data: [] };
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      heard();
      const text = decoder.decode(value, { stream: true });
      parts.push(text);
      if (!text.includes("\n")) continue;
      const lines = parts.join("").split("\n");
      parts.length = 0;
      parts.push(lines.pop());
      for (const line of lines) event = take(line, event);
    }
  }

  function take(line, event) {
    if (line === "") {
      if (event.id !== undefined) lastId = event.id;
      if (event.data.length) onEvent(event.name, JSON.parse(event.data.join("\n")), event.id);
      return { name: "message", data: [] };
    }
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "event") event.name = value;
    else if (field === "data") event.data.push(value);
    else if (field === "id") event.id = value;
    else if (field === "retry" && /^\d+$/.test(value)) retryMs = Number(value);
    return event;
  }
}
