// The noon screen: who comes, who is let in, what is held and paid, how it goes, what is refused.

import { html, useServerTime } from "../ui.js";
import { countdown, moment, number, t } from "../words.js";
import { Chart } from "./charts.js";
import { extendAct, pauseAct, pauseRoomAct, rateAct, resumeRoomAct } from "./day-acts.js";
import { Events } from "./events.js";
import { lately } from "./feeds.js";
import { EVEN_MAX, HeatMap } from "./heatmap.js";
import { Act, Facts, rate, Section, Table, useOps } from "./parts.js";

const P99_WELL_MS = 500; // the objective of the runbook
const OLD_MS = 5000;
const REFUSED_SHOWN = 12;

export function Noon() {
  const { exam, load } = useOps();
  const { data, seconds } = load;
  if (!data) return html`<p>${t("loading")}</p>`;
  const room = data.waiting_room;
  const now = Math.floor(Date.parse(data.as_of) / 1000);
  return html`
    <div class="row acts">
      <${Act} act=${() => pauseAct(exam)} danger>${t("ops-pause-exam")}<//>
      ${room &&
      (room.paused
        ? html`<${Act} act=${() => resumeRoomAct(exam)} primary>${t("ops-resume-room")}…<//>`
        : html`<${Act} act=${() => pauseRoomAct(exam)}>${t("ops-pause-room")}…<//>`)}
      ${room && html`<${Act} act=${() => rateAct(exam, room)}>${t("ops-set-rate")}…<//>`}
      <${Act} act=${() => extendAct(exam)}>${t("ops-extend")}…<//>
    </div>
    <${Figures} exam=${exam} data=${data} seconds=${seconds} />
    <div class="charts">
      <${Chart}
        title=${t(room ? "ops-chart-crowd" : "ops-chart-held")}
        unit=${t("ops-per-second")}
        seconds=${seconds}
        now=${now}
        lines=${[
          ...(room ? [["joined", t("ops-joined"), "ink-soft", true]] : []),
          ...(room ? [["admitted", t("ops-admitted"), "accent"]] : []),
          ["held", t("ops-held"), "ok"],
        ]}
      />
      <${Chart}
        title=${t("ops-chart-ends")}
        unit=${t("ops-per-second")}
        seconds=${seconds}
        now=${now}
        lines=${[
          ["confirmed", t("ops-confirmed"), "ok"],
          ["expired", t("ops-expired"), "error", true],
          ["released", t("ops-released"), "few"],
        ]}
      />
      ${room &&
      html`<${Chart}
        title=${t("ops-chart-p99")}
        unit="ms"
        seconds=${seconds}
        now=${now}
        lines=${[
          ["reserve", t("ops-p99-reserve"), "accent"],
          ["redis", t("ops-p99-redis"), "few", true],
          ["pool", t("ops-p99-pool"), "ink-soft", true],
        ]}
      />`}
    </div>
    <div class=${exam.subjects.length <= EVEN_MAX ? "halves" : ""}>
      <${Section} title=${t("ops-heat")}><${HeatMap} /><//>
      <div>
        <${Section} title=${t("ops-refusals")}><${Refusals} refusals=${data.refusals} /><//>
        <${Events} />
        ${room && html`<${Section} title=${t("ops-processes")}><${Processes} signals=${room.signals} /><//>`}
      </div>
    </div>
  `;
}

function Figures({ exam, data, seconds }) {
  const now = useServerTime();
  const opensIn = Date.parse(exam.registration.opens_at) - now;
  const closesIn = Date.parse(exam.registration.closes_at) - now;
  const { waiting_room: room, seats } = data;
  const p99 = lately(seconds, "reserve", 1);
  const perSecond = (kind) => t("ops-a-second", { rate: rate(lately(seconds, kind)) });
  const isFew = seats.remaining <= seats.capacity / 10;
  const refused = byMinute(data.refusals);
  return html`<${Facts}
    facts=${[
      opensIn > 0
        ? [t("ops-opens-in"), countdown(opensIn), null, "accent"]
        : [t("ops-closes-in"), closesIn > 0 ? countdown(closesIn) : t("ops-over")],
      ...(room
        ? [
            [t("ops-joined"), number(room.joined), perSecond("joined")],
            [t("ops-waiting"), number(room.waiting), waitOf(room)],
            [t("ops-admitted"), number(room.admitted), rateOf(room, seconds), room.paused ? "few" : null],
          ]
        : []),
      [t("ops-held-now"), number(data.live_holds), perSecond("held")],
      [t("ops-booked-seats"), number(seats.confirmed), perSecond("confirmed")],
      [t("ops-left"), number(seats.remaining), ofSeats(exam, data), isFew ? "few" : null],
      ...(room
        ? [
            [
              t("ops-p99-reserve"),
              p99 === null ? "–" : `${number(Math.round(p99))} ms`,
              t("ops-p99-well", { n: P99_WELL_MS }),
              p99 > P99_WELL_MS ? "error" : null,
            ],
            [t("ops-failures"), number(sumOf(room, "failures")), t("ops-failures-of"), sumOf(room, "failures") ? "error" : null],
            [t("ops-backlog"), number(sumOf(room, "backlog")), t("ops-attempts", { n: data.attempts })],
          ]
        : [[t("ops-being-paid"), number(data.attempts)]]),
      [t("ops-refused"), number(refused.last), t("ops-refused-before", { n: refused.before })],
    ]}
  />`;
}

/** How many seats there are; of very many quotas also when they were read. */
function ofSeats(exam, { as_of: now, seats, seats_as_of: then }) {
  const all = t("ops-of", { n: seats.capacity });
  if (Date.parse(now) - Date.parse(then) < OLD_MS) return all;
  return `${all} · ${moment(then, exam.time_zone, { seconds: true })}`;
}

const sumOf = (room, name) =>
  room.signals.reduce((sum, each) => sum + (each.measures?.[name] ?? 0), 0);

/** How long the last of those who wait now waits, by the rate of now. */
function waitOf(room) {
  if (room.paused) return t("ops-paused");
  if (!room.waiting) return t("ops-nobody-waits");
  return t("ops-wait-for", { time: countdown((room.waiting / Math.max(room.rate, 0.01)) * 1000) });
}

function rateOf(room, seconds) {
  const wanted = t(room.fixed_rate === null ? "ops-rate-adaptive" : "ops-rate-fixed", { rate: rate(room.rate) });
  return `${t("ops-a-second", { rate: rate(lately(seconds, "admitted")) })} · ${wanted}`;
}

/** Refusals in this minute and in the one before. */
function byMinute(refusals) {
  const minutes = [...new Set(refusals.map((each) => each.minute))].sort().reverse();
  const of = (minute) =>
    refusals.filter((each) => each.minute === minute).reduce((sum, each) => sum + each.count, 0);
  return { last: minutes.length ? of(minutes[0]) : 0, before: minutes.length > 1 ? of(minutes[1]) : 0 };
}

function Refusals({ refusals }) {
  const minutes = [...new Set(refusals.map((each) => each.minute))].sort().reverse();
  const slugs = new Map();
  for (const { slug, minute, count } of refusals) {
    const row = slugs.get(slug) ?? { slug, last: 0, before: 0, all: 0 };
    if (minute === minutes[0]) row.last += count;
    if (minute === minutes[1]) row.before += count;
    row.all += count;
    slugs.set(slug, row);
  }
  const rows = [...slugs.values()].sort((a, b) => b.all - a.all).slice(0, REFUSED_SHOWN);
  return html`<${Table}
    caption=${t("ops-refusals")}
    rows=${rows}
    empty=${t("ops-no-refusals")}
    keyOf=${(row) => row.slug}
    columns=${[
      [t("ops-slug"), (row) => html`<code>${row.slug}</code>`],
      [t("ops-this-minute"), (row) => number(row.last), "number"],
      [t("ops-minute-before"), (row) => number(row.before), "number"],
      [t("ops-ten-minutes"), (row) => number(row.all), "number"],
    ]}
  />`;
}

function Processes({ signals }) {
  const ms = (value) => (value === null ? "–" : number(Math.round(value * 10) / 10));
  const of = (name, show = number) => [
    t(`ops-process-${name.replaceAll("_", "-")}`),
    (row) => (row.measures ? show(row.measures[name]) : "?"),
    "number",
  ];
  return html`<${Table}
    caption=${t("ops-processes")}
    rows=${signals}
    empty=${t("ops-no-reports")}
    keyOf=${(row) => row.process}
    columns=${[
      [t("ops-process"), (row) => html`<code class="whole">${row.process.slice(0, 8)}</code>`],
      of("requests"),
      of("failures"),
      of("reserve_p99_ms", ms),
      of("redis_p99_ms", ms),
      of("pool_wait_p99_ms", ms),
      of("backlog"),
    ]}
  />`;
}
