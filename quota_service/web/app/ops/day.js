// Running the day: what is paused, the waiting room, more time for holds, seat releases, what ops did.

import { html } from "../ui.js";
import { number, t } from "../words.js";
import { extendAct, pauseAct, pauseRoomAct, rateAct, resumeAct, resumeRoomAct } from "./day-acts.js";
import { Draw } from "./draw.js";
import { pathOf, useAsked } from "./feeds.js";
import { Act, Facts, rate, Refusal, scopeOf, Section, Table, useOps, When } from "./parts.js";
import { cancelReleaseAct, releaseAct, seatsOfRelease } from "./release-acts.js";

export function Day() {
  const { exam, load } = useOps();
  const room = load.data?.waiting_room;
  return html`
    <${Pauses} />
    ${room && html`<${Room} room=${room} />`}
    <${Draw} />
    <${Holds} />
    <${Releases} exam=${exam} />
  `;
}

function Pauses() {
  const { exam } = useOps();
  return html`<${Section}
    title=${t("ops-pauses")}
    buttons=${html`<${Act} act=${() => pauseAct(exam)} danger>${t("ops-pause")}…<//>`}
  >
    <${Table}
      caption=${t("ops-pauses")}
      rows=${exam.pauses ?? []}
      empty=${t("ops-nothing-paused")}
      columns=${[
        [t("ops-scope"), (row) => scopeOf(exam, row.scope)],
        [t("ops-stops"), (row) => t(`ops-stops-${row.stops}`)],
        [t("ops-reason"), (row) => row.reason],
        [t("ops-since"), (row) => html`<${When} at=${row.since} />`],
        [
          t("ops-acts"),
          (row) => html`<${Act} act=${() => resumeAct(exam, row)} small>${t("ops-resume")}<//>`,
        ],
      ]}
    />
  <//>`;
}

function Room({ room }) {
  const { exam } = useOps();
  const buttons = html`
    <${Act} act=${() => rateAct(exam, room)}>${t("ops-set-rate")}…<//>
    ${room.paused
      ? html`<${Act} act=${() => resumeRoomAct(exam)} primary>${t("ops-resume-room")}…<//>`
      : html`<${Act} act=${() => pauseRoomAct(exam)} danger>${t("ops-pause-room")}…<//>`}
  `;
  return html`<${Section} title=${t("ops-room")} buttons=${buttons}>
    <${Facts} facts=${[
      [t("ops-phase"), t(`ops-phase-${room.phase}`), room.paused ? t("ops-paused") : null, room.paused ? "few" : null],
      [t("ops-rate"), t("ops-a-second", { rate: rate(room.rate) }), t(room.fixed_rate === null ? "ops-adaptive" : "ops-fixed")],
      [t("ops-waiting"), number(room.waiting)],
      [t("ops-joined"), number(room.joined)],
      [t("ops-admitted"), number(room.admitted)],
      [t("ops-places"), number(room.places)],
    ]} />
  <//>`;
}

function Holds() {
  const { exam, load } = useOps();
  const { data, error } = useAsked(pathOf(exam.id, "/operations?limit=1"));
  return html`<${Section}
    title=${t("ops-holds")}
    buttons=${html`<${Act} act=${() => extendAct(exam)}>${t("ops-extend")}…<//>`}
  >
    <${Refusal} error=${data ? null : error} />
    <p>${t("ops-live-holds", { n: load.data?.live_holds ?? 0 })}</p>
    ${(data?.in_force.extensions ?? []).map(
      (each) => html`<p role="status">
        ${t("ops-extension-on", { scope: each.reservation ?? scopeOf(exam, each.scope), minutes: Math.round(each.ms / 60_000) })}
      </p>`,
    )}
  <//>`;
}

function Releases({ exam }) {
  const { data, error } = useAsked(pathOf(exam.id, "/seat-releases"));
  return html`<${Section}
    title=${t("ops-releases")}
    buttons=${html`<${Act} act=${() => releaseAct(exam)}>${t("ops-plan-release")}…<//>`}
  >
    <${Refusal} error=${data ? null : error} />
    <${Table}
      caption=${t("ops-releases")}
      rows=${data?.releases ?? []}
      empty=${t(data ? "ops-no-releases" : "loading")}
      keyOf=${(row) => row.id}
      columns=${[
        [t("ops-release-at"), (row) => html`<${When} at=${row.at} />`],
        [t("ops-id"), (row) => html`<code>${row.id}</code>`],
        [t("ops-seats"), (row) => number(seatsOfRelease(row)), "number"],
        [t("ops-scope"), (row) => Object.keys(row.seats).map((venue) => scopeOf(exam, { venue })).join(", ")],
        [t("ops-state"), (row) => t(`ops-release-${row.state}`)],
        [t("ops-announce"), (row) => t(`ops-announce-${row.announce}`)],
        [
          t("ops-acts"),
          (row) =>
            row.state === "planned" &&
            html`<${Act} act=${() => cancelReleaseAct(exam, row)} small danger>${t("ops-cancel-release")}<//>`,
        ],
      ]}
    />
  <//>`;
}
