// What the board shows and keeps fresh by itself: the load of the exam second by second, its document,
// its seats. What a page asked for is asked for again, more seldom while nobody sees it.

import { get, NoAnswer, pause, Problem, stream } from "../api.js";
import { useEffect, useReducer, useRef, useState } from "../ui.js";

const LOAD_EVERY_MS = 1000;
const UNSEEN_EVERY_MS = 10_000;
const KEPT_S = 900; // of the seconds that lines are drawn of
const STALE_MS = 5000;

/** The address of a call of an exam. */
export const pathOf = (exam, rest = "") => `/v1/exams/${encodeURIComponent(exam)}${rest}`;

/**
 * The load with the seats of a scope, as it is now. Asked for once: who looks at what an act will do is
 * in a hurry, also when a store is away.
 */
export async function seatsOf(exam, venue = "", subject = "") {
  const query = new URLSearchParams();
  if (venue) query.set("venue", venue);
  if (subject) query.set("subject", subject);
  return get(pathOf(exam, `/load?${query}`), { tries: 1 });
}

/**
 * What a GET answers, asked for again every so often: `{ data, error, at, reload }`. `data` stays while
 * it cannot be had, and `error` says why. A path of null asks for nothing.
 */
export function useAsked(path, everyMs = 5000) {
  const [state, set] = useState({});
  const [turn, reload] = useReducer((n) => n + 1, 0);
  useEffect(() => {
    if (path === null) return undefined;
    const closing = new AbortController();
    const run = async () => {
      for (;;) {
        try {
          const data = await get(path, { signal: closing.signal, tries: 1 });
          set({ path, data, at: Date.now() });
        } catch (error) {
          if (closing.signal.aborted) return;
          set((before) => ({ ...before, path, error }));
        }
        const isSeen = document.visibilityState === "visible";
        await pause(isSeen ? everyMs : UNSEEN_EVERY_MS, closing.signal);
      }
    };
    run().catch(() => {}); // aborted
    return () => closing.abort();
  }, [path, everyMs, turn]);
  return { ...(state.path === path ? state : {}), reload };
}

/** The load of an exam, and what it was in each second since the page looks. */
export function useLoad(exam) {
  const asked = useAsked(pathOf(exam, "/load"), LOAD_EVERY_MS);
  const seconds = useRef(new Map());
  const before = useRef(null);
  if (asked.data && asked.data !== before.current) {
    if (before.current?.exam !== exam) seconds.current = new Map();
    keep(seconds.current, asked.data, before.current);
    before.current = asked.data;
  }
  const isStale = Boolean(asked.error) && Date.now() - (asked.at ?? 0) > STALE_MS;
  return { ...asked, seconds: seconds.current, isStale };
}

/** Keeps the seconds of an answer. What only grows is told as its growth since the answer before. */
function keep(seconds, load, before) {
  const second = (at) => {
    if (!seconds.has(at)) seconds.set(at, {});
    return seconds.get(at);
  };
  for (const { at, ...steps } of load.seconds) Object.assign(second(Date.parse(at) / 1000), steps);
  const now = Math.floor(Date.parse(load.as_of) / 1000);
  const room = load.waiting_room;
  const was = before?.exam === load.exam ? before.waiting_room : null;
  const measures = (room?.signals ?? []).map((each) => each.measures).filter(Boolean);
  Object.assign(second(now), {
    reserve: worst(measures, "reserve_p99_ms"),
    redis: worst(measures, "redis_p99_ms"),
    pool: worst(measures, "pool_wait_p99_ms"),
  });
  if (room && was) {
    const from = Math.floor(Date.parse(before.as_of) / 1000);
    for (let at = Math.max(from + 1, now - 30); at <= now; at += 1) {
      second(at).joined = Math.max(0, room.joined - was.joined) / (now - from);
      second(at).admitted = Math.max(0, room.admitted - was.admitted) / (now - from);
    }
  }
  for (const at of seconds.keys()) if (at < now - KEPT_S) seconds.delete(at);
}

const worst = (measures, name) => {
  const known = measures.map((each) => each[name]).filter((value) => value !== null);
  return known.length ? Math.max(...known) : null;
};

/** What a kind of step was in a second, as the mean of the last ones that are known; null if none is. */
export function lately(seconds, kind, count = 5) {
  const known = [...seconds.keys()].sort((a, b) => b - a);
  const values = [];
  for (const at of known) {
    const value = seconds.get(at)[kind];
    if (value !== undefined && value !== null) values.push(value);
    if (values.length === count) break;
  }
  return values.length ? values.reduce((sum, value) => sum + value, 0) / values.length : null;
}

/** The seats left of every quota, as they change: `{ quotas, state, pauses }` by venue/subject. */
export function useSeats(exam) {
  const quotas = useRef(new Map());
  const [state, set] = useState("opening");
  const [, changed] = useReducer((n) => n + 1, 0);
  useEffect(() => {
    quotas.current = new Map();
    const reading = stream(pathOf(exam, "/availability/stream"), {
      onEvent(name, data) {
        if (name === "stale") return set("stale");
        if (name === "snapshot") quotas.current = new Map();
        for (const each of data.quotas) quotas.current.set(`${each.venue}/${each.subject}`, each);
        set("open");
        return changed();
      },
      onState: set,
    });
    return () => reading.close();
  }, [exam]);
  return { quotas: quotas.current, state };
}

/** Whether an error says that the key may not do this, or is none. */
export const isOfKey = (error) =>
  error instanceof Problem && (error.status === 401 || error.status === 403);

/** The words for a refusal to ops: as the service tells it, which names values. */
export const detailOf = (error) => (error instanceof NoAnswer ? null : error.message);
