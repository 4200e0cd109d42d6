// The audit of the books, and what ops did.

import { get } from "../api.js";
import { html, Notice, useState } from "../ui.js";
import { t } from "../words.js";
import { ActTable } from "./candidate.js";
import { pathOf, useAsked } from "./feeds.js";
import { Refusal, Section, Table, useOps } from "./parts.js";

export function Log() {
  const { exam } = useOps();
  const { data, error } = useAsked(pathOf(exam.id, "/operations?limit=100"));
  return html`
    <${Audit} exam=${exam} />
    <${Section} title=${t("ops-what-ops-did")}>
      <${Refusal} error=${data ? null : error} />
      <${ActTable} rows=${data?.operations ?? []} />
    <//>
  `;
}

function Audit({ exam }) {
  const [state, set] = useState({});
  const run = async () => {
    set({ isRunning: true });
    try {
      set({ found: await get(pathOf(exam.id, "/audit"), { tries: 1 }) });
    } catch (error) {
      set({ error });
    }
  };
  const { found } = state;
  return html`<${Section}
    title=${t("ops-audit")}
    buttons=${html`<button type="button" class="button" aria-disabled=${Boolean(state.isRunning)} onClick=${run}>
      ${t(state.isRunning ? "ops-audit-running" : "ops-audit-run")}
    </button>`}
  >
    <p class="soft">${t("ops-audit-about")}</p>
    <${Refusal} error=${state.error} />
    ${found &&
    (found.clean
      ? html`<${Notice} kind="ok" title=${t("ops-audit-clean", { n: found.quotas })} />`
      : html`<${Notice} kind="error" title=${t("ops-audit-differs", { n: found.differences.length })} />
          <${Table}
            caption=${t("ops-audit")}
            rows=${found.differences}
            columns=${[
              [t("ops-promise"), (row) => row.promise],
              [t("ops-place"), (row) => html`<code>${row.place}</code>`],
              [t("ops-expected"), (row) => html`<span lang="en">${row.expected}</span>`],
              [t("ops-found"), (row) => html`<span lang="en">${row.found}</span>`],
            ]}
          />`)}
  <//>`;
}
