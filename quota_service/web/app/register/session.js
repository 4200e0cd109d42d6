// The candidate's session at the reference frontend: who is signed in, and tokens for the API.

import { NoAnswer, Problem } from "../api.js";

const RENEW_BEFORE_MS = 60_000;
const tokens = new Map();
let candidate = null; // who is signed in, as far as this page knows

async function ask(method, path, body) {
  const headers = body ? { "Content-Type": "application/json" } : {};
  let response;
  try {
    response = await fetch(path, { method, headers, body: body && JSON.stringify(body) });
  } catch (error) {
    throw new NoAnswer(String(error));
  }
  if (response.status === 401) throw new Problem(401, { type: "/problems/unauthorized" }, 0);
  const isJson = (response.headers.get("Content-Type") ?? "").includes("json");
  const document = isJson ? await response.json() : null;
  if (!response.ok) throw new Problem(response.status, document ?? {}, 0);
  return document;
}

function known(session) {
  candidate = session?.candidate ?? null;
  return session;
}

/** The candidate who is signed in, `{candidate, name}`, or null. */
export const currentSession = async () => known(await ask("GET", "/session"));

/** Sign in by a name: the demo asks for no password. */
export const signIn = async (name) => known(await ask("POST", "/session", { name }));

export async function signOut() {
  tokens.clear();
  known(null);
  await ask("DELETE", "/session");
}

/** The candidate's token for one exam, a new one shortly before the last one ends. */
export async function tokenFor(exam, isRefused = false) {
  const last = tokens.get(exam);
  if (last && !isRefused && Date.now() < last.renewAt) return last.token;
  const askedAt = Date.now();
  const made = await ask("POST", "/session/token", { exam });
  // Somebody else may have signed in meanwhile, in another tab: what is shown here is not theirs.
  if (made.candidate !== candidate) throw new Problem(401, { type: "/problems/unauthorized" }, 0);
  tokens.set(exam, { token: made.token, renewAt: askedAt + made.ttl_s * 1000 - RENEW_BEFORE_MS });
  return made.token;
}

/**
 * Calls `tell` with each message about this candidate that the frontend relays; it can be asked
 * whether it `isOpen`.
 */
export function watchSession(tell) {
  const source = new EventSource("/session/events");
  source.onmessage = (message) => tell(JSON.parse(message.data));
  source.onopen = () => tell({}); // what was told meanwhile is not known
  return { isOpen: () => source.readyState === EventSource.OPEN, close: () => source.close() };
}
