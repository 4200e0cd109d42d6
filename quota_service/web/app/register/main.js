// The registration page: signs in, then lists the exams or registers for the one in the address.

import { ExamList } from "./exam_list.js";
import { Registration } from "./registration.js";
import { currentSession, signIn, signOut } from "./session.js";
import { decoded, html, Page, show, useEffect, useState } from "../ui.js";
import { loadAdvice, loadWords, t } from "../words.js";

const NAME_MAX = 40;

function SignIn({ onSigned }) {
  const [name, setName] = useState("");
  const submit = async (event) => {
    event.preventDefault();
    onSigned(await signIn(name));
  };
  return html`<form class="panel narrow" onSubmit=${submit}>
    <h1>${t("sign-in.title")}</h1>
    <p>${t("sign-in.text")}</p>
    <label class="field">
      <span class="label">${t("sign-in.name")}</span>
      <input
        class="input"
        name="name"
        autocomplete="nickname"
        maxlength=${NAME_MAX}
        required
        value=${name}
        onInput=${(event) => setName(event.target.value)}
      />
    </label>
    <button class="button button-primary" type="submit">${t("sign-in.do")}</button>
  </form>`;
}

function App() {
  const [session, setSession] = useState(undefined);
  useEffect(() => {
    currentSession().then(setSession);
  }, []);
  const exam = location.pathname.match(/^\/exams\/([^/]+)\/register$/)?.[1];
  const leave = async () => {
    await signOut();
    setSession(null);
  };
  const links =
    session &&
    html`<a href="/">${t("exams.title")}</a>
      <button type="button" class="link" onClick=${leave}>
        ${t("sign-out", { name: session.name })}
      </button>`;
  let content = html`<p class="soft">${t("loading")}</p>`;
  if (session === null) content = html`<${SignIn} onSigned=${setSession} />`;
  else if (session && exam)
    content = html`<${Registration} exam=${decoded(exam)} session=${session} />`;
  else if (session) content = html`<${ExamList} session=${session} />`;
  return html`<${Page} name=${t("page-name")} links=${links}>${content}<//>`;
}

await Promise.all([loadWords("register"), loadAdvice()]);
document.title = t("page-title");
show(html`<${App} />`);
