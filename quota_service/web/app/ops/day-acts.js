// Acts of the day: pause and resume, the waiting room, more time for holds.

import { newKey, post, put, serverNow } from "../api.js";
import { countdown, moment, t } from "../words.js";
import { pathOf, seatsOf } from "./feeds.js";
import { rate, scopeFields, scopeIn, scopeOf } from "./parts.js";

const MINUTE_S = 60;

/** The address of an act that takes its reason there. */
export const withReason = (path, reason) => `${path}?${new URLSearchParams({ reason })}`;

export const pauseAct = (exam, scope) => ({
  title: t("ops-pause-title"),
  button: t("ops-pause"),
  danger: true,
  isPublic: true,
  fields: [
    ...scopeFields(exam, scope),
    {
      name: "stops",
      label: t("ops-stops"),
      kind: "select",
      options: [
        ["reserving", t("ops-stops-reserving")],
        ["changes", t("ops-stops-changes")],
      ],
      value: "reserving",
    },
    { name: "minutes", label: t("ops-retry-after"), kind: "number", min: 1, max: 1440, value: "5" },
  ],
  async preview(values) {
    const isPaused = (exam.pauses ?? []).some(
      ({ scope: own }) => (own.venue ?? "") === values.venue && (own.subject ?? "") === values.subject,
    );
    if (isPaused) return { lines: [t("ops-already-paused")], stop: true };
    const load = await seatsOf(exam.id, values.venue, values.subject);
    const isWhole = !values.venue && !values.subject;
    const room = load.waiting_room;
    return [
      t("ops-will-pause", { scope: scopeOf(exam, values), n: load.seats.remaining }),
      t("ops-will-still-pay", { n: load.seats.held + load.seats.confirming }),
      t("ops-will-keep", { n: load.seats.confirmed }),
      ...(isWhole && room ? [t("ops-will-pause-room", { n: room.waiting })] : []),
    ];
  },
  async run(values, reason) {
    const body = { reason, stops: values.stops, ...scopeIn(values) };
    await post(pathOf(exam.id, "/pause"), { ...body, retry_after_s: Number(values.minutes) * MINUTE_S });
    return t("ops-did-pause", { scope: scopeOf(exam, values) });
  },
});

export const resumeAct = (exam, pause) => ({
  title: t("ops-resume-title", { scope: scopeOf(exam, pause.scope) }),
  button: t("ops-resume"),
  fields: [{ name: "extend", label: t("ops-resume-extend"), kind: "check", value: true }],
  async preview({ extend }) {
    const load = await seatsOf(exam.id, pause.scope.venue ?? "", pause.scope.subject ?? "");
    const lasted = countdown(serverNow() - Date.parse(pause.since));
    return [
      t("ops-will-resume", { scope: scopeOf(exam, pause.scope), n: load.seats.remaining }),
      extend
        ? t("ops-will-extend-by", { n: load.seats.held + load.seats.confirming, time: lasted })
        : t("ops-will-not-extend", { n: load.seats.held + load.seats.confirming }),
    ];
  },
  async run({ extend }, reason) {
    const done = await post(
      pathOf(exam.id, "/resume"),
      { reason, extend_holds: extend, ...scopeIn(pause.scope) },
      { tries: 1 },
    );
    return [t("ops-did-resume", { scope: scopeOf(exam, pause.scope) }), ...extended(done.extension)];
  },
});

const extended = (extension) =>
  extension === null
    ? []
    : [extension.done ? t("ops-did-extend", { n: extension.extended }) : t("ops-extends-on")];

export const extendAct = (exam, scope, reservation) => {
  const key = newKey();
  return {
    title: reservation ? t("ops-extend-one") : t("ops-extend-title"),
    button: t("ops-extend"),
    fields: [
      { name: "minutes", label: t("ops-by-minutes"), kind: "number", min: 1, max: 10_000, value: "10" },
      ...(reservation ? [] : scopeFields(exam, scope)),
    ],
    async preview(values) {
      const minutes = Number(values.minutes);
      if (!(minutes > 0)) return { lines: [t("ops-needs-minutes")], stop: true };
      const first = exam.sessions.map((each) => each.starts_at).sort()[0];
      const never = t("ops-will-not-beyond", { at: moment(first, exam.time_zone) });
      if (reservation) {
        const to = Date.parse(reservation.deadline) + minutes * MINUTE_S * 1000;
        const at = (when) => moment(when, exam.time_zone, { seconds: true });
        return [t("ops-will-move-deadline", { from: at(reservation.deadline), to: at(to) }), never];
      }
      const load = await seatsOf(exam.id, values.venue, values.subject);
      const isWhole = !values.venue && !values.subject;
      const line = isWhole
        ? t("ops-will-extend-holds", { n: load.live_holds, minutes })
        : t("ops-will-extend-seats", { n: load.seats.held + load.seats.confirming, minutes });
      return [`${scopeOf(exam, values)}: ${line}`, never, t("ops-will-not-later")];
    },
    async run(values, reason) {
      const only = reservation ? { reservation: reservation.id } : scopeIn(values);
      const body = { reason, seconds: Math.round(Number(values.minutes) * MINUTE_S), ...only };
      const done = await post(pathOf(exam.id, "/extend-holds"), body, { idempotencyKey: key });
      return extended(done.extension);
    },
  };
};

const roomNow = async (exam) => (await seatsOf(exam.id)).waiting_room;

export const rateAct = (exam, room) => ({
  title: t("ops-rate-title"),
  button: t("ops-set-rate"),
  fields: [
    {
      name: "kind",
      label: t("ops-rate-kind"),
      kind: "select",
      options: [
        ["fixed", t("ops-rate-kind-fixed")],
        ["adaptive", t("ops-rate-kind-adaptive")],
      ],
      value: "fixed",
    },
    {
      name: "rate",
      label: t("ops-rate-label"),
      hint: t("ops-rate-hint"),
      kind: "number",
      min: 0.1,
      step: "any",
      value: String(Math.round(room.rate * 10) / 10),
    },
  ],
  async preview({ kind, rate: text }) {
    const now = await roomNow(exam);
    const from = t("ops-will-rate-from", { rate: rate(now.rate), n: now.waiting });
    if (kind === "adaptive") return [from, t("ops-will-adapt")];
    const wanted = Number(text);
    if (!(wanted > 0)) return { lines: [t("ops-needs-rate")], stop: true };
    const time = countdown((now.waiting / wanted) * 1000);
    return [from, t("ops-will-rate", { rate: rate(wanted) }), t("ops-will-empty", { time })];
  },
  async run({ kind, rate: text }, reason) {
    const path = withReason(pathOf(exam.id, "/waiting-room"), reason);
    const done = await put(path, { rate: kind === "adaptive" ? null : Number(text) });
    return done.fixed_rate === null
      ? t("ops-did-adapt")
      : t("ops-did-rate", { rate: rate(done.fixed_rate) });
  },
});

export const pauseRoomAct = (exam) => ({
  title: t("ops-pause-room"),
  button: t("ops-pause-room"),
  danger: true,
  async preview() {
    const room = await roomNow(exam);
    return [
      t("ops-will-pause-room", { n: room.waiting }),
      t("ops-will-places-stay", { n: room.places }),
      t("ops-will-lose-no-place"),
    ];
  },
  async run(_, reason) {
    await post(withReason(pathOf(exam.id, "/waiting-room/pause"), reason), undefined, { repeatable: true });
    return t("ops-did-pause-room");
  },
});

export const resumeRoomAct = (exam) => ({
  title: t("ops-resume-room"),
  button: t("ops-resume-room"),
  async preview() {
    const room = await roomNow(exam);
    return [t("ops-will-resume-room", { n: room.waiting, rate: rate(room.rate) })];
  },
  async run(_, reason) {
    await post(withReason(pathOf(exam.id, "/waiting-room/resume"), reason), undefined, { repeatable: true });
    return t("ops-did-resume-room");
  },
});
