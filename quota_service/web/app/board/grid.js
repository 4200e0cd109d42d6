// The table of venues and subjects. Of a large exam only the rows and columns in sight are in the
// document: it scrolls and changes at the same speed however many there are.

import { html, useLayoutEffect, useRef, useState } from "../ui.js";
import { number, t, text } from "../words.js";

const ROW_PX = 60; // as in board.css
const OVERSCAN = 4;
const FEW_SHARE = 0.05;
const FEW = 5;

/**
 * `rows` are { venue } by position and { heading }; `columns` positions of subjects; `stateOf(venue,
 * subject)` what is to be said of a quota beside its seats: "paused", "closed" or "".
 */
export function Grid({ seats, rows, columns, stateOf, label, isOld }) {
  const frame = useRef(null);
  const [view, setView] = useState({ top: 0, left: 0, width: 960, height: 700 });
  useLayoutEffect(() => {
    const element = frame.current;
    let waiting = 0;
    const look = () => {
      waiting = 0;
      const { scrollTop, scrollLeft, clientWidth, clientHeight } = element;
      setView({ top: scrollTop, left: scrollLeft, width: clientWidth, height: clientHeight });
    };
    const later = () => {
      waiting ||= requestAnimationFrame(look);
    };
    const observer = new ResizeObserver(later);
    observer.observe(element);
    element.addEventListener("scroll", later, { passive: true });
    look();
    return () => {
      cancelAnimationFrame(waiting);
      observer.disconnect();
      element.removeEventListener("scroll", later);
    };
  }, []);

  const isNarrow = view.width < 480;
  const firstPx = isNarrow ? 122 : 240;
  const room = view.width - firstPx;
  const columnPx = Math.max(isNarrow ? 88 : 132, Math.floor(room / columns.length));
  const rowsSeen = windowOf(view.top, view.height, ROW_PX, rows.length);
  const columnsSeen = windowOf(view.left, room, columnPx, columns.length);
  const shown = columns.slice(columnsSeen.from, columnsSeen.to);
  const before = columnsSeen.from * columnPx;
  const behind = (columns.length - columnsSeen.to) * columnPx;
  const width = { width: `${firstPx + columns.length * columnPx}px` };
  const span = 1 + shown.length + (before > 0) + (behind > 0);
  const gap = (px) => px > 0 && html`<td class="gap" />`;
  const blank = (count) =>
    count > 0 &&
    html`<tr class="gap" style=${{ height: `${count * ROW_PX}px` }}><td colspan=${span} /></tr>`;

  return html`
    <div
      class=${`frame grid-frame${isOld ? " grid-old" : ""}`}
      ref=${frame}
      tabindex="0"
      role="region"
      aria-label=${label}
    >
      <table
        class="grid"
        style=${width}
        aria-rowcount=${rows.length + 1}
        aria-colcount=${columns.length + 1}
      >
        <colgroup>
          <col style=${{ width: `${firstPx}px` }} />
          ${before > 0 && html`<col style=${{ width: `${before}px` }} />`}
          ${shown.map((subject) => html`<col key=${subject} style=${{ width: `${columnPx}px` }} />`)}
          ${behind > 0 && html`<col style=${{ width: `${behind}px` }} />`}
        </colgroup>
        <thead>
          <tr aria-rowindex="1">
            <th scope="col">${t("venue")}</th>
            ${gap(before)}
            ${shown.map(
              (subject, i) => html`
                <th key=${subject} scope="col" aria-colindex=${columnsSeen.from + i + 2}>
                  ${text(seats.subjects[subject].title)}
                </th>
              `,
            )}
            ${gap(behind)}
          </tr>
        </thead>
        <tbody>
          ${blank(rowsSeen.from)}
          ${rows.slice(rowsSeen.from, rowsSeen.to).map((row, i) => {
            const index = rowsSeen.from + i + 2;
            if (row.heading) {
              return html`
                <tr key=${row.heading} class="grid-heading" aria-rowindex=${index}>
                  <th scope="rowgroup" colspan=${span}><span>${row.heading}</span></th>
                </tr>
              `;
            }
            const venue = seats.venues[row.venue];
            const name = text(venue.title);
            return html`
              <tr key=${venue.id} aria-rowindex=${index} data-venue=${venue.id}>
                <th scope="row" title=${name}><span class="grid-venue">${name}</span></th>
                ${gap(before)}
                ${shown.map((subject, j) => {
                  const at = seats.at(row.venue, subject);
                  return html`<${Cell}
                    key=${subject}
                    column=${columnsSeen.from + j + 2}
                    left=${seats.remaining[at]}
                    capacity=${seats.capacity[at]}
                    changes=${seats.changes[at]}
                    state=${stateOf(row.venue, subject)}
                  />`;
                })}
                ${gap(behind)}
              </tr>
            `;
          })}
          ${blank(rows.length - rowsSeen.to)}
        </tbody>
      </table>
    </div>
  `;
}

function windowOf(offsetPx, roomPx, sizePx, count) {
  const from = Math.max(0, Math.min(Math.floor(offsetPx / sizePx) - OVERSCAN, count));
  const to = Math.min(count, Math.ceil((offsetPx + roomPx) / sizePx) + OVERSCAN);
  return { from, to: Math.max(from, to) };
}

function Cell({ column, left, capacity, changes, state }) {
  if (left < 0) {
    return html`
      <td class="cell cell-none" aria-colindex=${column}>
        <span aria-hidden="true">–</span><span class="unseen">${t("not-offered")}</span>
      </td>
    `;
  }
  const isFew = left <= Math.max(FEW, capacity * FEW_SHARE);
  const kind = left === 0 || state ? "stopped" : isFew ? "few" : "some";
  return html`
    <td class=${`cell cell-${kind}`} aria-colindex=${column}>
      <span class="cell-seats" key=${changes} data-changed=${changes > 0}>
        <span class="cell-left">
          ${state === "closed" ? t("quota-closed") : left === 0 ? t("full") : number(left)}
        </span>
        <span class="cell-of">
          ${state === "paused" && left > 0
            ? html`<span class="tag tag-few">${t("paused")}</span>`
            : t("of", { n: capacity })}
        </span>
      </span>
    </td>
  `;
}
