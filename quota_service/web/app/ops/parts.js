// Small parts of the board.

import { wordsOf, createContext, html, Notice, useContext } from "../ui.js";
import { moment, number, t, text } from "../words.js";
import { detailOf } from "./feeds.js";

/** What all parts of the board share: the exam, its load, and `ask(act)`, which opens a dialog. */
export const Ops = createContext(null);
export const useOps = () => useContext(Ops);

/** A part of a page with a heading, and buttons beside it. */
export function Section({ title, buttons, children }) {
  return html`
    <section class="section">
      <div class="section-head">
        <h2>${title}</h2>
        <div class="row">${buttons}</div>
      </div>
      ${children}
    </section>
  `;
}

/** A button that opens the dialog of the act that `act` makes. */
export function Act({ act, children, danger = false, primary = false, small = false, label }) {
  const { ask } = useOps();
  const kinds = [danger && "button-danger", primary && "button-primary", small && "button-small"];
  return html`<button
    type="button"
    class=${["button", ...kinds].filter(Boolean).join(" ")}
    aria-label=${label}
    onClick=${() => ask(act())}
  >
    ${children}
  </button>`;
}

/** The words of a key that ends with a name; the name alone where a later version has sent it. */
export function wordsFor(key, name) {
  const words = t(`${key}${name}`);
  return words === `${key}${name}` ? name : words;
}

/** What the service refused, in its own words: they name the value that is wrong. */
export function Refusal({ error, title = t("failed-title") }) {
  if (!error) return null;
  const detail = detailOf(error);
  return html`<${Notice} kind="error" title=${title}>
    <p>${detail === null ? wordsOf(error) : html`<span lang="en">${detail}</span>`}</p>
    ${(error.members?.errors ?? []).map(
      (each) => html`<p lang="en"><code>${each.field}</code> ${each.detail}</p>`,
    )}
  <//>`;
}

/** A table of rows; `columns` are [heading, cell of a row, class]. */
export function Table({ caption, columns, rows, empty, keyOf }) {
  if (!rows.length) return html`<p class="soft">${empty}</p>`;
  return html`<div class="frame" tabindex="0" role="region" aria-label=${caption}>
    <table class="table table-dense">
      <caption class="unseen">${caption}</caption>
      <thead>
        <tr>
          ${columns.map(([name, , kind]) => html`<th scope="col" class=${kind}>${name}</th>`)}
        </tr>
      </thead>
      <tbody>
        ${rows.map(
          (row, place) => html`<tr key=${keyOf ? keyOf(row) : place}>
            ${columns.map(([, cell, kind]) => html`<td class=${kind}>${cell(row)}</td>`)}
          </tr>`,
        )}
      </tbody>
    </table>
  </div>`;
}

/** Facts side by side: [name, value, a word below it, kind]. */
export function Facts({ facts }) {
  return html`<dl class="facts facts-dense">
    ${facts.map(
      ([name, value, below, kind]) => html`<div class=${`fact ${kind ? `fact-${kind}` : ""} ${isWords(value) ? "fact-words" : ""}`}>
        <dt>${name}</dt>
        <dd class="figure">${value}${below && html`<span class="soft">${below}</span>`}</dd>
      </div>`,
    )}
  </dl>`;
}

const isWords = (value) => typeof value === "string" && !/\d/.test(value);

/** A moment in the exam's time zone, to the second. */
export function When({ at }) {
  const { exam } = useOps();
  if (!at) return "–";
  return html`<time datetime=${at} class="figure">${moment(at, exam.time_zone, { seconds: true })}</time>`;
}

/** A rate a second, as a person reads it. */
export const rate = (value) =>
  value === null || value === undefined ? "–" : number(value < 10 ? Math.round(value * 10) / 10 : Math.round(value));

export const titleOf = (things, id) => text(things.find((each) => each.id === id)?.title) || id;

/** The words for a scope: a venue, a subject, a quota, or all of the exam. */
export function scopeOf(exam, scope) {
  const venue = scope.venue && titleOf(exam.venues, scope.venue);
  const subject = scope.subject && titleOf(exam.subjects, scope.subject);
  return [venue, subject].filter(Boolean).join(" · ") || t("ops-all");
}

/** Fields that choose a venue and a subject, or all. */
export function scopeFields(exam, { venue = "", subject = "" } = {}) {
  const all = (things) => [["", t("ops-all-of-them")], ...things.map((each) => [each.id, text(each.title)])];
  return [
    { name: "venue", label: t("ops-venue"), kind: "select", options: all(exam.venues), value: venue },
    { name: "subject", label: t("ops-subject"), kind: "select", options: all(exam.subjects), value: subject },
  ];
}

/** The members of a body that name a scope. */
export const scopeIn = ({ venue, subject }) => ({ ...(venue && { venue }), ...(subject && { subject }) });
