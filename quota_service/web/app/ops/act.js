// The dialog of an act: what to do, why, and what it will do before it is done.
//
// An act is { title, fields, preview, button, danger, isPublic, run }. `preview(values)` resolves to
// lines that say what it will do with these values, or to { lines, stop } where it cannot be done.
// `run(values, reason, tell)` does it and resolves to what was done; `tell` shows how far it is.

import {
  Dialog,
  html,
  Notice,
  useEffect,
  useLayoutEffect,
  useMemo,
  useRef,
  useState,
} from "../ui.js";
import { t } from "../words.js";
import { Refusal } from "./parts.js";

const REASON_MAX = 500;
const SETTLED_MS = 250; // after the last change of a field the preview is made

export function ActDialog({ act, onClose }) {
  const [values, change] = useState(() =>
    Object.fromEntries((act.fields ?? []).map(({ name, value = "" }) => [name, value])),
  );
  const [reason, setReason] = useState("");
  const [state, set] = useState({ is: "asking" });
  const preview = usePreview(act, values);
  // Where a store is away nobody can say what it will do, and it may be just what is needed.
  const isSeen = Boolean(preview.error) || (preview.lines && !preview.stop);
  const isReady = reason.trim() && isSeen && state.is === "asking";

  const submit = async (event) => {
    event.preventDefault();
    if (!isReady) return;
    set({ is: "doing" });
    try {
      const done = await act.run(values, reason.trim(), (progress) => set({ is: "doing", progress }));
      set({ is: "done", done });
      act.onDone?.();
    } catch (error) {
      set({ is: "asking", error });
    }
  };

  return html`<${Dialog} title=${act.title} onClose=${onClose}>
    ${state.is === "done"
      ? html`<${Done} text=${state.done} onClose=${onClose} />`
      : html`<form onSubmit=${submit} aria-busy=${state.is === "doing"}>
          ${(act.fields ?? []).map(
            (field, place) => html`<${Field}
              ...${field}
              autofocus=${place === 0}
              value=${values[field.name]}
              onChange=${(value) => change((all) => ({ ...all, [field.name]: value }))}
            />`,
          )}
          <label class="field">
            <span class="label">${t("ops-reason")}</span>
            <span class="hint">${t(act.isPublic ? "ops-reason-public" : "ops-reason-hint")}</span>
            <input
              class="input"
              name="reason"
              autofocus=${!act.fields?.length}
              required
              autocomplete="off"
              maxlength=${REASON_MAX}
              value=${reason}
              onInput=${(event) => setReason(event.target.value)}
            />
          </label>
          <${Preview} preview=${preview} />
          <${Refusal} error=${state.error} />
          ${state.progress && html`<p role="status">${state.progress}</p>`}
          <div class="row">
            <button
              class=${`button ${act.danger ? "button-danger" : "button-primary"}`}
              aria-disabled=${!isReady}
            >
              ${state.is === "doing" ? t("ops-doing") : act.button}
            </button>
            <button type="button" class="button" onClick=${onClose}>${t("cancel")}</button>
          </div>
        </form>`}
  <//>`;
}

function Done({ text, onClose }) {
  const button = useRef(null);
  useLayoutEffect(() => button.current.focus(), []);
  return html`<${Notice} kind="ok" title=${t("ops-done")}>
      ${[text].flat().map((line) => html`<p>${line}</p>`)}
    <//>
    <button type="button" class="button button-primary" ref=${button} onClick=${onClose}>
      ${t("close")}
    </button>`;
}

function Preview({ preview }) {
  const lines = preview.lines ?? [];
  return html`<div class=${`preview ${preview.stop ? "preview-stop" : ""}`} aria-live="polite">
    <h3>${t("ops-preview")}</h3>
    ${preview.error
      ? html`<${Refusal} error=${preview.error} title=${t("ops-no-preview")} />`
      : html`<ul>
          ${lines.map((line) => html`<li>${line}</li>`)}
          ${!lines.length && html`<li class="soft">${t("loading")}</li>`}
        </ul>`}
  </div>`;
}

/** What the act will do with the values of now; without lines while it is being found out. */
function usePreview(act, values) {
  const [preview, set] = useState({});
  const key = useMemo(() => JSON.stringify(values), [values]);
  useEffect(() => {
    let isOver = false;
    const timer = setTimeout(
      async () => {
        try {
          const found = await act.preview(values);
          if (!isOver) set({ key, ...(Array.isArray(found) ? { lines: found } : found) });
        } catch (error) {
          if (!isOver) set({ key, error });
        }
      },
      preview.key === undefined ? 0 : SETTLED_MS,
    );
    return () => {
      isOver = true;
      clearTimeout(timer);
    };
  }, [act, key]);
  return preview.key === key ? preview : {};
}

/** A field: of kind text, number, select, check or time. */
function Field({ kind = "text", name, label, hint, options, value, onChange, ...more }) {
  if (kind === "check") {
    return html`<p>
      <label class="choice">
        <input type="checkbox" name=${name} ...${more} checked=${value} onChange=${(e) => onChange(e.target.checked)} />
        ${label}
      </label>
    </p>`;
  }
  return html`<label class="field">
    <span class="label">${label}</span>
    ${hint && html`<span class="hint">${hint}</span>`}
    ${kind === "select"
      ? html`<select class="input" name=${name} ...${more} value=${value} onChange=${(e) => onChange(e.target.value)}>
          ${options.map(([id, words]) => html`<option value=${id} selected=${id === value}>${words}</option>`)}
        </select>`
      : html`<input
          class="input"
          name=${name}
          type=${{ number: "number", time: "datetime-local" }[kind] ?? "text"}
          autocomplete="off"
          value=${value}
          onInput=${(e) => onChange(e.target.value)}
          ...${more}
        />`}
  </label>`;
}
