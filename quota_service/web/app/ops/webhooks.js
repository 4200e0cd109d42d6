// Webhooks: where events are sent to, how each endpoint stands, and what became of its deliveries.

import { del, get, post, serverNow } from "../api.js";
import { html, useState } from "../ui.js";
import { moment, number, t } from "../words.js";
import { useAsked } from "./feeds.js";
import { Act, Refusal, Section, Table, useOps, When } from "./parts.js";
import { instantIn, localIn } from "./release-acts.js";

const ALL = "/v1/webhook-endpoints";
const of = (endpoint, what = "") => `${ALL}/${encodeURIComponent(endpoint.id)}${what}`;
const DELIVERIES = 50;
const HOUR_MS = 3_600_000;

export function Webhooks() {
  const { exam } = useOps();
  const { data, error, reload } = useAsked(ALL);
  const [opened, open] = useState(null);
  const rows = data?.webhook_endpoints ?? [];
  const endpoint = rows.find((each) => each.id === opened);
  return html`
    <${Section}
      title=${t("ops-view-webhooks")}
      buttons=${html`<${Act} act=${() => makeAct(exam, reload)}>${t("ops-hook-make")}…<//>`}
    >
      <p class="soft">${t("ops-hooks-about")}</p>
      <${Refusal} error=${data ? null : error} />
      <${Table}
        caption=${t("ops-view-webhooks")}
        rows=${rows}
        empty=${t(data ? "ops-no-hooks" : error ? "ops-none" : "loading")}
        keyOf=${(row) => row.id}
        columns=${[
          [t("ops-hook-url"), (row) => html`<p>${row.description}</p><code>${row.url}</code>`],
          [t("ops-hook-what"), (row) => html`${row.exams?.join(", ") ?? t("ops-of-all-exams")}<br />${row.kinds?.join(", ") ?? t("ops-hook-all-kinds")}`],
          [t("ops-state"), (row) => html`<${Standing} endpoint=${row} />`],
          [t("ops-hook-pending"), (row) => number(row.pending), "number"],
          [t("ops-hook-given-up"), (row) => number(row.given_up), "number"],
          [
            t("ops-acts"),
            (row) => html`<div class="row">
              <button type="button" class="button button-small" aria-expanded=${opened === row.id}
                onClick=${() => open(opened === row.id ? null : row.id)}>${t("ops-hook-deliveries")}</button>
              ${row.disabled_at === null
                ? html`<${Act} act=${() => testAct(row, reload)} small>${t("ops-hook-test")}<//>
                    <${Act} act=${() => disableAct(row, reload)} small danger>${t("ops-hook-disable")}<//>`
                : html`<${Act} act=${() => enableAct(row, reload)} small primary>${t("ops-hook-enable")}<//>`}
              <${Act} act=${() => replayAct(exam, row, reload)} small>${t("ops-hook-replay")}<//>
              <${Act} act=${() => rotateAct(row, reload)} small>${t("ops-hook-rotate")}<//>
              <${Act} act=${() => deleteAct(row, reload)} small danger>${t("ops-hook-delete")}<//>
            </div>`,
          ],
        ]}
      />
    <//>
    ${endpoint && html`<${Deliveries} key=${endpoint.id} endpoint=${endpoint} />`}
  `;
}

function Standing({ endpoint }) {
  if (endpoint.disabled_at) {
    return html`<span class="tag tag-error">${t(`ops-hook-is-${endpoint.disabled_reason}`)}</span>
      ${" "}<${When} at=${endpoint.disabled_at} />`;
  }
  if (endpoint.failing_since) {
    return html`<span class="tag tag-few">${t("ops-hook-fails")}</span> <${When} at=${endpoint.failing_since} />`;
  }
  return html`<span class="tag tag-ok">${t("ops-hook-well")}</span>`;
}

function Deliveries({ endpoint }) {
  const { data, error } = useAsked(of(endpoint, `/deliveries?limit=${DELIVERIES}`));
  return html`<${Section} title=${`${t("ops-hook-deliveries")}: ${endpoint.description}`}>
    <${Refusal} error=${data ? null : error} />
    <${Table}
      caption=${t("ops-hook-deliveries")}
      rows=${data?.deliveries ?? []}
      empty=${t(data ? "ops-none" : "loading")}
      keyOf=${(row) => row.event}
      columns=${[
        [t("ops-at"), (row) => html`<${When} at=${row.at} />`],
        [t("ops-event"), (row) => html`<code>${row.event}</code>`],
        [t("ops-hook-what"), (row) => html`<code>${row.type}</code>`],
        [t("ops-reservation"), (row) => row.reservation && html`<code>${row.reservation}</code>`],
        [t("ops-state"), (row) => t(`ops-delivery-${row.state}`)],
        [t("ops-hook-attempts"), (row) => number(row.attempts), "number"],
        [t("ops-hook-answer"), (row) => html`<span lang="en">${row.last_error ?? row.last_status ?? "–"}</span>`],
        [t("ops-hook-next"), (row) => html`<${When} at=${row.next_at} />`],
      ]}
    />
  <//>`;
}

const about = (row) => t("ops-will-hook", { url: row.url, n: row.pending });

/** An act on an endpoint that takes nothing but a reason. */
const simpleAct = (row, what, onDone, danger = false) => ({
  title: t(`ops-hook-${what}`),
  button: t(`ops-hook-${what}`),
  danger,
  onDone,
  preview: async () => [about(row), t(`ops-will-hook-${what}`)],
  async run(_, reason) {
    await post(of(row, `/${what}`), { reason }, { repeatable: what !== "test" });
    return t(`ops-did-hook-${what}`);
  },
});

const testAct = (row, onDone) => simpleAct(row, "test", onDone);
const enableAct = (row, onDone) => simpleAct(row, "enable", onDone);
const disableAct = (row, onDone) => simpleAct(row, "disable", onDone, true);

const replayAct = (exam, row, onDone) => ({
  title: t("ops-hook-replay"),
  button: t("ops-hook-replay"),
  onDone,
  fields: [
    {
      name: "since",
      label: t("ops-hook-since"),
      hint: t("ops-in-zone", { zone: exam.time_zone }),
      kind: "time",
      value: localIn(exam.time_zone, serverNow() - HOUR_MS),
    },
  ],
  async preview({ since }) {
    const at = instantIn(exam.time_zone, since);
    if (!(at < serverNow())) return { lines: [t("ops-needs-earlier")], stop: true };
    return [about(row), t("ops-will-hook-replay", { at: moment(at, exam.time_zone, { seconds: true }) })];
  },
  async run({ since }, reason) {
    const from = new Date(instantIn(exam.time_zone, since)).toISOString();
    const done = await post(of(row, "/replay"), { since: from, reason }, { tries: 1 });
    return t("ops-did-hook-replay", { n: done.deliveries });
  },
});

const shown = (made) => [t("ops-did-hook-secret"), html`<code>${made.secret}</code>`];

const rotateAct = (row, onDone) => ({
  title: t("ops-hook-rotate"),
  button: t("ops-hook-rotate"),
  onDone,
  fields: [
    { name: "hours", label: t("ops-hook-keep-old"), hint: t("ops-hook-keep-hint"), kind: "number", min: 0, max: 168, value: "24" },
  ],
  async preview({ hours }) {
    if (hours === "" || !(Number(hours) >= 0)) return { lines: [t("ops-needs-number")], stop: true };
    return [about(row), t("ops-will-hook-rotate", { n: Number(hours) })];
  },
  async run({ hours }, reason) {
    const body = { reason, keep_old_s: Math.round((Number(hours) * HOUR_MS) / 1000) };
    return shown(await post(of(row, "/rotate-secret"), body, { tries: 1 }));
  },
});

const deleteAct = (row, onDone) => ({
  title: t("ops-hook-delete"),
  button: t("ops-hook-delete"),
  danger: true,
  onDone,
  preview: async () => [about(row), t("ops-will-hook-delete")],
  async run(_, reason) {
    await del(of(row, `?${new URLSearchParams({ reason })}`));
    return t("ops-did-hook-delete");
  },
});

const makeAct = (exam, onDone) => ({
  title: t("ops-hook-make"),
  button: t("ops-hook-make"),
  onDone,
  fields: [
    { name: "url", label: t("ops-hook-url"), hint: t("ops-hook-url-hint"), value: "" },
    { name: "description", label: t("ops-hook-description"), value: "" },
    { name: "isOne", label: t("ops-hook-this-exam"), kind: "check", value: true },
  ],
  async preview({ url, description, isOne }) {
    if (!url.trim() || !description.trim()) return { lines: [t("ops-needs-hook")], stop: true };
    const known = (await get(ALL)).webhook_endpoints.filter((each) => each.url === url.trim());
    return [
      t(isOne ? "ops-will-hook-one" : "ops-will-hook-all", { url: url.trim() }),
      ...(known.length ? [t("ops-will-hook-twice")] : []),
    ];
  },
  async run({ url, description, isOne }, reason) {
    const body = { url: url.trim(), description: description.trim(), reason, exams: isOne ? [exam.id] : null };
    return shown(await post(ALL, body, { tries: 1 }));
  },
});
