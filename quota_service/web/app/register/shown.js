// The API as this candidate may call it, and names of what a definition lists.

import { tokenFor } from "./session.js";
import { call, Problem } from "../api.js";
import { language, text } from "../words.js";

/** Calls with the candidate's token for one exam; a token that is refused is replaced once. */
export function apiFor(exam) {
  const ask = async (method, path, options = {}) => {
    const send = async (isRefused) => {
      const Authorization = `Bearer ${await tokenFor(exam, isRefused)}`;
      return call(method, path, { ...options, headers: { ...options.headers, Authorization } });
    };
    try {
      return await send(false);
    } catch (error) {
      if (error instanceof Problem && error.status === 401) return send(true);
      throw error;
    }
  };
  return {
    get: (path) => ask("GET", path),
    post: (path, body, options) => ask("POST", path, { ...options, body }),
    put: (path, body) => ask("PUT", path, { body }),
    delete: (path) => ask("DELETE", path),
  };
}

/** The title of a venue, subject or session of an exam; its id where the exam has it no more. */
export function nameOf(exam, kind, id) {
  const found = exam[kind].find((each) => each.id === id);
  return found ? text(found.title) : id;
}

/** Several texts as one. */
export const listOf = (texts) => new Intl.ListFormat(language, { type: "conjunction" }).format(texts);

/** The session of a subject; undefined where the exam has it no more. */
export const sessionOf = (exam, subject) =>
  exam.subjects.find((each) => each.id === subject)?.session;

/** Whether ops have paused one of the subjects at a venue. */
function isPaused(exam, venue, subjects) {
  return (exam.pauses ?? []).some(({ scope }) => {
    const isHere = scope.venue === null || scope.venue === venue;
    return isHere && (scope.subject === null || subjects.includes(scope.subject));
  });
}

/** What a pause covers, in words; empty where it covers the exam. */
export const pausedWhat = (exam, { venue, subject }) =>
  [venue && nameOf(exam, "venues", venue), subject && nameOf(exam, "subjects", subject)]
    .filter(Boolean)
    .join(" · ");

/** What is left at a venue of the subjects, in words; whether it offers and has all of them. */
export function leftAt(exam, seats, venue, subjects, t) {
  const quotas = subjects.map((subject) => seats.left.get(`${venue}/${subject}`));
  const names = (is) =>
    listOf(subjects.filter((_, i) => is(quotas[i])).map((id) => nameOf(exam, "subjects", id)));
  const missing = names((quota) => quota === undefined);
  const gone = names((quota) => quota?.remaining === 0);
  let told = t("venues.left", { n: Math.min(...quotas.map((quota) => quota?.remaining ?? 0)) });
  if (missing) told = t("venues.not-offered", { subjects: missing });
  else if (gone) told = t("venues.gone", { subjects: gone });
  if (isPaused(exam, venue, subjects)) told = t("venues.paused", { left: told });
  return { told: seats.isKnown ? told : "", isOffered: !missing, hasAll: !missing && !gone };
}
