// Seat releases: more seats of a venue at a time.

import { del, post, serverNow } from "../api.js";
import { moment, number, t, text } from "../words.js";
import { pathOf, seatsOf } from "./feeds.js";
import { titleOf } from "./parts.js";

const ANNOUNCED = ["time", "time-and-venues", "everything", "nothing"];
const SOON_MS = 5 * 60_000;

export const releaseAct = (exam, venue = exam.venues[0].id) => ({
  title: t("ops-plan-release"),
  button: t("ops-plan-release"),
  fields: [
    {
      name: "venue",
      label: t("ops-venue"),
      kind: "select",
      options: exam.venues.map((each) => [each.id, text(each.title)]),
      value: venue,
    },
    ...exam.subjects.map((each) => ({
      name: `seats-${each.id}`,
      label: t("ops-more-seats-of", { subject: text(each.title) }),
      kind: "number",
      min: 0,
      value: "0",
    })),
    {
      name: "at",
      label: t("ops-release-at"),
      hint: t("ops-in-zone", { zone: exam.time_zone }),
      kind: "time",
      value: localIn(exam.time_zone, Math.ceil((serverNow() + SOON_MS) / 60_000) * 60_000),
    },
    {
      name: "announce",
      label: t("ops-announce"),
      kind: "select",
      options: ANNOUNCED.map((each) => [each, t(`ops-announce-${each}`)]),
      value: "time",
    },
  ],
  async preview(values) {
    const seats = seatsIn(exam, values);
    const at = instantIn(exam.time_zone, values.at);
    if (!Object.keys(seats).length) return { lines: [t("ops-needs-seats")], stop: true };
    if (!(at > serverNow())) return { lines: [t("ops-needs-later")], stop: true };
    const lines = await Promise.all(
      Object.entries(seats).map(async ([subject, more]) => {
        const now = (await seatsOf(exam.id, values.venue, subject)).seats;
        return t("ops-will-release", {
          subject: titleOf(exam.subjects, subject),
          from: number(now.capacity),
          to: number(now.capacity + more),
          n: now.remaining,
        });
      }),
    );
    const when = t("ops-will-release-at", {
      venue: titleOf(exam.venues, values.venue),
      at: moment(at, exam.time_zone, { seconds: true }),
    });
    return [when, ...lines, t(`ops-will-announce-${values.announce}`)];
  },
  async run(values, reason) {
    const at = new Date(instantIn(exam.time_zone, values.at)).toISOString();
    const id = `ops-${at.replace(/\D/g, "").slice(4, 14)}-${values.venue}`.slice(0, 64);
    const planned = await post(
      pathOf(exam.id, "/seat-releases"),
      { id, at, announce: values.announce, seats: { [values.venue]: seatsIn(exam, values) }, reason },
      { repeatable: true },
    );
    return t("ops-did-release", { id: planned.id });
  },
});

export const cancelReleaseAct = (exam, release) => ({
  title: t("ops-cancel-release-title", { id: release.id }),
  button: t("ops-cancel-release"),
  danger: true,
  async preview() {
    const at = moment(release.at, exam.time_zone, { seconds: true });
    return [t("ops-will-cancel-release", { n: seatsOfRelease(release), at })];
  },
  async run(_, reason) {
    const query = new URLSearchParams({ reason });
    await del(pathOf(exam.id, `/seat-releases/${encodeURIComponent(release.id)}?${query}`));
    return t("ops-did-cancel-release", { id: release.id });
  },
});

/** How many seats a release adds. */
export const seatsOfRelease = (release) =>
  Object.values(release.seats)
    .flatMap((own) => Object.values(own))
    .reduce((sum, seats) => sum + seats, 0);

function seatsIn(exam, values) {
  const wanted = exam.subjects.map((each) => [each.id, Number(values[`seats-${each.id}`])]);
  return Object.fromEntries(wanted.filter(([, seats]) => Number.isInteger(seats) && seats > 0));
}

/** A moment as the clocks of a time zone show it, for a field: 2026-11-29T12:30. */
export function localIn(timeZone, ms) {
  const form = { dateStyle: "short", timeStyle: "short", timeZone };
  return new Intl.DateTimeFormat("sv-SE", form).format(ms).replace(" ", "T");
}

/** The moment that the clocks of a time zone show so. */
export function instantIn(timeZone, local) {
  const asUtc = Date.parse(`${local}Z`);
  const offset = (at) => Date.parse(`${localIn(timeZone, at)}Z`) - at;
  return asUtc - offset(asUtc - offset(asUtc));
}
