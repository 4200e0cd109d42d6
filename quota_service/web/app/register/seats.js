// What is left at every venue, live.

import { stream } from "../api.js";
import { useEffect, useState } from "../ui.js";

const NOTHING = { left: new Map(), isKnown: false, isStale: false, revision: null };

/** `{left, isKnown, isStale, revision}`; `left` has the quotas by `venue/subject`. */
export function useSeats(exam) {
  const [seats, show] = useState(NOTHING);
  useEffect(() => {
    const stale = () => show((before) => ({ ...before, isStale: before.isKnown }));
    const onEvent = (name, told) => {
      if (name === "stale") return stale();
      return show((before) => {
        const left = new Map(name === "snapshot" ? [] : before.left);
        for (const quota of told.quotas) left.set(`${quota.venue}/${quota.subject}`, quota);
        return { left, isKnown: true, isStale: false, revision: told.revision };
      });
    };
    const onState = (state) => state !== "open" && stale();
    const watched = stream(`/v1/exams/${exam}/availability/stream`, { onEvent, onState });
    return watched.close;
  }, [exam]);
  return seats;
}
