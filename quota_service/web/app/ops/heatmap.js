// Seats left as a map: venues by subjects, the fewer the redder. A small exam is a table of buttons; one
// of very many quotas is a picture, with the fullest venues beside it as a table.

import { html, useEffect, useRef } from "../ui.js";
import { number, t, text } from "../words.js";
import { Table, useOps } from "./parts.js";
import { quotaAct } from "./quota.js";

export const EVEN_MAX = 6; // subjects of a map whose columns fit, and leave room beside it
const TABLE_MAX = 600;
const FULLEST = 20;
const CELL_MIN = 3;

/** How full a quota is, as a class: of 0 seats `none`, then by share. */
function levelOf(quota) {
  if (!quota || quota.capacity === 0) return "off";
  if (quota.remaining === 0) return "none";
  const share = quota.remaining / quota.capacity;
  return share <= 0.1 ? "few" : share <= 0.5 ? "some" : "many";
}

const isIn = (scope, venue, subject) =>
  (!scope.venue || scope.venue === venue) && (!scope.subject || scope.subject === subject);

export function HeatMap() {
  const { exam, seats } = useOps();
  if (!seats.quotas.size) return html`<p class="soft">${t("loading")}</p>`;
  const marks = (venue, subject) => ({
    isClosed: (exam.closed ?? []).some((each) => isIn(each, venue, subject)),
    isPaused: (exam.pauses ?? []).some((each) => isIn(each.scope, venue, subject)),
  });
  return html`
    <ul class="legend">
      ${["many", "some", "few", "none"].map(
        (level) => html`<li><span class=${`swatch heat-${level}`}></span> ${t(`ops-heat-${level}`)}</li>`,
      )}
      <li>‖ ${t("ops-paused")}</li>
      <li>✕ ${t("ops-closed")}</li>
    </ul>
    ${seats.state !== "open" && html`<p class="tag tag-few" role="status">${t("ops-seats-old")}</p>`}
    ${seats.quotas.size <= TABLE_MAX
      ? html`<${Grid} exam=${exam} quotas=${seats.quotas} marks=${marks} />`
      : html`<${Picture} exam=${exam} quotas=${seats.quotas} />`}
  `;
}

function Grid({ exam, quotas, marks }) {
  return html`<div class="frame" tabindex="0" role="region" aria-label=${t("ops-heat")}>
    <table class=${`heat ${exam.subjects.length <= EVEN_MAX ? "heat-even" : ""}`}>
      <caption class="unseen">${t("ops-heat")}</caption>
      <thead>
        <tr>
          <th scope="col">${t("ops-venue")}</th>
          ${exam.subjects.map((each) => html`<th scope="col">${text(each.title)}</th>`)}
        </tr>
      </thead>
      <tbody>
        ${exam.venues.map(
          (venue) => html`<tr key=${venue.id}>
            <th scope="row">${text(venue.title)}</th>
            ${exam.subjects.map((subject) => {
              const quota = quotas.get(`${venue.id}/${subject.id}`);
              if (!quota) return html`<td class="heat-off">–</td>`;
              return html`<td class=${`heat-${levelOf(quota)}`}>
                <${Cell} exam=${exam} quota=${quota} ...${marks(venue.id, subject.id)} />
              </td>`;
            })}
          </tr>`,
        )}
      </tbody>
    </table>
  </div>`;
}

function Cell({ exam, quota, isClosed, isPaused }) {
  const { ask } = useOps();
  return html`<button type="button" class="heat-cell" onClick=${() => ask(quotaAct(exam, quota, ask))}>
    <span class="figure">${number(quota.remaining)}</span>${" "}
    <span class="heat-of">/ ${number(quota.capacity)}</span>
    ${isPaused && html`<span title=${t("ops-paused")}> ‖<span class="unseen">${t("ops-paused")}</span></span>`}
    ${isClosed && html`<span title=${t("ops-closed")}> ✕<span class="unseen">${t("ops-closed")}</span></span>`}
  </button>`;
}

/** One row of pixels for each subject, one column for each venue. */
function Picture({ exam, quotas }) {
  const canvas = useRef(null);
  useEffect(() => {
    const style = getComputedStyle(canvas.current);
    const colours = Object.fromEntries(
      ["many", "some", "few", "none", "off"].map((level) => [level, style.getPropertyValue(`--heat-${level}`)]),
    );
    const context = canvas.current.getContext("2d");
    exam.venues.forEach((venue, column) =>
      exam.subjects.forEach((subject, row) => {
        context.fillStyle = colours[levelOf(quotas.get(`${venue.id}/${subject.id}`))];
        context.fillRect(column * CELL_MIN, row * CELL_MIN * 2, CELL_MIN, CELL_MIN * 2);
      }),
    );
  });
  const sums = exam.venues.map((venue) => {
    const own = exam.subjects.map((each) => quotas.get(`${venue.id}/${each.id}`)).filter(Boolean);
    const sum = (name) => own.reduce((total, quota) => total + quota[name], 0);
    return { venue, remaining: sum("remaining"), capacity: sum("capacity") };
  });
  sums.sort((a, b) => a.remaining / (a.capacity || 1) - b.remaining / (b.capacity || 1));
  return html`<div class="frame" tabindex="0" role="region" aria-label=${t("ops-heat")}>
      <canvas
        ref=${canvas}
        width=${exam.venues.length * CELL_MIN}
        height=${exam.subjects.length * CELL_MIN * 2}
        role="img"
        aria-label=${t("ops-heat")}
      ></canvas>
    </div>
    <h3>${t("ops-fullest")}</h3>
    <${Table}
      caption=${t("ops-fullest")}
      rows=${sums.slice(0, FULLEST)}
      keyOf=${(row) => row.venue.id}
      columns=${[
        [t("ops-venue"), (row) => text(row.venue.title)],
        [t("ops-left"), (row) => `${number(row.remaining)} / ${number(row.capacity)}`, "number"],
      ]}
    />`;
}
