// One quota on the map: what has become of its seats, and what can be done to it.

import { Dialog, html } from "../ui.js";
import { number, t } from "../words.js";
import { extendAct, pauseAct, resumeAct } from "./day-acts.js";
import { pathOf, useAsked } from "./feeds.js";
import { Act, Facts, Refusal, scopeOf, useOps } from "./parts.js";
import { releaseAct } from "./release-acts.js";
import { closeAct, openAct } from "./venue-acts.js";

const PARTS = ["remaining", "held", "confirming", "confirmed", "returned", "aside"];

export const quotaAct = (exam, { venue, subject }) => ({ dialog: QuotaDialog, exam, venue, subject });

function QuotaDialog({ act, onClose }) {
  const { exam } = useOps();
  const { venue, subject } = act;
  const { data, error } = useAsked(pathOf(exam.id, `/load?${new URLSearchParams({ venue, subject })}`), 2000);
  const pause = (exam.pauses ?? []).find(
    (each) => each.scope.venue === venue && each.scope.subject === subject,
  );
  const isClosed = (exam.closed ?? []).some(
    (each) => each.venue === venue && (each.subject === null || each.subject === subject),
  );
  return html`<${Dialog} title=${scopeOf(exam, act)} onClose=${onClose}>
    <${Refusal} error=${error} />
    ${data &&
    html`<${Facts} facts=${[
      [t("ops-capacity"), number(data.seats.capacity)],
      ...PARTS.filter((part) => data.seats[part] || ["remaining", "held", "confirmed"].includes(part)).map(
        (part) => [t(`ops-seats-${part}`), number(data.seats[part])],
      ),
    ]} />`}
    <div class="stack">
      ${pause
        ? html`<${Act} act=${() => resumeAct(exam, pause)} primary>${t("ops-resume")}<//>`
        : html`<${Act} act=${() => pauseAct(exam, { venue, subject })} danger>${t("ops-pause")}<//>`}
      <${Act} act=${() => extendAct(exam, { venue, subject })}>${t("ops-extend")}<//>
      <${Act} act=${() => releaseAct(exam, venue)}>${t("ops-plan-release")}<//>
      ${isClosed
        ? html`<${Act} act=${() => openAct(exam, venue, subject)}>${t("ops-open-venue")}<//>`
        : html`<${Act} act=${() => closeAct(exam, venue, subject)} danger>${t("ops-close-venue")}<//>`}
    </div>
  <//>`;
}
