// The draw with a public source: how it stands, its outcome put in by hand, and opening without it.

import { post } from "../api.js";
import { html, Notice, useServerTime } from "../ui.js";
import { number, t } from "../words.js";
import { pathOf, useAsked } from "./feeds.js";
import { Act, Facts, Section, useOps, When } from "./parts.js";

/** Nothing where the exam has no waiting room, or one whose draw has no source. */
export function Draw() {
  const { exam } = useOps();
  const { data: room, reload } = useAsked(exam.waiting_room ? pathOf(exam.id, "/waiting-room") : null);
  const now = useServerTime();
  if (!room?.source) return null;
  const { source, entries, without_source: decided } = room;
  const isDue = entries !== null && source.evidence === null && decided === null && now >= Date.parse(source.at);
  const buttons = html`
    <${Act} act=${() => sourceAct(exam, room, reload)} primary=${isDue}>${t("ops-draw-source")}…<//>
    <${Act} act=${() => withoutAct(exam, room, reload)} danger>${t("ops-draw-without")}…<//>
  `;
  return html`<${Section} title=${t("ops-draw")} buttons=${isDue ? buttons : null}>
    ${isDue && html`<${Notice} kind="warn" title=${t("ops-draw-due")} />`}
    <${Facts} facts=${[
      [t("ops-draw-decides"), source.description ?? `drand ${number(source.round)}`],
      [t("ops-draw-at"), html`<${When} at=${source.at} />`],
      [t("ops-draw-entries"), entries === null ? t("ops-draw-open") : number(entries.count)],
      [t("ops-draw-outcome"), decided ? t("ops-draw-decided") : (source.evidence ?? "–")],
    ]} />
  <//>`;
}

const sourceAct = (exam, room, onDone) => ({
  title: t("ops-draw-source"),
  button: t("ops-draw-source"),
  onDone,
  fields: [{ name: "evidence", label: t("ops-draw-outcome"), hint: t("ops-draw-hint"), value: "" }],
  async preview({ evidence }) {
    if (!evidence.trim()) return { lines: [t("ops-needs-evidence")], stop: true };
    return [
      t("ops-will-draw", { n: room.entries.count, evidence: evidence.trim() }),
      t("ops-will-draw-once"),
    ];
  },
  async run({ evidence }, reason) {
    await post(pathOf(exam.id, "/waiting-room/source"), { evidence: evidence.trim(), reason }, { repeatable: true });
    return t("ops-did-draw");
  },
});

const withoutAct = (exam, room, onDone) => ({
  title: t("ops-draw-without"),
  button: t("ops-draw-without"),
  danger: true,
  isPublic: true,
  onDone,
  preview: async () => [t("ops-will-draw-without", { n: room.entries.count }), t("ops-will-draw-final")],
  async run(_, reason) {
    await post(pathOf(exam.id, "/waiting-room/open-without-draw"), { reason }, { repeatable: true });
    return t("ops-did-draw-without");
  },
});
