// When registration is open, when more seats come, how many wait, and how fresh the page is.

import { get, pause } from "../api.js";
import { Countdown, html, useEffect, useServerTime, useState } from "../ui.js";
import { moment, t, text } from "../words.js";

const POLL_MIN_S = 2;

export function Facts({ exam, snapshot, seats, state }) {
  const zone = exam.time_zone;
  const isLive = state === "live";
  return html`
    <dl class="facts">
      <${Registration} exam=${exam} />
      <${NextRelease} release=${snapshot?.next_release} seats=${seats} zone=${zone} />
      ${exam.waiting_room && html`<${WaitingRoom} exam=${exam} />`}
      <${Fact} name=${t("seats-state")}>
        <span class=${`live${isLive ? "" : " live-old"}`}>${t(isLive ? "live" : "not-live")}</span>
        ${seats.asOf &&
        html`<span class="soft">
          ${t("as-of", { at: moment(seats.asOf, zone, { seconds: true }) })}
        </span>`}
      <//>
    </dl>
  `;
}

function Fact({ name, children }) {
  return html`<div class="fact"><dt>${name}</dt><dd>${children}</dd></div>`;
}

function Registration({ exam }) {
  const now = useServerTime();
  const { opens_at: opensAt, closes_at: closesAt } = exam.registration;
  const at = (when) => moment(when, exam.time_zone);
  let told = html`${t("open")}<span class="soft">${t("open-until", { at: at(closesAt) })}</span>`;
  if (now < Date.parse(opensAt)) {
    told = html`
      ${t("opens-in")} <${Countdown} until=${opensAt} />
      <span class="soft">${t("opens-at", { at: at(opensAt) })}</span>
    `;
  } else if (now >= Date.parse(closesAt)) {
    told = html`
      ${t("registration-closed")}<span class="soft">${t("closed-since", { at: at(closesAt) })}</span>
    `;
  }
  return html`<${Fact} name=${t("registration")}>${told}<//>`;
}

function NextRelease({ release, seats, zone }) {
  const now = useServerTime();
  if (!release) return html`<${Fact} name=${t("next-release")}>${t("release-none")}<//>`;
  const venues = (release.venues ?? []).map((id) => {
    const venue = seats.venues[seats.venueAt.get(id)];
    return venue ? text(venue.title) : id;
  });
  const where =
    venues.length === 0
      ? t("venues-untold")
      : venues.length <= 3
        ? venues.join(t("comma"))
        : t("at-many-venues", { n: venues.length });
  const isDue = now >= Date.parse(release.at);
  return html`
    <${Fact} name=${t("next-release")}>
      ${isDue
        ? t("release-now")
        : html`${t("release-in")} <${Countdown} until=${release.at} />`}
      <span class="soft">${t("release-at", { at: moment(release.at, zone), where })}</span>
    <//>
  `;
}

/** The public state of the waiting room, asked for as often as it says. */
function WaitingRoom({ exam }) {
  const [room, setRoom] = useState(null);
  useEffect(() => {
    const stop = new AbortController();
    const signal = stop.signal;
    const follow = async () => {
      while (!signal.aborted) {
        let waitS = 10;
        try {
          const found = await get(`/v1/exams/${exam.id}/waiting-room`, { signal, tries: 1 });
          setRoom(found);
          waitS = Math.max(found.poll_after, POLL_MIN_S);
        } catch {
          // the page says itself when it is not live
        }
        await pause(waitS * 1000 * (0.75 + Math.random() / 2), signal);
      }
    };
    follow().catch(() => {}); // it was stopped
    return () => stop.abort();
  }, [exam.id]);
  if (!room) return html`<${Fact} name=${t("waiting-room")}>…<//>`;
  if (room.phase === "closed") {
    return html`<${Fact} name=${t("waiting-room")}>${t("room-over")}<//>`;
  }
  const hint = room.paused
    ? t("room-paused")
    : room.phase === "before"
      ? t("room-before")
      : t("room-rate", { n: Math.round(room.rate) });
  return html`
    <${Fact} name=${t("waiting-room")}>
      ${t("people", { n: room.waiting })}<span class="soft">${hint}</span>
    <//>
  `;
}
