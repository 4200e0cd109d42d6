// What the service says: the exam and all that the candidate has in it, read again whenever
// something may have changed. Events of the frontend tell at once, a slow look is behind.

import { watchSession } from "./session.js";
import { useCallback, useEffect, useRef, useState } from "../ui.js";

const LOOK_AGAIN_MS = 10_000; // while something is to be paid, or nobody tells
const LOOK_SELDOM_MS = 60_000;
const SPREAD_MS = 2000;
const UNPAID = new Set(["held", "confirming"]);

/** `[{exam, view, entry, error}, look]`; `entry` is the newest of the waiting list. */
export function useCandidate(api, exam, candidate) {
  const [known, show] = useState({ exam: null, view: null, entry: null, error: null });
  const looking = useRef({ now: null, isAsked: false, lookedAt: 0, hasUnpaid: false });

  const look = useCallback(async () => {
    const state = looking.current;
    if (state.now) {
      state.isAsked = true; // what is being read may be from before
      return state.now;
    }
    const read = async () => {
      do {
        state.isAsked = false;
        try {
          const [document, view] = await Promise.all([
            api.get(`/v1/exams/${exam}`),
            api.get(`/v1/exams/${exam}/candidates/${candidate}`),
          ]);
          const newest = view.waiting_list[0];
          const path = newest && `/v1/exams/${exam}/waiting-list/${newest.id}`;
          const entry = newest?.state === "waiting" ? await api.get(path) : (newest ?? null);
          state.lookedAt = Date.now();
          state.hasUnpaid = view.reservations.some((each) => UNPAID.has(each.state));
          show({ exam: document, view, entry, error: null });
        } catch (error) {
          state.lookedAt = 0;
          show((before) => ({ ...before, error }));
        }
      } while (state.isAsked);
      state.now = null;
    };
    state.now = read();
    return state.now;
  }, [api, exam, candidate]);

  useEffect(() => {
    const lookIfSeen = () => document.visibilityState === "visible" && look();
    look();
    document.addEventListener("visibilitychange", lookIfSeen);
    addEventListener("online", look);
    const watched = watchSession((told) => {
      if (told.exam !== undefined && told.exam !== exam) return;
      // What concerns everybody is not read by everybody at once.
      setTimeout(look, told.type?.startsWith("exam.") ? Math.random() * SPREAD_MS : 0);
    });
    const timer = setInterval(() => {
      const { lookedAt, hasUnpaid } = looking.current;
      const isTold = watched.isOpen() && !hasUnpaid;
      if (!isTold || Date.now() - lookedAt > LOOK_SELDOM_MS) lookIfSeen();
    }, LOOK_AGAIN_MS);
    return () => {
      document.removeEventListener("visibilitychange", lookIfSeen);
      removeEventListener("online", look);
      clearInterval(timer);
      watched.close();
    };
  }, [look, exam]);
  return [known, look];
}
