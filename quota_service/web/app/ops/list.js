// The waiting list: how many wait for what, its entries, and how ops steer it.

import { post, put } from "../api.js";
import { html, Notice, useState } from "../ui.js";
import { number, t } from "../words.js";
import { pathOf, useAsked } from "./feeds.js";
import { Act, Facts, Refusal, scopeOf, Section, Table, titleOf, useOps, When, wordsFor } from "./parts.js";

const STATES = ["", "waiting", "offered", "served", "missed", "declined", "left", "over", "conflict"];

export function List() {
  const { exam } = useOps();
  const [state, setState] = useState("");
  const query = new URLSearchParams({ limit: "50", ...(state && { state }) });
  const { data, error, reload } = useAsked(exam.waiting_list ? pathOf(exam.id, `/waiting-list?${query}`) : null);
  if (!exam.waiting_list) return html`<p>${t("ops-no-list")}</p>`;
  if (!data) return html`<${Refusal} error=${error} /><p>${t("loading")}</p>`;
  const act = (what) => () => listAct(exam, data, what, reload);
  const buttons = html`
    ${data.paused
      ? html`<${Act} act=${act("resume")} primary>${t("ops-list-resume")}…<//>`
      : html`<${Act} act=${act("pause")} danger>${t("ops-list-pause")}…<//>`}
    ${data.suspended
      ? html`<${Act} act=${act("reopen")} primary>${t("ops-list-reopen")}…<//>`
      : html`<${Act} act=${act("suspend")} danger>${t("ops-list-suspend")}…<//>`}
    <${Act} act=${() => lengthAct(exam, data, reload)}>${t("ops-list-length")}…<//>
  `;
  return html`
    <${Section} title=${t("ops-view-list")} buttons=${buttons}>
      ${data.paused && html`<${Notice} kind="warn" title=${t("ops-list-paused-now")} />`}
      ${data.suspended && html`<${Notice} kind="warn" title=${t("ops-list-suspended-now")} />`}
      <${Facts} facts=${[
        ...Object.entries(data.states).map(([name, count]) => [stateOf(name), number(count)]),
        [t("ops-list-last"), number(data.last_number)],
        [t("ops-list-order"), t(`ops-list-order-${data.order}`)],
        [t("ops-list-max"), number(data.length_max)],
      ]} />
    <//>
    <${Section} title=${t("ops-list-quotas")}>
      <${Table}
        caption=${t("ops-list-quotas")}
        rows=${[...data.quotas].sort((a, b) => b.waiting - a.waiting)}
        empty=${t("ops-nobody-waits")}
        columns=${[
          [t("ops-scope"), (row) => scopeOf(exam, row)],
          [t("ops-waiting"), (row) => number(row.waiting), "number"],
        ]}
      />
    <//>
    <${Section}
      title=${t("ops-list-entries")}
      buttons=${html`<label>
        ${t("ops-state")}${" "}
        <select class="input input-small" value=${state} onChange=${(e) => setState(e.target.value)}>
          ${STATES.map((each) => html`<option value=${each} selected=${each === state}>
            ${each ? stateOf(each) : t("ops-all-of-them")}
          </option>`)}
        </select>
      </label>`}
    >
      <${Table}
        caption=${t("ops-list-entries")}
        rows=${data.entries}
        empty=${t("ops-none")}
        keyOf=${(row) => row.id}
        columns=${[
          [t("ops-number"), (row) => number(row.number), "number"],
          [t("ops-candidate"), (row) => html`<a href=${`#candidate/${encodeURIComponent(row.candidate)}`}>${row.candidate}</a>`],
          [t("ops-subjects"), (row) => row.subjects.map((id) => titleOf(exam.subjects, id)).join(", ")],
          [t("ops-venues"), (row) => row.venues.map((id) => titleOf(exam.venues, id)).join(", ")],
          [t("ops-state"), (row) => stateOf(row.state)],
          [t("ops-since"), (row) => html`<${When} at=${row.joined_at} />`],
        ]}
      />
    <//>
  `;
}

const stateOf = (name) => wordsFor("ops-entry-", name);

const listAct = (exam, list, what, onDone) => ({
  title: t(`ops-list-${what}`),
  button: t(`ops-list-${what}`),
  danger: what === "pause" || what === "suspend",
  onDone,
  preview: async () => [
    t(`ops-will-list-${what}`),
    t("ops-will-list-waiting", { n: list.states.waiting ?? 0, offered: list.states.offered ?? 0 }),
  ],
  async run(_, reason) {
    await post(pathOf(exam.id, `/waiting-list/${what}`), { reason }, { repeatable: true });
    return t(`ops-did-list-${what}`);
  },
});

const lengthAct = (exam, list, onDone) => ({
  title: t("ops-list-length"),
  button: t("ops-list-length"),
  onDone,
  fields: [
    { name: "length", label: t("ops-list-max"), hint: t("ops-list-max-hint"), kind: "number", min: 1, value: String(list.length_max) },
  ],
  async preview({ length }) {
    if (length === "") return [t("ops-will-list-definition")];
    const wanted = Number(length);
    if (!(Number.isInteger(wanted) && wanted > 0)) return { lines: [t("ops-needs-number")], stop: true };
    const full = list.quotas.filter((each) => each.waiting >= wanted).length;
    return [t("ops-will-list-length", { from: list.length_max, to: wanted }), t("ops-will-list-full", { n: full })];
  },
  async run({ length }, reason) {
    const body = { reason, length_max: length === "" ? null : Number(length) };
    const done = await put(pathOf(exam.id, "/waiting-list"), body);
    return t("ops-did-list-length", { n: done.length_max });
  },
});
