// The availability board of an exam: what is left at every venue, live. The stream says what is
// left, what is paused and which release is next; the exam's document says all the rest, and is read
// again when the stream goes by another definition.

import { get, Problem, serverNow, stream } from "../api.js";
import {
  Announcer,
  decoded,
  ErrorNotice,
  html,
  Notice,
  Page,
  show,
  useEffect,
  useLayoutEffect,
  useMemo,
  useReducer,
  useServerTime,
  useState,
} from "../ui.js";
import { about, loadWords, moment, t, text } from "../words.js";
import { Facts } from "./facts.js";
import { Grid } from "./grid.js";
import { Seats } from "./seats.js";
import { Subjects } from "./subjects.js";

const SEARCH_FROM = 12; // venues
const PAUSES_SHOWN = 4;
const REREAD_MS = 1000;
const REGISTER = document.querySelector('meta[name="quota-register"]')?.content ?? "";

const examId = decoded(location.pathname.split("/")[2] ?? "");
const address = `/v1/exams/${encodeURIComponent(examId)}`;

/** What the page knows, and who wants to hear that it is more. */
class Board {
  exam = null;
  seats = null;
  snapshot = null; // without its quotas
  state = "opening"; // then "live", "stale", "lost", "refused"
  error = null;
  redefinitions = 0;
  goodAt = 0; // until when what is shown was the truth, while it is not live
  #revision = null;
  #waiting = []; // events that came while the exam was read
  #isReading = false;
  #tell = () => {};
  #frame = 0;

  constructor() {
    this.#readExam();
    this.stream = stream(`${address}/availability/stream`, {
      onEvent: (name, data) => this.#take(name, data),
      onState: (state, error) => this.#turn(state, error),
    });
  }

  /** Sets what is called when there is something new to show. */
  listen(tell) {
    this.#tell = tell;
  }

  async #readExam() {
    if (this.#isReading) return;
    this.#isReading = true;
    let exam;
    try {
      exam = await get(address, { tries: 1000 });
    } catch (error) {
      this.#turn("refused", error);
      this.stream.close();
      return;
    } finally {
      this.#isReading = false;
    }
    const before = this.seats;
    this.exam = exam;
    this.seats = new Seats(exam);
    if (before) this.#copy(before);
    const waiting = this.#waiting;
    this.#waiting = [];
    let isKnown = true;
    for (const [name, data] of waiting) isKnown = this.#apply(name, data);
    if (!isKnown) setTimeout(() => this.#readExam(), REREAD_MS); // what we got is older
    this.#changed();
  }

  #copy(before) {
    const quotas = before.venues.flatMap((venue, row) =>
      before.subjects.map((subject, column) => ({
        venue: venue.id,
        subject: subject.id,
        remaining: before.remaining[before.at(row, column)],
        capacity: before.capacity[before.at(row, column)],
      })),
    );
    this.seats.takeSnapshot({ as_of: before.asOf, quotas });
  }

  #take(name, data) {
    const isOther = this.#revision !== null && data.revision !== this.#revision;
    const isKnown = this.seats !== null && this.#apply(name, data);
    this.#revision = data.revision;
    if (this.seats !== null && (isOther || !isKnown)) {
      this.redefinitions += 1;
      this.#readExam();
    }
    if (this.#isReading) this.#waiting.push([name, data]);
    this.#changed();
  }

  /** Takes an event on; returns false when it is of another definition than we know. */
  #apply(name, data) {
    let isKnown = true;
    if (name === "snapshot") {
      const { quotas, ...rest } = data;
      this.snapshot = rest;
      isKnown = this.seats.takeSnapshot(data);
      this.state = "live";
    } else if (name === "change") {
      isKnown = this.seats.takeChange(data);
      this.state = "live";
    } else if (name === "stale") {
      this.#markOld("stale", serverNow());
    }
    return isKnown;
  }

  #turn(state, error = null) {
    if (state === "open") {
      this.error = null;
      // A stream that resumes tells only what changed since: until it does, nothing is other.
      if (this.state === "lost" && this.snapshot) this.state = "live";
    } else {
      this.#markOld(state, this.stream.heardAt);
      this.error = error;
    }
    this.#changed();
  }

  #markOld(state, goodAt) {
    if (this.state === "live") this.goodAt = goodAt;
    this.state = state;
  }

  #changed() {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.#tell();
    });
  }
}

function Main({ board }) {
  const [, again] = useReducer((count) => count + 1, 0);
  const [chosen, setChosen] = useState(chosenInAddress);
  const [search, setSearch] = useState("");
  useLayoutEffect(() => board.listen(again), []);
  useEffect(() => rememberInAddress(chosen), [chosen]);

  const { exam, seats, snapshot } = board;
  if (board.state === "refused") return html`<${Refused} error=${board.error} />`;
  if (!exam && board.state === "opening") return html`<p role="status">${t("loading")}</p>`;
  if (!exam) return html`<${OldNotice} board=${board} />`;

  const title = text(exam.title);
  document.title = `${t("board-name")} · ${title}`;
  const pauses = snapshot?.pauses ?? exam.pauses ?? [];
  const known = chosen.filter((id) => seats.subjectAt.has(id));
  return html`
    <div class="row board-top">
      <h1>${title}</h1>
      ${REGISTER &&
      html`<a class="button button-primary" href=${REGISTER.replace("{exam}", examId)}>
        ${t("register")}
      </a>`}
    </div>
    <${OldNotice} board=${board} zone=${exam.time_zone} />
    <${Pauses} pauses=${pauses} seats=${seats} zone=${exam.time_zone} />
    <${Facts} exam=${exam} snapshot=${snapshot} seats=${seats} state=${board.state} />
    <${Announcer}>
      ${board.redefinitions > 0 && t("redefined")}
      ${known.length < chosen.length && t("subject-gone")}
    <//>
    ${snapshot &&
    html`
      <${Subjects} exam=${exam} chosen=${known} onChange=${setChosen} />
      <${Venues}
        board=${board}
        chosen=${known}
        pauses=${pauses}
        search=${search}
        setSearch=${setSearch}
        onClear=${() => setChosen([])}
      />
    `}
  `;
}

function Venues({ board, chosen, pauses, search, setSearch, onClear }) {
  const { seats } = board;
  const wanted = search.trim().toLocaleLowerCase();
  const names = useMemo(
    () => seats.venues.map((venue) => `${text(venue.title)} ${venue.id}`.toLocaleLowerCase()),
    [seats],
  );
  const picked = chosen.map((id) => seats.subjectAt.get(id));
  const columns = picked.length ? picked : seats.subjects.map((_, at) => at);
  const isShown = (venue) => !wanted || names[venue].includes(wanted);
  const marks = markOf(pauses, board.exam.closed ?? []);
  const stateOf = (venue, subject) => marks(seats.venues[venue].id, seats.subjects[subject].id);
  const isStopped = (venue, subject) => stateOf(venue, subject) !== "";
  const { order, withAll } = seats.ranked(picked, isShown, isStopped);
  const venues = order.map((venue) => ({ venue }));
  const rest = order.length - withAll;
  const rows = !picked.length
    ? venues
    : [
        { heading: withAll ? t("with-all", { n: withAll }) : t("with-all-none") },
        ...venues.slice(0, withAll),
        ...(rest ? [{ heading: t("without", { n: rest }) }] : []),
        ...venues.slice(withAll),
      ];
  return html`
    <section class="section">
      <div class="board-tools">
        <h2>${t("venues")}</h2>
        <div class="row">
          ${chosen.length > 0 &&
          html`<button type="button" class="link" onClick=${onClear}>${t("clear")}</button>`}
          ${seats.venues.length >= SEARCH_FROM &&
          html`<label class="field">
            <span class="label">${t("find-venue")}</span>
            <input
              class="input"
              type="search"
              value=${search}
              onInput=${(event) => setSearch(event.target.value)}
            />
          </label>`}
        </div>
      </div>
      ${order.length === 0
        ? html`<p role="status">${t("no-venue")}</p>`
        : html`<${Grid}
            seats=${seats}
            rows=${rows}
            columns=${columns}
            stateOf=${stateOf}
            label=${t("venues")}
            isOld=${board.state !== "live"}
          />`}
    </section>
  `;
}

/** Returns what says of a quota that it is closed for sale or paused. */
function markOf(pauses, closed) {
  const fits = (scopes) => {
    if (!scopes.length) return () => false;
    return (venue, subject) =>
      scopes.some(
        (scope) =>
          (scope.venue ?? venue) === venue && (scope.subject ?? subject) === subject,
      );
  };
  const isClosed = fits(closed);
  const isPaused = fits(pauses.map((pause) => pause.scope));
  return (venue, subject) =>
    (isClosed(venue, subject) && "closed") || (isPaused(venue, subject) && "paused") || "";
}

/** Says that what is shown is old, or that there is nothing to show yet. */
function OldNotice({ board, zone }) {
  const now = useServerTime();
  if (board.state === "live") return null;
  if (!board.snapshot) {
    if (board.state === "opening") return null;
    return html`
      <${Notice} kind="warn" title=${t("none-yet-title")}><p>${t("none-yet")}</p><//>
    `;
  }
  const members = {
    at: moment(board.goodAt, zone, { seconds: true }),
    ago: about((now - board.goodAt) / 1000),
  };
  const isService = board.state === "stale" || board.error instanceof Problem;
  return html`
    <${Notice} kind="warn" title=${t("old-title")} live=${false}>
      <p>${t(isService ? "old" : "old-lost", members)}</p>
    <//>
    <${Announcer}>${t("old-title")}<//>
  `;
}

function Pauses({ pauses, seats, zone }) {
  const nameOf = (list, at, id) => (at.has(id) ? text(list[at.get(id)].title) : id);
  const shown = pauses.slice(0, PAUSES_SHOWN).map((pause) => {
    const { venue, subject } = pause.scope;
    const key = venue && subject ? "quota" : venue ? "venue" : subject ? "subject" : "everywhere";
    const title = t(`pause-${key}`, {
      venue: venue && nameOf(seats.venues, seats.venueAt, venue),
      subject: subject && nameOf(seats.subjects, seats.subjectAt, subject),
    });
    return html`
      <${Notice} key=${`${venue}/${subject}`} kind="warn" title=${title}>
        <p>${pause.reason}</p>
        <p class="soft">${t("pause-since", { at: moment(pause.since, zone) })}</p>
      <//>
    `;
  });
  const more = pauses.length - shown.length;
  return html`${shown}${more > 0 && html`<p>${t("pauses-more", { n: more })}</p>`}`;
}

function Refused({ error }) {
  const [exams, setExams] = useState([]);
  const isUnknown = error.slug === "unknown-exam" || error.slug === "not-found";
  useEffect(() => {
    if (!isUnknown) return;
    get("/v1/exams?limit=20").then(
      (list) => setExams(list.exams),
      () => {},
    );
  }, []);
  if (error.slug === "exam-archived") {
    return html`<${Notice} title=${t("archived-title")}><p>${t("archived")}</p><//>`;
  }
  if (!isUnknown) return html`<${ErrorNotice} error=${error} />`;
  return html`
    <h1>${t("unknown-title", { exam: examId })}</h1>
    <p>${t(exams.length ? "unknown" : "unknown-none")}</p>
    <ul>
      ${exams.map(
        (exam) => html`
          <li key=${exam.id}>
            <a href=${`/exams/${exam.id}`}>${text(exam.title)}</a> <span class="soft">${exam.id}</span>
          </li>
        `,
      )}
    </ul>
  `;
}

function chosenInAddress() {
  const asked = new URLSearchParams(location.search).get("subjects") ?? "";
  return asked.split(",").filter(Boolean);
}

function rememberInAddress(chosen) {
  const url = new URL(location.href);
  if (chosen.length) url.searchParams.set("subjects", chosen.join(","));
  else url.searchParams.delete("subjects");
  history.replaceState(null, "", url);
}

const board = new Board(); // the service is asked while the words are read
await loadWords("board");
show(html`<${Page} name=${t("board-name")}><${Main} board=${board} /><//>`);
