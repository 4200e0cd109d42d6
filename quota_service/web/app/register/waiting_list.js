// The waiting list: join it where the seats are gone, see the place, leave.

import { Refusal } from "./refusal.js";
import { listOf, nameOf } from "./shown.js";
import { newKey } from "../api.js";
import { html, useState } from "../ui.js";
import { t } from "../words.js";

const SHOWN = new Set(["waiting", "missed", "over", "conflict"]); // others have a reservation

/** Joins with the subjects and venues of the draft, under one key until it is answered. */
export async function joinList({ api, exam, draft, change, candidate }) {
  const { subjects, venues } = draft;
  const body = { candidate, subjects, venues };
  const isSame = JSON.stringify(draft.wish?.body) === JSON.stringify(body);
  const wish = isSame ? draft.wish : { key: newKey(), body };
  change({ wish });
  const path = `/v1/exams/${exam.id}/waiting-list`;
  await api.post(path, body, { idempotencyKey: wish.key });
  change({ wish: null, subjects: [], venues: [], step: 1 });
}

export function ListEntry({ entry, api, exam, look }) {
  const [refusal, refuse] = useState(null);
  if (!SHOWN.has(entry.state)) return null;
  const leave = () =>
    api.delete(`/v1/exams/${exam.id}/waiting-list/${entry.id}`).then(look, refuse);
  const names = (kind) => listOf(entry[kind].map((id) => nameOf(exam, kind, id)));
  const { position, estimate } = entry;
  return html`<section class="panel" data-state=${entry.state} aria-label=${t("list.title")}>
    <h2>${t("list.title")} <span class="tag">${t(`list.${entry.state}`)}</span></h2>
    <p>${names("subjects")} · ${names("venues")}</p>
    ${entry.state === "waiting" &&
    html`<p>
        ${t("list.number", { n: entry.number })}
        ${position && ` ${t(position.last ? "list.band" : "list.band-open", position)}`}
        ${estimate && ` ${t("list.estimate", { n: estimate.offered_within_a_day })}`}
      </p>
      <p class="soft">${t("list.rule")}</p>
      <p class="row">
        <button type="button" class="button" onClick=${leave}>${t("list.leave")}</button>
      </p>`}
    <${Refusal} error=${refusal} exam=${exam} />
  </section>`;
}
