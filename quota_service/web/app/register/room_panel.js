// The waiting room as a candidate sees it: the place, a bar, an estimate.

import { Refusal } from "./refusal.js";
import { Countdown, html, Notice, useServerTime } from "../ui.js";
import { about, moment, t } from "../words.js";

function Waiting({ room, ahead, etaS, progress, opensAt }) {
  const isToCome = useServerTime() < opensAt;
  if (room === null || room.phase === "before") {
    const now = isToCome
      ? html`${t("room.opens-in")} <${Countdown} until=${opensAt} />`
      : t("room.drawing");
    return html`<p>${now}</p>
      ${room && html`<p>${t("room.waiting", { n: room.waiting })}</p>`}`;
  }
  return html`<p>
      ${ahead === null ? t("room.soon") : t("room.ahead", { n: ahead })}
      ${etaS !== null && ` ${t("room.eta", { about: about(etaS) })}`}
    </p>
    <progress max="1" value=${progress} aria-label=${t("room.progress")}></progress>`;
}

export function RoomPanel({ place, exam, draft }) {
  const join = html`<button type="button" class="button button-primary" onClick=${place.join}>
    ${t("room.join")}
  </button>`;
  if (draft.pass) {
    const at = moment(draft.pass.expires_at, exam.time_zone, { seconds: true });
    return html`<${Notice} kind="ok" title=${t("room.turn")}>
      <p>${t("room.pass-until", { at })}</p>
    <//>`;
  }
  if (place.refusal && !draft.ticket)
    return html`<${Refusal} error=${place.refusal} exam=${exam}><p>${join}</p><//>`;
  if (!draft.ticket)
    return html`<${Notice}><p>${t("room.not-joined")}</p><p>${join}</p><//>`;
  const { kind, number } = draft.ticket;
  return html`<div class="room">
    <${Notice} live=${false} title=${t(`room.in-${kind}`, { number })}>
      <div><${Waiting} ...${place} opensAt=${Date.parse(exam.registration.opens_at)} /></div>
      ${place.room?.paused && html`<p class="gone">${t("room.paused")}</p>`}
      <p class="soft">${t("room.kept")}</p>
    <//>
  </div>`;
}
