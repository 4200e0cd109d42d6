// A refusal in words that say what to do next, and what the problem names.

import { listOf, nameOf } from "./shown.js";
import { html, Notice, wordsOf } from "../ui.js";
import { moment, t } from "../words.js";

const TIMES = ["opens_at", "closed_at", "pause_ends_at", "started_at"];

/** The facts of a problem that are worth a line, in words. */
function facts(members, exam) {
  const zone = exam?.time_zone;
  const lines = TIMES.filter((name) => members[name]).map((name) =>
    t(`refusal.${name}`, { at: moment(members[name], zone, { seconds: true }) }),
  );
  if (members.reason) lines.push(t("refusal.reason", { reason: members.reason }));
  if (members.session && exam)
    lines.push(t("refusal.session", { session: nameOf(exam, "sessions", members.session) }));
  const gone = (members.left ?? []).filter((each) => each.remaining === 0);
  const places = gone.map(
    ({ venue, subject }) =>
      `${nameOf(exam, "venues", venue)} · ${nameOf(exam, "subjects", subject)}`,
  );
  if (places.length) lines.push(t("refusal.gone", { places: listOf(places) }));
  return lines;
}

/** An error of a call; its children are what can be done about it. */
export function Refusal({ error, exam, kind = "error", children }) {
  if (!error) return null;
  return html`<div data-slug=${error.slug ?? "no-answer"}>
    <${Notice} kind=${kind} title=${t(`refusal.title.${kind}`)}>
      <p>${wordsOf(error)}</p>
      ${facts(error.members ?? {}, exam).map((line) => html`<p key=${line}>${line}</p>`)}
      ${children}
    <//>
  </div>`;
}
