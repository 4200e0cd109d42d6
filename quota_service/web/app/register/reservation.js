// One reservation: a hold with its countdown and payment, a booking with what can be done with it,
// or one that ended; and its history.

import { Refusal } from "./refusal.js";
import { leftAt, listOf, nameOf } from "./shown.js";
import { Countdown, Dialog, html, Notice, useState } from "../ui.js";
import { moment, money, t, text } from "../words.js";

const clockTime = (time, exam) => moment(time, exam.time_zone, { seconds: true });

/** `[{isRunning, refusal}, run]`: `run` makes a call, shows what is refused, and looks again. */
function useCall(look) {
  const [state, set] = useState({ isRunning: false, refusal: null });
  const run = async (makeCall) => {
    set({ isRunning: true, refusal: null });
    let refusal = null;
    let answer = null;
    try {
      answer = await makeCall();
    } catch (error) {
      refusal = error;
    }
    await look();
    set({ isRunning: false, refusal });
    return answer;
  };
  return [state, run];
}

/** A button that asks before it does what cannot be undone. */
function Asked({ label, text: question, isOff, onDo }) {
  const [asks, ask] = useState(false);
  const close = () => ask(false);
  const act = () => {
    close();
    onDo();
  };
  return html`<div class="act">
    <button type="button" class="button" disabled=${isOff} onClick=${() => ask(true)}>
      ${label}
    </button>
    ${asks &&
    html`<${Dialog} title=${label} onClose=${close}>
      <p>${question}</p>
      <p class="row">
        <button type="button" class="button" onClick=${close}>${t("keep")}</button>
        <button type="button" class="button button-danger" onClick=${act}>${label}</button>
      </p>
    <//>`}
  </div>`;
}

function ChangeVenue({ reservation, api, exam, seats, look }) {
  const [call, run] = useCall(look);
  const [isOpen, open] = useState(false);
  const [venue, choose] = useState(null);
  const close = () => {
    open(false);
    choose(null);
  };
  const act = async () => {
    const path = `/v1/reservations/${reservation.id}/venue`;
    if ((await run(() => api.put(path, { venue }))) !== null) close();
  };
  const others = exam.venues.filter(({ id }) => id !== reservation.venue);
  return html`<div class="act">
    <button type="button" class="button" onClick=${() => open(true)}>${t("venue.change")}</button>
    ${isOpen &&
    html`<${Dialog} title=${t("venue.change")} onClose=${close}>
      <p class="soft">${t("venue.rule")}</p>
      ${others.map(({ id, title }) => {
        const left = leftAt(exam, seats, id, reservation.subjects, t);
        return html`<label class="choice wide" key=${id}>
          <input
            type="radio"
            name="venue"
            disabled=${!left.hasAll}
            checked=${venue === id}
            onChange=${() => choose(id)}
          />
          <span>${text(title)}</span>
          <span class=${left.hasAll ? "soft told" : "told gone"}>${left.told}</span>
        </label>`;
      })}
      <${Refusal} error=${call.refusal} exam=${exam} />
      <p class="row">
        <button type="button" class="button" onClick=${close}>${t("keep")}</button>
        <button
          type="button"
          class="button button-primary"
          disabled=${venue === null || call.isRunning}
          onClick=${act}
        >
          ${t("venue.do")}
        </button>
      </p>
    <//>`}
  </div>`;
}

function Hold(props) {
  const { reservation, api, exam, draft, change, look } = props;
  const [call, run] = useCall(look);
  const path = `/v1/reservations/${reservation.id}`;
  const wentToPay = draft.paying === reservation.id;
  const pay = async () => {
    const held = await run(() => api.post(`${path}/checkout`, {}, { repeatable: true }));
    if (held === null) return;
    change({ paying: reservation.id });
    location.assign(`/pay/${reservation.id}`);
  };
  if (reservation.state === "confirming")
    return html`<p role="status">${t("hold.confirming")}</p>`;
  const at = clockTime(reservation.deadline, exam);
  return html`<p class="deadline">
      <${Countdown} until=${reservation.deadline} onOver=${look} /> ${t("hold.left", { at })}
    </p>
    ${wentToPay &&
    html`<${Notice} kind="warn" title=${t("hold.waiting-title")}><p>${t("hold.waiting")}</p><//>`}
    <div class="row">
      <button
        type="button"
        class="button button-primary"
        disabled=${call.isRunning}
        onClick=${pay}
      >
        ${t(wentToPay ? "hold.pay-again" : "hold.pay", {
          amount: money(reservation.amount, reservation.currency),
        })}
      </button>
      <${ChangeVenue} ...${props} />
      <${Asked}
        label=${t("hold.release")}
        text=${t("hold.release-text")}
        isOff=${call.isRunning}
        onDo=${() => run(() => api.delete(path))}
      />
    </div>
    <${Refusal} error=${call.refusal} exam=${exam} />`;
}

function Booking(props) {
  const { reservation, view, api, exam, look } = props;
  const [call, run] = useCall(look);
  if (reservation.state === "changing_venue")
    return html`<p role="status">${t("venue.changing")}</p>`;
  const paidAt = reservation.payment?.paid_at ?? reservation.created_at;
  const question = t("refund.text", { amount: money(reservation.amount, reservation.currency) });
  return html`<${Notice} kind="ok" title=${t("booking.title")}>
      <p>${t("booking.paid", { at: clockTime(paidAt, exam) })}</p>
    <//>
    <div class="row">
      <${ChangeVenue} ...${props} />
      ${!view.refund_used &&
      html`<${Asked}
        label=${t("refund.do")}
        text=${question}
        isOff=${call.isRunning}
        onDo=${() =>
          run(() =>
            api.post(`/v1/reservations/${reservation.id}/refund`, {}, { repeatable: true }),
          )}
      />`}
    </div>
    ${view.refund_used && html`<p class="soft">${t("refund.used")}</p>`}
    <${Refusal} error=${call.refusal} exam=${exam} />`;
}

function Ended({ reservation, view, exam }) {
  const { payment } = reservation;
  const refund = view.refund?.reservation === reservation.id ? view.refund : null;
  const isDue = payment?.outcome === "refund_due";
  return html`<p>${t(`ended.${reservation.state}`)}</p>
    ${isDue &&
    html`<${Notice} kind="warn" title=${t("refund-due.title")}>
      <p>${t(`refund-due.${payment.reason}`)}</p>
      <p>${t(payment.refunded_at ? "refund-due.sent" : "refund-due.comes")}</p>
    <//>`}
    ${refund &&
    html`<${Notice} kind="ok">
      <p>
        ${t(refund.settled_at ? "refund.sent" : "refund.recorded", {
          amount: money(refund.amount, refund.currency),
          at: clockTime(refund.settled_at ?? refund.refunded_at, exam),
        })}
      </p>
    <//>`}`;
}

function History({ history, exam }) {
  const told = ({ step, state }) => {
    const words = t(`history.${step}`);
    return words.startsWith("history.") ? t(`state.${state}`) : words;
  };
  return html`<details>
    <summary>${t("history.title")}</summary>
    <ol class="plain">
      ${history.map(
        (each) => html`<li key=${each.at + each.step}>
          <time datetime=${each.at}>${clockTime(each.at, exam)}</time>
          ${` ${told(each)} · ${nameOf(exam, "venues", each.venue)}`}
        </li>`,
      )}
    </ol>
  </details>`;
}

const PARTS = { held: Hold, confirming: Hold, confirmed: Booking, changing_venue: Booking };
const TAGS = { held: "tag-few", confirming: "tag-few", confirmed: "tag-ok" };

export function Reservation(props) {
  const { reservation, exam } = props;
  const { state } = reservation;
  const Part = PARTS[state] ?? Ended;
  const subjects = listOf(reservation.subjects.map((id) => nameOf(exam, "subjects", id)));
  const label = `${t(`state.${state}`)}: ${subjects}`;
  return html`<article class="panel reservation" data-state=${state} aria-label=${label}>
    <h2>
      ${nameOf(exam, "venues", reservation.venue)}
      <span class=${`tag ${TAGS[state] ?? ""}`}> ${t(`state.${state}`)}</span>
    </h2>
    <p>${subjects} · ${money(reservation.amount, reservation.currency)}</p>
    <div><${Part} ...${props} /></div>
    <${History} history=${reservation.history} exam=${exam} />
  </article>`;
}
