// The order, sent under one Idempotency-Key until it is answered, also after a reload; and what to
// do when the seats are gone.

import { Refusal } from "./refusal.js";
import { leftAt, listOf, nameOf } from "./shown.js";
import { joinList } from "./waiting_list.js";
import { newKey, NoAnswer, pause } from "../api.js";
import { html, useEffect, useServerTime, useState } from "../ui.js";
import { countdown, money, t, text } from "../words.js";

const PASS_GONE = new Set([
  "pass-expired",
  "pass-ended",
  "pass-invalid",
  "waiting-room-pass-required",
]);
const RETRY_MS = 3000;

/** Whether the order may be taken after all: it was not heard, or it is not the time. */
const isPassing = (error) => error instanceof NoAnswer || error.status >= 500;

/** Sends the order of the draft until it is answered; throws the Problem of a refusal. */
async function send(api, exam, draft, change, onDelay) {
  const { key, body } = draft.order;
  const headers = draft.pass ? { "Waiting-Room-Pass": draft.pass.pass } : {};
  for (;;) {
    try {
      const path = `/v1/exams/${exam.id}/reservations`;
      const made = await api.post(path, body, { idempotencyKey: key, headers, tries: 1 });
      change({ order: null, subjects: [], venues: [], step: 1 });
      return made;
    } catch (error) {
      if (!isPassing(error)) {
        const isPassGone = PASS_GONE.has(error.slug);
        change({ order: null, ...(isPassGone ? { pass: null, ticket: null } : {}) });
        throw error;
      }
      onDelay(error);
      await pause(error.retryAfterS ? error.retryAfterS * 1000 : RETRY_MS);
    }
  }
}

/** What to do when the seats asked for are gone: other venues, and the waiting list. */
function Gone({ exam, seats, draft, change, onList, canList }) {
  const free = exam.venues.filter(
    ({ id }) => !draft.venues.includes(id) && leftAt(exam, seats, id, draft.subjects, t).hasAll,
  );
  return html`<div>
    ${free.length > 0 && html`<p>${t("order.free-at")}</p>`}
    <p class="row">
      ${free.map(
        ({ id, title }) => html`<button
          type="button"
          class="button"
          key=${id}
          onClick=${() => change({ venues: [id, ...draft.venues] })}
        >
          ${t("order.put-first", { venue: text(title) })}
        </button>`,
      )}
      ${canList &&
      html`<button
        type="button"
        class=${free.length > 0 ? "button" : "button button-primary"}
        onClick=${onList}
      >
        ${t("list.join")}
      </button>`}
    </p>
  </div>`;
}

export function OrderStep(props) {
  const { api, exam, draft, change, look, candidate, place, entry, go } = props;
  const [refusal, refuse] = useState(null);
  const [delay, setDelay] = useState(null);
  const opensInMs = Date.parse(exam.registration.opens_at) - useServerTime();

  const refused = (error) => {
    refuse(error);
    look();
    if (error.slug === "notice-not-accepted") go(0);
  };
  useEffect(() => {
    if (draft.order === null) return;
    send(api, exam, draft, change, setDelay)
      .then(look, refused)
      .finally(() => setDelay(null));
  }, [draft.order?.key]);

  const reserve = () => {
    refuse(null);
    const { subjects, venues, accepted } = draft;
    const body = { candidate, subjects, venues, accepted_notice: accepted };
    change({ order: { key: newKey(), body } });
  };
  const onList = () =>
    joinList({ api, exam, draft, change, candidate }).then(() => {
      refuse(null);
      look();
    }, refused);
  const { amount, currency } = exam.fee;
  const sum = money(amount * draft.subjects.length, currency);
  const isSending = draft.order !== null;
  const needsPass = exam.waiting_room !== undefined && draft.pass === null;
  let button = t("order.reserve", { amount: sum });
  if (isSending) button = t("order.sending");
  else if (opensInMs > 0) button = t("order.opens-in", { left: countdown(opensInMs) });
  else if (needsPass) button = t("order.needs-pass");
  const isGone = ["sold-out", "venue-closed", "seats-on-sale"].includes(refusal?.slug);
  const canList =
    exam.waiting_list !== undefined &&
    refusal?.slug === "sold-out" &&
    !["waiting", "offered"].includes(entry?.state);
  return html`<section aria-labelledby="order">
    <h2 id="order">${t("order.title")}</h2>
    <dl class="summary">
      <dt>${t("order.subjects")}</dt>
      <dd>${listOf(draft.subjects.map((id) => nameOf(exam, "subjects", id)))}</dd>
      <dt>${t("order.venues")}</dt>
      <dd>${draft.venues.map((id) => nameOf(exam, "venues", id)).join(" → ")}</dd>
      <dt>${t("order.amount")}</dt>
      <dd>${sum}</dd>
    </dl>
    <p class="soft">${t("order.rule")}</p>
    <${Refusal} error=${refusal} exam=${exam}>
      ${isGone && html`<${Gone} ...${props} onList=${onList} canList=${canList} />`}
      ${PASS_GONE.has(refusal?.slug) &&
      html`<button type="button" class="button" onClick=${place.join}>${t("room.join")}</button>`}
    <//>
    <${Refusal} error=${delay} exam=${exam} kind="warn"><p>${t("order.kept")}</p><//>
    <p class="row">
      <button type="button" class="button" disabled=${isSending} onClick=${() => go(2)}>
        ${t("back")}
      </button>
      <button
        type="button"
        class="button button-primary"
        disabled=${isSending || opensInMs > 0 || needsPass}
        onClick=${reserve}
      >
        ${button}
      </button>
    </p>
  </section>`;
}
