// What a candidate has entered, kept on this device: a reload or a lost network loses nothing.

import { useCallback, useState } from "../ui.js";

const EMPTY = {
  accepted: null, // version of the notice
  step: 0,
  subjects: [],
  venues: [],
  ticket: null, // of the waiting room
  pass: null,
  order: null, // {key, body} that was sent and has no answer yet
  wish: null, // the same for the waiting list
  paying: null, // id of the reservation that the candidate went to pay for
};

function read(name) {
  try {
    return { ...EMPTY, ...JSON.parse(localStorage.getItem(name) ?? "{}") };
  } catch {
    return EMPTY;
  }
}

function write(name, draft) {
  try {
    localStorage.setItem(name, JSON.stringify(draft));
  } catch {
    // A browser that keeps nothing: the page works until it is closed.
  }
}

/** `[draft, change]`: `change` takes the members that are new, and writes before it shows. */
export function useDraft(exam, candidate) {
  const name = `quota.register.${exam}.${candidate}`;
  const [draft, show] = useState(() => read(name));
  const change = useCallback(
    (members) => {
      const changed = { ...read(name), ...members };
      write(name, changed);
      show(changed);
    },
    [name],
  );
  return [draft, change];
}
