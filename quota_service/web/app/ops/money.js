// Money: payments that have to go back, and payment events that could not be parsed.

import { post } from "../api.js";
import { html, useState } from "../ui.js";
import { money, number, t } from "../words.js";
import { withReason } from "./day-acts.js";
import { pathOf, useAsked } from "./feeds.js";
import { Act, Refusal, Section, Table, useOps, When } from "./parts.js";

const PAGE = 100;

export function Money() {
  return html`<${RefundsDue} /><${Unreadable} />`;
}

function RefundsDue() {
  const { exam } = useOps();
  const [isOfAll, setOfAll] = useState(false);
  const path = isOfAll ? "/v1/refunds-due" : pathOf(exam.id, "/refunds-due");
  const { data, error, reload } = useAsked(`${path}?limit=${PAGE}`);
  const sums = new Map();
  for (const due of data?.refunds_due ?? []) {
    sums.set(due.currency, (sums.get(due.currency) ?? 0) + due.amount);
  }
  const told = [...sums].map(([currency, amount]) => money(amount, currency)).join(", ");
  return html`<${Section}
    title=${t("ops-refunds-due")}
    buttons=${html`<label class="choice choice-small">
      <input type="checkbox" checked=${isOfAll} onChange=${(e) => setOfAll(e.target.checked)} />
      ${t("ops-of-all-exams")}
    </label>`}
  >
    <${Refusal} error=${data ? null : error} />
    ${data &&
    data.refunds_due.length > 0 &&
    html`<p>${t(data.next ? "ops-refunds-first" : "ops-refunds-sum", { n: data.refunds_due.length, sum: told })}</p>`}
    <${RefundTable} rows=${data?.refunds_due ?? []} empty=${t(data ? "ops-no-refunds" : "loading")} onDone=${reload} />
  <//>`;
}

/** Refunds due, settled ones too, with what can be done to each. */
export function RefundTable({ rows, empty, onDone }) {
  return html`<${Table}
    caption=${t("ops-refunds-due")}
    rows=${rows}
    empty=${empty}
    keyOf=${(row) => row.id}
    columns=${[
      [t("ops-due-at"), (row) => html`<${When} at=${row.due_at} />`],
      [t("ops-amount"), (row) => money(row.amount, row.currency), "number"],
      [t("ops-why"), (row) => html`<code>${row.reason}</code>`],
      [t("ops-reservation"), (row) => html`<a href=${`#candidate/${encodeURIComponent(row.reservation)}`}><code>${row.reservation}</code></a>`],
      [t("ops-reference"), (row) => html`<code>${row.provider_reference}</code>`],
      [t("ops-provider-says"), (row) => saidOf(row)],
      [
        t("ops-acts"),
        (row) =>
          row.settled_at === null
            ? html`<${Act} act=${() => settleAct(row, onDone)} small label=${`${t("ops-settle")}: ${row.reservation}`}>${t("ops-settle")}<//>`
            : html`<p><${When} at=${row.settled_at} /></p>
                <${Act} act=${() => reopenAct(row, onDone)} small danger label=${`${t("ops-reopen")}: ${row.reservation}`}>${t("ops-reopen")}<//>`,
      ],
    ]}
  />`;
}

function saidOf(row) {
  if (row.refunded_at) return html`${t("ops-said-refunded")} <${When} at=${row.refunded_at} />`;
  if (row.disputed_at) return html`${t("ops-said-disputed")} <${When} at=${row.disputed_at} />`;
  return "–";
}

const ofRefund = (row, what) =>
  row.exam === null
    ? `/v1/refunds-due/${row.id}/${what}`
    : pathOf(row.exam, `/refunds-due/${row.id}/${what}`);

const aboutRefund = (row) => [
  t("ops-will-money", { amount: money(row.amount, row.currency), reference: row.provider_reference }),
  t("ops-will-money-of", { reservation: row.reservation, why: row.reason }),
];

const settleAct = (row, onDone) => ({
  title: t("ops-settle-title", { amount: money(row.amount, row.currency) }),
  button: t("ops-settle"),
  onDone,
  preview: async () => [
    ...aboutRefund(row),
    t("ops-will-settle"),
    ...(row.reason === "reference-reused" ? [t("ops-ask-provider")] : []),
  ],
  async run(_, reason) {
    await post(withReason(ofRefund(row, "settle"), reason), undefined, { repeatable: true });
    return t("ops-did-settle", { amount: money(row.amount, row.currency) });
  },
});

const reopenAct = (row, onDone) => ({
  title: t("ops-reopen-title", { amount: money(row.amount, row.currency) }),
  button: t("ops-reopen"),
  danger: true,
  onDone,
  preview: async () => [...aboutRefund(row), t("ops-will-reopen")],
  async run(_, reason) {
    await post(ofRefund(row, "reopen"), { reason, settled_at: row.settled_at }, { repeatable: true });
    return t("ops-did-reopen", { amount: money(row.amount, row.currency) });
  },
});

function Unreadable() {
  const { data, error, reload } = useAsked(`/v1/unreadable-payments?limit=${PAGE}`);
  return html`<${Section} title=${t("ops-unreadable")}>
    <p class="soft">${t("ops-unreadable-about")}</p>
    <${Refusal} error=${data ? null : error} />
    <${Table}
      caption=${t("ops-unreadable")}
      rows=${data?.unreadable_payments ?? []}
      empty=${t(data ? "ops-no-unreadable" : error ? "ops-none" : "loading")}
      keyOf=${(row) => row.id}
      columns=${[
        [t("ops-received"), (row) => html`<${When} at=${row.received_at} />`],
        [t("ops-event"), (row) => html`<code>${row.event}</code>`],
        [t("ops-problem"), (row) => html`<span lang="en">${row.problem}</span>`],
        [t("ops-deliveries"), (row) => number(row.deliveries), "number"],
        [t("ops-body"), (row) => html`<details><summary>${t("ops-show")}</summary><pre>${row.body}</pre></details>`],
        [
          t("ops-acts"),
          (row) =>
            row.settled_at === null &&
            html`<${Act} act=${() => handledAct(row, reload)} small label=${`${t("ops-handled")}: ${row.event}`}>${t("ops-handled")}<//>`,
        ],
      ]}
    />
  <//>`;
}

const handledAct = (row, onDone) => ({
  title: t("ops-handled-title"),
  button: t("ops-handled"),
  onDone,
  preview: async () => [t("ops-will-handle", { event: row.event }), t("ops-will-handle-only")],
  async run(_, reason) {
    const path = `/v1/unreadable-payments/${row.id}/settle`;
    await post(withReason(path, reason), undefined, { repeatable: true });
    return t("ops-did-handle", { event: row.event });
  },
});
