// One candidate: found by id, reservation or payment reference, with its whole story and what can be
// done for it.

import { get, post } from "../api.js";
import { html, Notice, useEffect, useState } from "../ui.js";
import { money, number, t } from "../words.js";
import { extendAct } from "./day-acts.js";
import { pathOf, useAsked } from "./feeds.js";
import { RefundTable } from "./money.js";
import { Act, Refusal, Section, Table, titleOf, useOps, When, wordsFor } from "./parts.js";

const RESERVATION = /^[a-z0-9-]+\.\d+\.[a-z0-9]+$/;

export function Candidate() {
  const { exam, view } = useOps();
  const [found, set] = useState({});
  useEffect(() => {
    if (!view) return undefined;
    let isOver = false;
    set({ of: view });
    search(exam.id, view).then(
      (hits) => isOver || set({ of: view, ...hits }),
      (error) => isOver || set({ of: view, error }),
    );
    return () => {
      isOver = true;
    };
  }, [exam.id, view]);
  const submit = (event) => {
    event.preventDefault();
    const sought = event.target.elements.sought.value.trim();
    if (sought) location.hash = `candidate/${encodeURIComponent(sought)}`;
  };
  return html`
    <${Section} title=${t("ops-view-candidate")}>
      <form class="row" role="search" onSubmit=${submit} key=${view}>
        <label class="field grow">
          <span class="label">${t("ops-sought")}</span>
          <input class="input" name="sought" type="search" autocomplete="off" spellcheck=${false} defaultValue=${view} />
        </label>
        <button class="button button-primary">${t("ops-search")}</button>
      </form>
      <${Refusal} error=${found.error} />
      ${found.elsewhere?.length > 0 &&
      html`<${Notice} title=${t("ops-found-elsewhere")}>
        ${found.elsewhere.map((each) => html`<p><code>${each.id}</code> ${each.candidate}</p>`)}
      <//>`}
      ${found.candidates?.length > 1 &&
      html`<ul>${found.candidates.map(
        (each) => html`<li><a href=${`#candidate/${encodeURIComponent(each)}`}>${each}</a></li>`,
      )}</ul>`}
    <//>
    ${found.candidates?.length === 1 && html`<${Story} candidate=${found.candidates[0]} />`}
  `;
}

/** The candidates of the exam that are meant, and reservations of other exams that were found. */
async function search(exam, sought) {
  const find = async (name) =>
    (await get(`/v1/reservations?${new URLSearchParams({ [name]: sought, exam })}`, { tries: 2 })).reservations;
  const hits = RESERVATION.test(sought) ? await find("reservation") : await find("reference");
  if (hits.length) {
    const ours = hits.filter((each) => each.exam === exam);
    return {
      candidates: [...new Set(ours.map((each) => each.candidate))],
      elsewhere: hits.filter((each) => each.exam !== exam),
    };
  }
  return { candidates: RESERVATION.test(sought) ? [] : [sought] };
}

function Story({ candidate }) {
  const { exam } = useOps();
  const { data, error, reload } = useAsked(pathOf(exam.id, `/candidates/${encodeURIComponent(candidate)}`), 3000);
  const query = new URLSearchParams({ exam: exam.id, candidate });
  const acts = useAsked(`/v1/ops-actions?${query}`, 5000);
  if (!data) return html`<${Refusal} error=${error} />${!error && html`<p>${t("loading")}</p>`}`;
  const isUnknown = !data.reservations.length && !data.waiting_list.length && !data.refusals.length;
  return html`
    <${Section} title=${candidate}>
      <p>
        ${data.registered
          ? html`<span class="tag tag-ok">${t("ops-registered")}</span>`
          : html`<span class="tag">${t("ops-not-registered")}</span>`}
        ${data.refund_used && html` <span class="tag tag-few">${t("ops-refund-used")}</span>`}
      </p>
      ${isUnknown && html`<${Notice} title=${t("ops-candidate-unknown")} />`}
      ${data.reservations.map(
        (each) => html`<${Reservation} key=${each.id} reservation=${each} onDone=${reload} />`,
      )}
    <//>
    <${Section} title=${t("ops-view-list")}>
      <${Table}
        caption=${t("ops-view-list")}
        rows=${data.waiting_list}
        empty=${t("ops-none")}
        columns=${[
          [t("ops-id"), (row) => html`<code>${row.id}</code>`],
          [t("ops-state"), (row) => wordsFor("ops-entry-", row.state)],
          [t("ops-subjects"), (row) => row.subjects.map((id) => titleOf(exam.subjects, id)).join(", ")],
          [t("ops-venues"), (row) => row.venues.map((id) => titleOf(exam.venues, id)).join(", ")],
        ]}
      />
    <//>
    <${Section} title=${t("ops-refused-today")}>
      <${Table}
        caption=${t("ops-refused-today")}
        rows=${data.refusals}
        empty=${t("ops-no-refusals")}
        columns=${[
          [t("ops-last-at"), (row) => html`<${When} at=${row.last_at} />`],
          [t("ops-slug"), (row) => html`<code>${row.slug}</code>`],
          [t("ops-times"), (row) => number(row.count), "number"],
          [t("ops-reservation"), (row) => row.reservation && html`<code>${row.reservation}</code>`],
          [t("ops-by-key"), (row) => html`<code>${row.key_id}</code>`],
          [t("ops-request"), (row) => html`<code>${row.request_id}</code>`],
        ]}
      />
    <//>
    <${Section} title=${t("ops-what-ops-did")}>
      <${ActTable} rows=${[...(acts.data?.ops_actions ?? [])].reverse()} />
    <//>
  `;
}

const STATE_TAGS = { confirmed: "tag-ok", held: "tag-few", confirming: "tag-few" };

function Reservation({ reservation, onDone }) {
  const { exam } = useOps();
  const { id, state, payment } = reservation;
  const dues = useAsked(pathOf(exam.id, `/refunds-due?${new URLSearchParams({ reservation: id })}`));
  const venue = titleOf(exam.venues, reservation.venue);
  const refresh = () => {
    onDone();
    dues.reload();
  };
  return html`<article class="panel">
    <h3>
      ${venue} · ${reservation.subjects.map((each) => titleOf(exam.subjects, each)).join(", ")}
      ${" "}<span class=${`tag ${STATE_TAGS[state] ?? ""}`}>${t(`ops-state-${state}`)}</span>
    </h3>
    <p>
      <code>${id}</code> · ${money(reservation.amount, reservation.currency)}
      ${["held", "confirming"].includes(state) && html` · ${t("ops-deadline")} <${When} at=${reservation.deadline} />`}
      ${payment && html` · ${t("ops-payment")} <code>${payment.provider_reference}</code> (${payment.outcome})`}
    </p>
    <div class="row acts">
      ${state === "held" &&
      html`<${Act} act=${() => extendAct(exam, {}, reservation)} small>${t("ops-extend")}…<//>
        <${Act} act=${() => paidAct(reservation, refresh)} small>${t("ops-mark-paid")}…<//>
        <${Act} act=${() => giveBackAct(reservation, refresh)} small danger>${t("ops-give-back")}…<//>`}
      ${["held", "confirmed"].includes(state) &&
      html`<${Act} act=${() => moveAct(exam, reservation, refresh)} small>${t("ops-move")}…<//>`}
      ${state === "confirmed" &&
      html`<${Act} act=${() => refundAct(reservation, refresh)} small danger>${t("ops-refund")}…<//>`}
    </div>
    <ol class="story">
      ${reservation.history.map(
        (step) => html`<li>
          <${When} at=${step.at} /> <b>${wordsFor("ops-step-", step.step)}</b> → ${t(`ops-state-${step.state}`)} ·
          ${" "}${titleOf(exam.venues, step.venue)} <span class="soft">${step.key_id ?? "?"}</span>
        </li>`,
      )}
    </ol>
    ${dues.data?.refunds_due.length > 0 &&
    html`<${RefundTable} rows=${dues.data.refunds_due} empty="" onDone=${refresh} />`}
  </article>`;
}

/** What ops did, as a table. */
export function ActTable({ rows }) {
  return html`<${Table}
    caption=${t("ops-what-ops-did")}
    rows=${rows}
    empty=${t("ops-none")}
    keyOf=${(row) => row.id}
    columns=${[
      [t("ops-at"), (row) => html`<${When} at=${row.at} />`],
      [t("ops-act"), (row) => html`<code>${row.action}</code>`],
      [t("ops-scope"), (row) => html`<code>${row.subject}</code>`],
      [t("ops-reason"), (row) => row.reason],
      [t("ops-outcome"), (row) => html`<code>${row.outcome ?? "?"}</code>`],
      [t("ops-by-key"), (row) => html`<code>${row.key_id}</code>`],
    ]}
  />`;
}

const of = (reservation, what) => `/v1/reservations/${encodeURIComponent(reservation.id)}/${what}`;
const about = (reservation) =>
  t("ops-will-of", { candidate: reservation.candidate, reservation: reservation.id });

const paidAct = (reservation, onDone) => ({
  title: t("ops-mark-paid"),
  button: t("ops-mark-paid"),
  onDone,
  fields: [{ name: "reference", label: t("ops-reference"), hint: t("ops-reference-hint"), value: "" }],
  async preview({ reference }) {
    if (!reference.trim()) return { lines: [t("ops-needs-reference")], stop: true };
    const amount = money(reservation.amount, reservation.currency);
    return [about(reservation), t("ops-will-mark-paid", { amount })];
  },
  async run({ reference }, reason) {
    const done = await post(of(reservation, "mark-paid"), { reason, reference: reference.trim() }, { repeatable: true });
    return t("ops-did-mark-paid", { outcome: done.outcome });
  },
});

const giveBackAct = (reservation, onDone) => ({
  title: t("ops-give-back"),
  button: t("ops-give-back"),
  danger: true,
  onDone,
  preview: async () => [about(reservation), t("ops-will-give-back", { n: reservation.subjects.length })],
  async run(_, reason) {
    await post(of(reservation, "release"), { reason }, { repeatable: true });
    return t("ops-did-give-back");
  },
});

const moveAct = (exam, reservation, onDone) => ({
  title: t("ops-move"),
  button: t("ops-move"),
  onDone,
  fields: [
    {
      name: "venue",
      label: t("ops-venue"),
      kind: "select",
      options: exam.venues
        .filter((each) => each.id !== reservation.venue)
        .map((each) => [each.id, titleOf(exam.venues, each.id)]),
      value: exam.venues.find((each) => each.id !== reservation.venue)?.id,
    },
  ],
  async preview({ venue }) {
    const subjects = reservation.subjects.join(",");
    const left = await get(pathOf(exam.id, `/availability?${new URLSearchParams({ subjects })}`));
    const there = left.quotas.filter((each) => each.venue === venue);
    const of = (id) => there.find((each) => each.subject === id)?.remaining ?? 0;
    const names = { from: titleOf(exam.venues, reservation.venue), to: titleOf(exam.venues, venue) };
    return {
      lines: [
        about(reservation),
        t("ops-will-move", names),
        ...reservation.subjects.map((id) =>
          t("ops-will-move-seats", { subject: titleOf(exam.subjects, id), n: of(id) }),
        ),
      ],
      stop: reservation.subjects.some((id) => of(id) < 1),
    };
  },
  async run({ venue }, reason) {
    await post(of(reservation, "move"), { reason, venue }, { repeatable: true });
    return t("ops-did-move-one", { venue: titleOf(exam.venues, venue) });
  },
});

const refundAct = (reservation, onDone) => ({
  title: t("ops-refund"),
  button: t("ops-refund"),
  danger: true,
  onDone,
  async preview() {
    const amount = money(reservation.amount, reservation.currency);
    return [about(reservation), t("ops-will-refund", { amount, n: reservation.subjects.length })];
  },
  async run(_, reason) {
    await post(of(reservation, "ops-refund"), { reason }, { repeatable: true });
    return t("ops-did-refund");
  },
});
