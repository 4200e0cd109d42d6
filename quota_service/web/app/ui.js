// What pages are built of: Preact with htm, and the few parts that every page has.

import {
  createContext,
  h,
  html,
  render,
  useCallback,
  useContext,
  useEffect,
  useLayoutEffect,
  useMemo,
  useReducer,
  useRef,
  useState,
} from "../vendor/preact.js";
import { NoAnswer, serverNow } from "./api.js";
import { advice, chooseLanguage, countdown, t } from "./words.js";

export {
  createContext,
  h,
  html,
  render,
  useCallback,
  useContext,
  useEffect,
  useLayoutEffect,
  useMemo,
  useReducer,
  useRef,
  useState,
};

/** Shows a page in the document in place of what it was loaded with. */
export function show(page) {
  const root = document.getElementById("page");
  root.replaceChildren();
  render(page, root);
}

/** A page: its name on top with the other language, its content below. */
export function Page({ name, links, children }) {
  return html`
    <a class="skip" href="#content">${t("skip")}</a>
    <header class="masthead">
      <div class="masthead-inner">
        <span class="masthead-name">${name}</span>
        <nav class="masthead-links">
          ${links}
          <button
            type="button"
            class="link"
            lang=${t("other-language-tag")}
            onClick=${() => chooseLanguage(t("other-language-tag"))}
          >
            ${t("other-language")}
          </button>
        </nav>
      </div>
    </header>
    <main id="content" class="content" tabindex="-1">${children}</main>
  `;
}

/** A notice: `kind` is info, ok, warn or error. An error is read out at once, others politely. */
export function Notice({ kind = "info", title, children, live = true }) {
  const role = live ? (kind === "error" ? "alert" : "status") : undefined;
  return html`
    <div class=${`notice notice-${kind}`} role=${role}>
      ${title && html`<p class="notice-title">${title}</p>`}
      ${children && html`<div class="notice-text">${children}</div>`}
    </div>
  `;
}

/** What went wrong, in words that say what to do next; nothing without an error. */
export function ErrorNotice({ error, children }) {
  if (!error) return null;
  return html`
    <${Notice} kind="error" title=${t("failed-title")}>
      <p>${wordsOf(error)}</p>
      ${children}
    <//>
  `;
}

/** The words for an error of `api.js`. */
export function wordsOf(error) {
  if (error instanceof NoAnswer) return t("no-answer");
  return advice(error.slug) ?? (error.status >= 500 ? t("no-answer") : error.message);
}

/** A part of an address as it was meant; one that is not encoded as addresses are stays as it is. */
export function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** The time that is left until a moment by the server's clock; calls `onOver` once when it comes. */
export function Countdown({ until, onOver }) {
  const at = typeof until === "number" ? until : Date.parse(until);
  const left = at - useServerTime();
  const over = useRef(0);
  useEffect(() => {
    if (left > 0 || over.current === at) return;
    over.current = at;
    onOver?.();
  }, [left > 0, at]);
  return html`<span class="countdown" role="timer">${countdown(left)}</span>`;
}

/** The server's time in milliseconds, renewed on each of its seconds. */
export function useServerTime() {
  const [now, tick] = useState(serverNow);
  useEffect(() => {
    let timer = 0;
    const next = () => {
      tick(serverNow());
      timer = setTimeout(next, 1000 - (serverNow() % 1000) + 5);
    };
    timer = setTimeout(next, 1000 - (serverNow() % 1000) + 5);
    return () => clearTimeout(timer);
  }, []);
  return now;
}

/**
 * A dialog over the page while it is rendered. `onClose` is called for Escape and for the button in
 * the corner; focus goes back to where it was.
 */
export function Dialog({ title, onClose, children }) {
  const ref = useRef(null);
  const id = useMemo(() => `dialog-${Math.random().toString(36).slice(2)}`, []);
  useLayoutEffect(() => {
    const dialog = ref.current;
    const before = document.activeElement;
    dialog.showModal();
    return () => {
      dialog.close();
      before?.focus?.();
    };
  }, []);
  const cancel = (event) => {
    event.preventDefault();
    onClose();
  };
  return html`
    <dialog ref=${ref} class="dialog" aria-labelledby=${id} onCancel=${cancel}>
      <div class="dialog-head">
        <h2 id=${id}>${title}</h2>
        <button type="button" class="link" onClick=${onClose}>${t("close")}</button>
      </div>
      ${children}
    </dialog>
  `;
}

/** Reads a text out to people who do not see the page; say it again by a text that differs. */
export function Announcer({ children }) {
  return html`<div class="unseen" role="status" aria-live="polite">${children}</div>`;
}
