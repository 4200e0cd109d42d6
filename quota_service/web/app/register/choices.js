// What a candidate chooses: the notice, one subject a session, venues in order.

import { leftAt, nameOf, sessionOf } from "./shown.js";
import { Announcer, html, useEffect, useRef, useState } from "../ui.js";
import { moment, money, t, text } from "../words.js";

const VENUES_MAX = 32;

export function NoticeStep({ exam, draft, change, onNext }) {
  const { version } = exam.notice;
  const [isRead, setRead] = useState(draft.accepted === version);
  const accept = () => {
    change({ accepted: version });
    onNext();
  };
  return html`<section aria-labelledby="notice">
    <h2 id="notice">${t("notice.title")}</h2>
    <div class="notice-words" tabindex="0" role="region" aria-labelledby="notice">
      ${text(exam.notice.text)}
    </div>
    <label class="choice wide">
      <input
        type="checkbox"
        checked=${isRead}
        onChange=${(event) => setRead(event.target.checked)}
      />
      <span>${t("notice.accept")}</span>
    </label>
    <p class="row">
      <button type="button" class="button button-primary" disabled=${!isRead} onClick=${accept}>
        ${t("next")}
      </button>
    </p>
  </section>`;
}

function Choice({ name, isChosen, onChoose, label, told }) {
  return html`<label class="choice wide">
    <input type="radio" name=${name} checked=${isChosen} onChange=${onChoose} />
    <span>${label}</span>
    ${told && html`<span class="soft told">${told}</span>`}
  </label>`;
}

export function SubjectsStep({ exam, draft, change, seats, taken, onNext }) {
  const choose = (session, subject) => {
    const others = draft.subjects.filter((id) => sessionOf(exam, id) !== session);
    change({ subjects: subject === null ? others : [...others, subject] });
  };
  const { amount, currency } = exam.fee;
  const n = draft.subjects.length;
  const venuesWith = (subject) =>
    [...seats.left.values()].filter((each) => each.subject === subject && each.remaining > 0);
  return html`<section aria-labelledby="subjects">
    <h2 id="subjects">${t("subjects.title")}</h2>
    <p class="soft">${t("subjects.rule", { fee: money(amount, currency) })}</p>
    ${exam.sessions.map((session) => {
      const here = exam.subjects.filter((subject) => subject.session === session.id);
      const held = taken.get(session.id);
      return html`<fieldset key=${session.id} disabled=${held !== undefined}>
        <legend>
          ${text(session.title)}
          <span class="soft"> ${moment(session.starts_at, exam.time_zone)}</span>
        </legend>
        ${held && html`<p class="soft">${t("subjects.taken", held)}</p>`}
        ${!held &&
        here.map(
          (subject) => html`<${Choice}
            key=${subject.id}
            name=${session.id}
            isChosen=${draft.subjects.includes(subject.id)}
            onChoose=${() => choose(session.id, subject.id)}
            label=${text(subject.title)}
            told=${seats.isKnown && t("subjects.venues", { n: venuesWith(subject.id).length })}
          />`,
        )}
        ${!held &&
        html`<${Choice}
          name=${session.id}
          isChosen=${!here.some((subject) => draft.subjects.includes(subject.id))}
          onChoose=${() => choose(session.id, null)}
          label=${t("subjects.none")}
        />`}
      </fieldset>`;
    })}
    <p class="row">
      <button type="button" class="button button-primary" disabled=${n === 0} onClick=${onNext}>
        ${t("next")}
      </button>
      <span>${t("subjects.sum", { n, amount: money(amount * n, currency) })}</span>
    </p>
  </section>`;
}

/** The order of choice: by drag of the handle, by its arrow keys, or by the buttons. */
function Ranked({ exam, seats, draft, change }) {
  const list = useRef(null);
  const [dragged, setDragged] = useState(null);
  const [told, tell] = useState("");
  const move = (id, to) => {
    const from = draft.venues.indexOf(id);
    if (to < 0 || to >= draft.venues.length || to === from) return;
    const venues = draft.venues.filter((each) => each !== id);
    venues.splice(to, 0, id);
    change({ venues });
    const moved = { venue: nameOf(exam, "venues", id), n: to + 1, of: venues.length };
    tell(t("venues.moved", moved));
  };
  const remove = (id) => change({ venues: draft.venues.filter((each) => each !== id) });
  useEffect(() => {
    if (dragged === null) return undefined;
    const drag = (event) => {
      const rows = [...list.current.children];
      const over = rows.findIndex((row) => event.clientY < row.getBoundingClientRect().bottom);
      move(dragged, over === -1 ? rows.length - 1 : over);
    };
    const drop = () => setDragged(null);
    const events = [["pointermove", drag], ["pointerup", drop], ["pointercancel", drop]];
    for (const [name, listener] of events) addEventListener(name, listener);
    return () => {
      for (const [name, listener] of events) removeEventListener(name, listener);
    };
  });
  const onKey = (event, id) => {
    const step = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (!step) return;
    event.preventDefault();
    move(id, draft.venues.indexOf(id) + step);
  };
  return html`<ol class="ranked" ref=${list}>
      ${draft.venues.map((id, i) => {
        const left = leftAt(exam, seats, id, draft.subjects, t);
        const venue = nameOf(exam, "venues", id);
        const button = (name, sign, isOff, onClick) => html`<button
          type="button"
          class="small"
          aria-label=${t(`venues.${name}`, { venue })}
          disabled=${isOff}
          onClick=${onClick}
        >
          ${sign}
        </button>`;
        return html`<li key=${id} class=${dragged === id ? "dragged" : ""}>
          <button
            type="button"
            class="small handle"
            aria-label=${t("venues.drag", { venue, n: i + 1 })}
            onKeyDown=${(event) => onKey(event, id)}
            onPointerDown=${() => setDragged(id)}
          >
            ⠿
          </button>
          <span class="rank">${i + 1}</span>
          <span class="where">
            <span class="venue">${venue}</span>
            <span class=${left.hasAll ? "soft told" : "told gone"}>${left.told}</span>
          </span>
          <span class="moves">
            ${button("up", "↑", i === 0, () => move(id, i - 1))}
            ${button("down", "↓", i === draft.venues.length - 1, () => move(id, i + 1))}
            ${button("remove", "✕", false, () => remove(id))}
          </span>
        </li>`;
      })}
    </ol>
    <${Announcer}>${told}<//>`;
}

export function VenuesStep({ exam, seats, draft, change, onNext, onBack }) {
  const isFull = draft.venues.length >= VENUES_MAX;
  const others = exam.venues
    .filter(({ id }) => !draft.venues.includes(id))
    .map(({ id, title }) => ({ id, title, ...leftAt(exam, seats, id, draft.subjects, t) }))
    .sort((a, b) => b.hasAll - a.hasAll || b.isOffered - a.isOffered);
  return html`<section aria-labelledby="venues">
    <h2 id="venues">${t("venues.title")}</h2>
    <p class="soft">${t("venues.rule")}</p>
    ${seats.isStale && html`<p class="gone">${t("venues.stale")}</p>`}
    <div><${Ranked} ...${{ exam, seats, draft, change }} /></div>
    ${others.length > 0 && html`<h3>${t("venues.others")}</h3>`}
    <ul class="plain others">
      ${others.map(
        (each) => html`<li key=${each.id}>
          <button
            type="button"
            class="choice wide"
            disabled=${!each.isOffered || isFull}
            onClick=${() => change({ venues: [...draft.venues, each.id] })}
          >
            <span class="venue">+ ${text(each.title)}</span>
            <span class=${each.hasAll ? "soft told" : "told gone"}>${each.told}</span>
          </button>
        </li>`,
      )}
    </ul>
    <p class="row">
      <button type="button" class="button" onClick=${onBack}>${t("back")}</button>
      <button
        type="button"
        class="button button-primary"
        disabled=${draft.venues.length === 0}
        onClick=${onNext}
      >
        ${t("next")}
      </button>
    </p>
  </section>`;
}
