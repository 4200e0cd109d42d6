// Venues: what is left at each, closed for sale or open, and moving out what stands at a closed one.

import { html, useState } from "../ui.js";
import { number, t, text } from "../words.js";
import { pauseAct } from "./day-acts.js";
import { Act, Section, Table, titleOf, useOps } from "./parts.js";
import { closeAct, moveOutAct, openAct } from "./venue-acts.js";

const SHOWN = 50;

export function Venues() {
  const { exam, seats } = useOps();
  const [sought, seek] = useState("");
  const all = exam.venues.map((venue) => {
    const own = exam.subjects.map((each) => seats.quotas.get(`${venue.id}/${each.id}`)).filter(Boolean);
    const sum = (name) => own.reduce((total, quota) => total + quota[name], 0);
    const shut = (exam.closed ?? []).filter((each) => each.venue === venue.id);
    return { venue, left: sum("remaining"), capacity: sum("capacity"), shut };
  });
  const isLarge = all.length > SHOWN;
  const rows = isLarge ? some(all, sought) : all;
  const others = (venue) =>
    all
      .filter((row) => row.venue.id !== venue.id && row.left > 0)
      .sort((a, b) => b.left - a.left)
      .slice(0, 10)
      .map((row) => row.venue.id);
  return html`<${Section} title=${t("ops-view-venues")}>
    <p class="soft">${t("ops-venues-about")}</p>
    ${isLarge &&
    html`<label class="field">
      <span class="label">${t("ops-venues-find")}</span>
      <span class="hint">${t("ops-venues-some", { n: SHOWN })}</span>
      <input class="input" type="search" value=${sought} onInput=${(e) => seek(e.target.value)} />
    </label>`}
    <${Table}
      caption=${t("ops-view-venues")}
      rows=${rows}
      keyOf=${(row) => row.venue.id}
      columns=${[
        [t("ops-venue"), (row) => html`${text(row.venue.title)} <code class="soft">${row.venue.id}</code>`],
        [t("ops-left"), (row) => `${number(row.left)} / ${number(row.capacity)}`, "number"],
        [t("ops-sale"), (row) => saleOf(exam, row.shut)],
        [
          t("ops-acts"),
          ({ venue, shut }) => html`<div class="row">
            ${shut.length < exam.subjects.length &&
            !isWhole(shut) &&
            html`<${Act} act=${() => closeAct(exam, venue.id)} small danger label=${named("ops-close-venue", venue)}>
              ${t("ops-close-venue")}
            <//>`}
            ${shut.length > 0 &&
            html`<${Act} act=${() => openAct(exam, venue.id)} small label=${named("ops-open-venue", venue)}>
                ${t("ops-open-venue")}
              <//>
              <${Act} act=${() => moveOutAct(exam, venue.id, others(venue))} small danger label=${named("ops-move-out", venue)}>
                ${t("ops-move-out")}
              <//>`}
            <${Act} act=${() => pauseAct(exam, { venue: venue.id })} small label=${named("ops-pause", venue)}>
              ${t("ops-pause")}
            <//>
          </div>`,
        ],
      ]}
    />
  <//>`;
}

/** The venues that are sought, those with the least left first. */
function some(rows, sought) {
  const word = sought.trim().toLowerCase();
  const isSought = ({ venue }) => `${venue.id} ${text(venue.title)}`.toLowerCase().includes(word);
  const share = (row) => row.left / (row.capacity || 1);
  return rows.filter(isSought).sort((a, b) => share(a) - share(b)).slice(0, SHOWN);
}

const named = (key, venue) => `${t(key)}: ${text(venue.title)}`;
const isWhole = (shut) => shut.some((each) => each.subject === null);

function saleOf(exam, shut) {
  if (!shut.length) return html`<span class="tag tag-ok">${t("ops-open")}</span>`;
  const which = isWhole(shut) ? "" : shut.map((each) => titleOf(exam.subjects, each.subject)).join(", ");
  return html`<span class="tag tag-error">${t("ops-closed")}</span> ${which}`;
}
