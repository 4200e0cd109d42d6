// Choosing an exam: each with its window, and whether this candidate has registered.

import { apiFor } from "./shown.js";
import { get } from "../api.js";
import { ErrorNotice, html, useEffect, useServerTime, useState } from "../ui.js";
import { moment, t, text } from "../words.js";

function ExamPanel({ exam, session }) {
  const [isRegistered, setRegistered] = useState(undefined);
  const now = useServerTime();
  useEffect(() => {
    const path = `/v1/exams/${exam.id}/candidates/${session.candidate}`;
    const know = (view) => setRegistered(view.registered);
    apiFor(exam.id).get(path).then(know, () => setRegistered(undefined));
  }, [exam.id, session.candidate]);
  const { opens_at, closes_at } = exam.registration;
  let phase = now < Date.parse(opens_at) ? "before" : "open";
  if (now >= Date.parse(closes_at)) phase = "closed";
  const at = moment(phase === "before" ? opens_at : closes_at, exam.time_zone);
  return html`<li class="panel">
    <h2>${text(exam.title)}</h2>
    <p>
      ${isRegistered !== undefined &&
      html`<span class=${isRegistered ? "tag tag-ok" : "tag"}>
        ${t(isRegistered ? "exams.registered" : "exams.not-registered")}
      </span>`}
      <span class="soft"> ${t(`exams.${phase}`, { at })}</span>
    </p>
    <p class="row">
      <a class="button button-primary" href=${`/exams/${exam.id}/register`}>
        ${t(isRegistered ? "exams.look" : "exams.register")}
      </a>
      <a class="button" href=${`/exams/${exam.id}`}>${t("exams.board")}</a>
    </p>
  </li>`;
}

export function ExamList({ session }) {
  const [found, setFound] = useState({ exams: null, error: null });
  useEffect(() => {
    get("/v1/exams").then(
      ({ exams }) => setFound({ exams, error: null }),
      (error) => setFound({ exams: [], error }),
    );
  }, []);
  if (found.exams === null) return html`<p class="soft">${t("loading")}</p>`;
  return html`<h1>${t("exams.title")}</h1>
    <${ErrorNotice} error=${found.error} />
    <ul class="plain">
      ${found.exams.map(
        (exam) => html`<${ExamPanel} key=${exam.id} exam=${exam} session=${session} />`,
      )}
    </ul>
    ${found.exams.length === 0 && !found.error && html`<p>${t("exams.none")}</p>`}`;
}
