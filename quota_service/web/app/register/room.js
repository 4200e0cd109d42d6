// The waiting room: join, look until the turn comes, claim. The ticket is kept on this device, so
// that the place survives a reload, a sleeping phone and a lost network.

import { useCallback, useEffect, useState } from "../ui.js";

const RANK_DIGITS = 12; // hex digits of a rank that a number holds exactly
const RANKS = 16 ** RANK_DIGITS;
const RETRY_MS = 3000;
const LOST = new Set(["turn-passed", "ticket-used", "ticket-invalid", "ticket-of-another-exam"]);

/** The share of all ranks that are below this one, 0 to 1. */
const share = (rank) => parseInt(rank.slice(0, RANK_DIGITS), 16) / RANKS;
const bytesOf = (hex) => Uint8Array.from(hex.match(/../g), (byte) => parseInt(byte, 16));
const hexOf = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");

/** The rank of a candidate in the draw; null before the seed is known, or without Web Crypto. */
async function rankOf(room, candidate) {
  if (!room.seed || !crypto.subtle) return null;
  const randomness = room.source ? (room.source.randomness ?? room.entries?.root) : "";
  const between = room.source ? "\0" : "";
  const message = new TextEncoder().encode(`${room.exam}${between}${candidate}`);
  const algorithm = { name: "HMAC", hash: "SHA-256" };
  const secret = bytesOf(room.seed + randomness);
  const key = await crypto.subtle.importKey("raw", secret, algorithm, false, ["sign"]);
  return hexOf(new Uint8Array(await crypto.subtle.sign("HMAC", key, message)));
}

/** Candidates before this one, about; null where nobody can say. */
function aheadOf(room, ticket, rank) {
  if (room.phase === "before") return null;
  if (ticket.kind === "number") {
    return room.waiting_in_draw + Math.max(0, ticket.number - 1 - room.serving);
  }
  if (rank === null) return null;
  const served = share(room.threshold);
  const before = (share(rank) - served) / (1 - served || 1);
  return Math.max(0, Math.ceil(before * room.waiting_in_draw));
}

/** Whether the turn has come; true where only the service can say. */
function isTurn(room, ticket, rank) {
  if (room.phase === "before" || room.paused) return false;
  if (ticket.kind === "number") return ticket.number <= room.serving;
  return rank === null || rank <= room.threshold;
}

/** Resolves after a time, or when somebody comes back to the page or the network does. */
function pause(afterMs, signal) {
  return new Promise((resolve) => {
    const events = [
      [document, "visibilitychange"],
      [window, "online"],
      [signal, "abort"],
    ];
    const end = () => {
      clearTimeout(timer);
      for (const [target, name] of events) target.removeEventListener(name, end);
      resolve();
    };
    const timer = setTimeout(end, afterMs);
    for (const [target, name] of events) target.addEventListener(name, end);
  });
}

/**
 * The candidate's place: `{room, ahead, progress, etaS, refusal, join}`.
 *
 * `refusal` is the error for which there is no place: `join` takes a new one, at the back. An
 * opening that moves, `opensAt`, is looked at once.
 */
export function useRoom(api, exam, candidate, draft, change, opensAt) {
  const [seen, see] = useState({ room: null, ahead: null });
  const [refusal, refuse] = useState(null);
  const { ticket } = draft;
  const hasPass = draft.pass !== null;
  const path = `/v1/exams/${exam}/waiting-room`;

  const join = useCallback(async () => {
    refuse(null);
    try {
      const joined = await api.post(path, { candidate }, { repeatable: true });
      change({ ticket: { ...joined, from: null }, pass: null });
    } catch (error) {
      refuse(error);
    }
  }, [api, path, candidate, change]);

  useEffect(() => {
    if (!ticket || hasPass) return undefined;
    const stop = new AbortController();
    const look = async () => {
      const room = await api.get(path);
      const rank = ticket.kind === "draw" ? await rankOf(room, candidate) : null;
      if (stop.signal.aborted) return 0;
      const ahead = aheadOf(room, ticket, rank);
      see({ room, ahead });
      if (ahead !== null && ticket.from === null) {
        ticket.from = Math.max(ahead, 1); // for the bar
        change({ ticket });
      }
      if (isTurn(room, ticket, rank)) {
        const body = { candidate, ticket: ticket.ticket };
        change({ pass: await api.post(`${path}/claims`, body, { repeatable: true }) });
      }
      return room.poll_after * 1000 * (0.5 + Math.random());
    };
    const loop = async () => {
      while (!stop.signal.aborted) {
        let waitMs = RETRY_MS;
        try {
          waitMs = await look();
        } catch (error) {
          if (stop.signal.aborted) return;
          if (LOST.has(error.slug)) change({ ticket: null });
          if (LOST.has(error.slug) || error.slug === "registration-closed") {
            refuse(error);
            return;
          }
          waitMs = (error.members?.poll_after ?? RETRY_MS / 1000) * 1000;
        }
        await pause(waitMs, stop.signal);
      }
    };
    loop();
    return () => stop.abort();
  }, [api, path, candidate, ticket?.ticket, hasPass, opensAt]);

  const { room, ahead } = seen;
  const etaS = room && ahead !== null && room.rate > 0 ? ahead / room.rate : null;
  const progress = ticket?.from && ahead !== null ? Math.max(0, 1 - ahead / ticket.from) : 0;
  return { room, ahead, progress, etaS, refusal, join };
}

/** Lets the title of the page blink until somebody touches the page. */
export function blinkTitle(text) {
  const kept = document.title;
  const timer = setInterval(() => {
    document.title = document.title === text ? kept : text;
  }, 1000);
  document.title = text;
  const end = () => {
    clearInterval(timer);
    document.title = kept;
    for (const name of ["pointerdown", "keydown"]) removeEventListener(name, end);
  };
  for (const name of ["pointerdown", "keydown"]) addEventListener(name, end);
  return end;
}
