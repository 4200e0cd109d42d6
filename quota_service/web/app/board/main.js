// The availability board of an exam: what is left at every venue, live.

import { get } from "../api.js";
import { ErrorNotice, html, Page, show } from "../ui.js";
import { loadWords, t, text } from "../words.js";

const examId = decodeURIComponent(location.pathname.split("/")[2]);

await loadWords("board");
try {
  const exam = await get(`/v1/exams/${encodeURIComponent(examId)}`);
  document.title = `${t("board-name")} · ${text(exam.title)}`;
  show(html`<${Page} name=${t("board-name")}><h1>${text(exam.title)}</h1><//>`);
} catch (error) {
  show(html`<${Page} name=${t("board-name")}><${ErrorNotice} error=${error} /><//>`);
}
