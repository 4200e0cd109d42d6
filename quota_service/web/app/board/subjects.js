// The choice of subjects: one of each session, as buttons where they are few, else as lists.

import { html } from "../ui.js";
import { t, text } from "../words.js";

const BUTTONS_MAX = 12;

/** `chosen` are ids of subjects; `onChange` gets the new ones, in the exam's order. */
export function Subjects({ exam, chosen, onChange }) {
  const choose = (session, id) => {
    const others = chosen.filter((each) => sessionOf(exam, each) !== session);
    const picked = new Set(id ? [...others, id] : others);
    onChange(exam.subjects.map((subject) => subject.id).filter((each) => picked.has(each)));
  };
  const Choice = exam.subjects.length <= BUTTONS_MAX ? Buttons : List;
  return html`
    <section class="section">
      <h2>${t("choose")}</h2>
      <p class="soft">${t("choose-hint")}</p>
      <div class="subjects">
        ${exam.sessions.map((session) => {
          const subjects = exam.subjects.filter((subject) => subject.session === session.id);
          return html`<${Choice}
            key=${session.id}
            session=${session}
            subjects=${subjects}
            chosen=${subjects.find((subject) => chosen.includes(subject.id))?.id ?? ""}
            onChoose=${(id) => choose(session.id, id)}
          />`;
        })}
      </div>
    </section>
  `;
}

function sessionOf(exam, id) {
  return exam.subjects.find((subject) => subject.id === id)?.session;
}

/** Checkboxes of which at most one is checked: what was chosen can be given up again. */
function Buttons({ session, subjects, chosen, onChoose }) {
  return html`
    <fieldset>
      <legend>${text(session.title)}</legend>
      ${subjects.map(
        (subject) => html`
          <label class="choice" key=${subject.id}>
            <input
              type="checkbox"
              checked=${subject.id === chosen}
              onChange=${() => onChoose(subject.id === chosen ? "" : subject.id)}
            />
            <span>${text(subject.title)}</span>
          </label>
        `,
      )}
    </fieldset>
  `;
}

function List({ session, subjects, chosen, onChoose }) {
  return html`
    <label class="field">
      <span class="label">${text(session.title)}</span>
      <select class="input" value=${chosen} onChange=${(event) => onChoose(event.target.value)}>
        <option value="">${t("no-subject")}</option>
        ${subjects.map(
          (subject) => html`<option key=${subject.id} value=${subject.id}>${text(subject.title)}</option>`,
        )}
      </select>
    </label>
  `;
}
