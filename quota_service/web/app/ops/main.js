// The board of ops: the day of an exam on one screen, and what ops do to it. The key they sign in with
// is kept in the memory of this page, and is gone when it is closed or loaded again.

import { get, setCredential } from "../api.js";
import { decoded, ErrorNotice, html, Notice, Page, render, useCallback, useEffect, useMemo, useState } from "../ui.js";
import { loadWords, t, text } from "../words.js";
import { ActDialog } from "./act.js";
import { Candidate } from "./candidate.js";
import { Day } from "./day.js";
import { isOfKey, pathOf, useAsked, useLoad, useSeats } from "./feeds.js";
import { List } from "./list.js";
import { Log } from "./log.js";
import { Money } from "./money.js";
import { Noon } from "./noon.js";
import { Ops, Refusal, scopeOf, useOps } from "./parts.js";
import { Venues } from "./venues.js";
import { Webhooks } from "./webhooks.js";

const VIEWS = [
  ["noon", Noon],
  ["day", Day],
  ["venues", Venues],
  ["list", List],
  ["money", Money],
  ["candidate", Candidate],
  ["webhooks", Webhooks],
  ["log", Log],
];

await loadWords("ops");
document.title = t("ops-name");
const root = document.getElementById("page");
root.replaceChildren();
render(html`<${App} />`, root);

function App() {
  const [exams, know] = useState([]);
  const [exam, open] = useState(null);
  const [isOver, setOver] = useState(false);
  const signOut = useCallback((isRefused) => {
    setCredential("");
    setOver(isRefused === true);
    open(null);
  }, []);
  if (exam === null) {
    const signIn = (id, found) => {
      know(found);
      open(found.find((each) => each.id === id));
    };
    return html`<${SignIn} isOver=${isOver} onSignIn=${signIn} />`;
  }
  return html`<${Board} key=${exam.id} first=${exam} exams=${exams} onSignOut=${signOut} onOpen=${open} />`;
}

function SignIn({ isOver, onSignIn }) {
  const [exams, setExams] = useState(null);
  const [error, setError] = useState(null);
  const [refused, setRefused] = useState(null);
  const asked = new URLSearchParams(location.search).get("exam");
  useEffect(() => {
    get("/v1/exams").then((found) => setExams(found.exams), setError);
  }, []);
  const submit = async (event) => {
    event.preventDefault();
    const { exam, key } = event.target.elements;
    setCredential(key.value.trim());
    try {
      await get(pathOf(exam.value, "/load"), { tries: 1 });
      onSignIn(exam.value, exams);
    } catch (caught) {
      if (caught.status === 503) return onSignIn(exam.value, exams); // a store is away, not the key
      setCredential("");
      setRefused(caught);
    }
    return undefined;
  };
  return html`<${Page} name=${t("ops-name")}>
    <div class="narrow">
      <h1>${t("ops-sign-in")}</h1>
      ${isOver && html`<${Notice} kind="warn" title=${t("ops-key-over")} />`}
      <${ErrorNotice} error=${error} />
      ${exams &&
      html`<form onSubmit=${submit}>
        <label class="field">
          <span class="label">${t("ops-exam")}</span>
          <select class="input" name="exam">
            ${exams.map(
              (each) => html`<option value=${each.id} selected=${each.id === asked}>
                ${text(each.title)} (${each.id})
              </option>`,
            )}
          </select>
        </label>
        <label class="field">
          <span class="label">${t("ops-key")}</span>
          <span class="hint">${t("ops-key-hint")}</span>
          <input class="input" name="key" type="password" autocomplete="off" required />
        </label>
        ${refused &&
        html`<${Refusal} error=${refused} title=${t(isOfKey(refused) ? "ops-key-wrong" : "failed-title")} />`}
        <button class="button button-primary">${t("ops-sign-in")}</button>
      </form>`}
    </div>
  <//>`;
}

function Board({ first, exams, onSignOut, onOpen }) {
  const asked = useAsked(pathOf(first.id));
  const exam = asked.data ?? first;
  const load = useLoad(exam.id);
  const seats = useSeats(exam.id);
  const [act, ask] = useState(null);
  const [view, at] = useView();
  useEffect(() => {
    if (isOfKey(load.error)) onSignOut(true);
  }, [load.error]);
  const ops = { exam, load, seats, ask, view: at };
  const close = useCallback(() => {
    ask(null);
    asked.reload();
    load.reload();
  }, []);
  const [name, View] = view;
  useEffect(() => {
    const current = document.querySelector(".views [aria-current]");
    current?.scrollIntoView({ block: "nearest", inline: "center" });
    document.title = `${t(`ops-view-${name}`)} · ${text(exam.title)} · ${t("ops-name")}`;
  }, [name, exam.id]);
  return html`<${Ops.Provider} value=${ops}>
    <${Page} name=${t("ops-name")} links=${html`<${Links} exams=${exams} exam=${exam} onOpen=${onOpen} onSignOut=${onSignOut} />`}>
      <nav class="views" aria-label=${t("ops-views")}>
        ${VIEWS.map(
          ([each]) => html`<a href=${`#${each}`} aria-current=${each === name ? "page" : undefined}>
            ${t(`ops-view-${each}`)}
          </a>`,
        )}
      </nav>
      <${Standing} />
      <h1 class="unseen">${t(`ops-view-${name}`)}</h1>
      <${View} key=${name} />
      ${act && html`<${act.dialog ?? ActDialog} act=${act} onClose=${close} />`}
    <//>
  <//>`;
}

function Links({ exams, exam, onOpen, onSignOut }) {
  return html`<label class="masthead-exam">
      <span class="unseen">${t("ops-exam")}</span>
      <select onChange=${(event) => onOpen(exams.find((each) => each.id === event.target.value))}>
        ${exams.map(
          (each) => html`<option value=${each.id} selected=${each.id === exam.id}>${text(each.title)}</option>`,
        )}
      </select>
    </label>
    <button type="button" class="link" onClick=${onSignOut}>${t("ops-sign-out")}</button>`;
}

/** What everybody has to know on every view: that what is shown is old, what is paused, what lags. */
function Standing() {
  const { exam, load } = useOps();
  const { data, error, isStale } = load;
  const reports = data?.waiting_room?.signals.filter((each) => each.measures) ?? [];
  return html`
    ${error &&
    html`<${Refusal} error=${error} title=${t(isStale || !data ? "ops-no-load" : "ops-load-late")} />`}
    ${(exam.pauses ?? []).map(
      (each) => html`<${Notice} kind="warn" title=${t("ops-paused-now", { scope: scopeOf(exam, each.scope) })}>
        ${each.reason}
      <//>`,
    )}
    ${data?.waiting_room?.paused &&
    !(exam.pauses ?? []).some((each) => !each.scope.venue && !each.scope.subject) &&
    html`<${Notice} kind="warn" title=${t("ops-room-paused-now")} />`}
    ${data?.waiting_room &&
    data.waiting_room.phase !== "closed" &&
    !reports.length &&
    html`<${Notice} kind="error" title=${t("ops-no-reports")} />`}
    ${data?.journal_entries > 5000 &&
    html`<${Notice} kind="warn" title=${t("ops-journal-lags", { n: data.journal_entries })} />`}
  `;
}

/** The view that the address names, and what it says beside it: `#candidate/c-1`. */
function useView() {
  const read = () => location.hash.slice(1).split("/").map(decoded);
  const [at, set] = useState(read);
  useEffect(() => {
    const changed = () => {
      set(read());
      document.getElementById("content")?.focus();
    };
    addEventListener("hashchange", changed);
    return () => removeEventListener("hashchange", changed);
  }, []);
  const view = useMemo(() => VIEWS.find(([name]) => name === at[0]) ?? VIEWS[0], [at[0]]);
  return [view, at.slice(1).join("/")];
}
