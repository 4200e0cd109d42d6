// Registering for one exam: what the candidate has, then the steps to more.

import { useCandidate } from "./candidate.js";
import { NoticeStep, SubjectsStep, VenuesStep } from "./choices.js";
import { useDraft } from "./draft.js";
import { OrderStep } from "./order.js";
import { Refusal } from "./refusal.js";
import { Reservation } from "./reservation.js";
import { blinkTitle, useRoom } from "./room.js";
import { RoomPanel } from "./room_panel.js";
import { useSeats } from "./seats.js";
import { apiFor, nameOf, pausedWhat, sessionOf } from "./shown.js";
import { ListEntry } from "./waiting_list.js";
import { html, Notice, useEffect, useMemo, useRef, useServerTime, useState } from "../ui.js";
import { moment, t, text } from "../words.js";

const LIVE = new Set(["held", "confirming", "confirmed", "changing_venue"]);
const STEPS = ["notice", "subjects", "venues", "order"];

function Steps({ step, last, go }) {
  return html`<ol class="steps">
    ${STEPS.map(
      (name, i) => html`<li key=${name} aria-current=${i === step ? "step" : undefined}>
        <button type="button" disabled=${i > last} onClick=${() => go(i)}>
          <span class="rank">${i + 1}</span> ${t(`steps.${name}`)}
        </button>
      </li>`,
    )}
  </ol>`;
}

/** The sessions that a candidate sits in already, with the subject and the venue in words. */
function takenSessions(exam, live) {
  const taken = new Map();
  for (const { venue, subjects } of live)
    for (const subject of subjects)
      taken.set(sessionOf(exam, subject), {
        subject: nameOf(exam, "subjects", subject),
        venue: nameOf(exam, "venues", venue),
      });
  return taken;
}

/** The draft without what the exam does not have any more, or the candidate has already. */
function possible(exam, draft, taken) {
  const isFree = (session) => session !== undefined && !taken.has(session);
  return {
    ...draft,
    subjects: draft.subjects.filter((each) => isFree(sessionOf(exam, each))),
    venues: draft.venues.filter((each) => exam.venues.some(({ id }) => id === each)),
  };
}

/** The last step that can be gone to. */
function lastStep(exam, { accepted, subjects, venues }) {
  if (accepted !== exam.notice.version) return 0;
  if (subjects.length === 0) return 1;
  return venues.length === 0 ? 2 : 3;
}

export function Registration({ exam: id, session }) {
  const { candidate } = session;
  const api = useMemo(() => apiFor(id), [id, candidate]);
  const [draft, change] = useDraft(id, candidate);
  const [{ exam, view, entry, error }, look] = useCandidate(api, id, candidate);
  const opensAt = exam?.registration.opens_at;
  const place = useRoom(api, id, candidate, draft, change, opensAt);
  const seats = useSeats(id);

  useEffect(
    () => (draft.pass && !draft.order ? blinkTitle(t("room.title-turn")) : undefined),
    [draft.pass?.pass],
  );
  useEffect(() => {
    if (seats.revision !== null) look(); // the definition has changed
  }, [seats.revision]);

  const isBooked = view?.reservations.some(({ state }) => state === "confirmed");
  useEffect(() => {
    if (!isBooked || !draft.pass) return;
    change({ pass: null, ticket: null }); // the place is for the next one
    api.delete(`/v1/exams/${id}/waiting-room/claims/${candidate}`).catch(() => {});
  }, [isBooked, draft.pass?.pass]);

  if (!exam && error) return html`<${Refusal} error=${error} />`;
  if (!exam) return html`<p class="soft">${t("loading")}</p>`;
  const live = view.reservations.filter((each) => LIVE.has(each.state));
  const ended = view.reservations.filter((each) => !LIVE.has(each.state)).reverse();
  const taken = takenSessions(exam, live);
  const parts = { api, exam, seats, draft: possible(exam, draft, taken), change, look };
  const card = (each) =>
    html`<${Reservation} key=${each.id} reservation=${each} view=${view} ...${parts} />`;

  // Each part has an element of its own: what comes and goes in one moves nothing of another.
  return html`<h1>${text(exam.title)}</h1>
    <div>
      <${Refusal} error=${error} exam=${exam} kind="warn" />
      ${(exam.pauses ?? []).map(
        ({ scope, since, reason }) => html`<${Notice}
          kind="warn"
          key=${since}
          title=${t(scope.venue || scope.subject ? "pause-at" : "pause", {
            what: pausedWhat(exam, scope),
          })}
        >
          <p>${reason}</p>
        <//>`,
      )}
    </div>
    <div>${live.map(card)}</div>
    <div>${entry && html`<${ListEntry} entry=${entry} ...${parts} />`}</div>
    <div><${NewOrder} ...${{ parts, taken, place, candidate, entry }} /></div>
    <div>
      ${ended.length > 0 && html`<h2>${t("ended-title")}</h2>`}
      <div>${ended.map(card)}</div>
    </div>`;
}

/** The steps to an order, where there is still something to order. */
function NewOrder({ parts, taken, place, candidate, entry }) {
  const { exam, draft, change } = parts;
  const closesAt = Date.parse(exam.registration.closes_at);
  const isOver = useServerTime() >= closesAt;
  const top = useRef(null);
  const [isWanted, want] = useState(false);
  if (isOver) {
    const at = moment(closesAt, exam.time_zone);
    return html`<${Notice} title=${t("registration-over", { at })} />`;
  }
  if (exam.sessions.every(({ id }) => taken.has(id))) return null;
  const last = lastStep(exam, draft);
  const step = Math.min(draft.step, last);
  const hasRoom = exam.waiting_room !== undefined;
  const go = (to) => {
    change({ step: to });
    top.current.focus();
    top.current.scrollIntoView({ block: "start" });
  };
  const enter = () => {
    if (hasRoom && !draft.ticket && !draft.pass) place.join();
    go(1);
  };
  let title = t("register");
  if (taken.size > 0) title = t("more-subjects");
  else if (entry?.state === "waiting") title = t("other-order");
  const isAside = title !== t("register");
  if (isAside && !isWanted && draft.order === null)
    return html`<p>
      <button type="button" class="button" onClick=${() => want(true)}>${title}</button>
    </p>`;
  return html`<section class="panel order" ref=${top} tabindex="-1" aria-label=${title}>
    ${isAside && html`<h2>${title}</h2>`}
    ${hasRoom && step > 0 && html`<${RoomPanel} place=${place} exam=${exam} draft=${draft} />`}
    <${Steps} step=${step} last=${last} go=${go} />
    ${step === 0 && html`<${NoticeStep} ...${parts} onNext=${enter} />`}
    ${step === 1 && html`<${SubjectsStep} ...${parts} taken=${taken} onNext=${() => go(2)} />`}
    ${step === 2 &&
    html`<${VenuesStep} ...${parts} onBack=${() => go(1)} onNext=${() => go(3)} />`}
    ${step === 3 && html`<${OrderStep} ...${parts} ...${{ candidate, place, entry, go }} />`}
  </section>`;
}
