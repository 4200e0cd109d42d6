// Live events: what happens in the exam as it happens, the newest first.

import { stream } from "../api.js";
import { html, useEffect, useRef, useState } from "../ui.js";
import { money, number, t } from "../words.js";
import { scopeOf, Section, useOps, When, wordsFor } from "./parts.js";

const NOTABLE = [
  "payment.refund_due",
  "payment.unreadable",
  "reservation.refunded",
  "reservation.venue_changed",
  "waiting_list.offered",
  "waiting_list.offer_expired",
  "exam.paused",
  "exam.resumed",
  "exam.seats_released",
];
const SHOWN = 15;
const SHOW_EVERY_MS = 500;

export function Events() {
  const { exam } = useOps();
  const [isAll, setAll] = useState(false);
  const [shown, show] = useState({ events: [], count: 0, state: "opening" });
  const latest = useRef(null);
  useEffect(() => {
    latest.current = { events: [], count: 0, state: "opening" };
    show(latest.current);
    const query = new URLSearchParams({ exam: exam.id, ...(!isAll && { kinds: NOTABLE.join(",") }) });
    let timer = 0;
    const change = (changed) => {
      latest.current = { ...latest.current, ...changed };
      timer ||= setTimeout(() => {
        timer = 0;
        show(latest.current);
      }, SHOW_EVERY_MS);
    };
    const reading = stream(`/v1/events?${query}`, {
      onEvent(kind, event, id) {
        if (event.data === undefined) return; // not an event: how many were missed
        const { events, count } = latest.current;
        change({ events: [{ ...event, id }, ...events].slice(0, SHOWN), count: count + 1 });
      },
      onState: (state) => change({ state }),
    });
    return () => {
      reading.close();
      clearTimeout(timer);
    };
  }, [exam.id, isAll]);
  return html`<${Section}
    title=${t("ops-events")}
    buttons=${html`<label class="choice choice-small">
      <input type="checkbox" checked=${isAll} onChange=${(e) => setAll(e.target.checked)} />
      ${t("ops-events-all")}
    </label>`}
  >
    ${shown.state === "opening" && html`<p class="soft">${t("loading")}</p>`}
    ${["lost", "refused"].includes(shown.state) && html`<p class="soft">${t("ops-events-away")}</p>`}
    ${shown.state === "open" && !shown.events.length && html`<p class="soft">${t("ops-no-events")}</p>`}
    <ol class="events">
      ${shown.events.map(
        (each) => html`<li key=${each.id}>
          <${When} at=${each.timestamp} /> <b>${wordsFor("ops-event-", each.type)}</b> <${About} event=${each} />
        </li>`,
      )}
    </ol>
    ${shown.count > SHOWN && html`<p class="soft">${t("ops-events-seen", { n: shown.count })}</p>`}
  <//>`;
}

function About({ event }) {
  const { exam } = useOps();
  const { candidate, reservation, venue, subject, subjects, amount, currency, reason, seats } = event.data;
  const whose = candidate ?? reservation;
  const place = venue || subject || subjects ? scopeOf(exam, { venue, subject: subject ?? subjects?.[0] }) : null;
  const more = subjects?.length > 1 ? ` +${subjects.length - 1}` : "";
  const parts = [
    whose && html`<a href=${`#candidate/${encodeURIComponent(whose)}`}>${whose}</a>`,
    place && `${place}${more}`,
    amount !== undefined && money(amount, currency),
    reason,
    seats && t("ops-more-seats", { n: number(sumOf(seats)) }),
  ].filter(Boolean);
  return parts.map((part, at) => html`${at > 0 && " · "}${part}`);
}

const sumOf = (seats) =>
  Object.values(seats)
    .flatMap((own) => Object.values(own))
    .reduce((sum, each) => sum + each, 0);
