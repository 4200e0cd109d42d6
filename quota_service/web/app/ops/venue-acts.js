// A venue falls out: closed for sale, opened again, emptied.

import { get, post } from "../api.js";
import { t, text } from "../words.js";
import { pathOf, seatsOf } from "./feeds.js";
import { scopeOf, titleOf } from "./parts.js";

const atVenue = (exam, venue, what) => pathOf(exam.id, `/venues/${encodeURIComponent(venue)}/${what}`);
const PAGE = 200;

const subjectField = (exam, subject) => ({
  name: "subject",
  label: t("ops-subject"),
  kind: "select",
  options: [["", t("ops-all-of-them")], ...exam.subjects.map((each) => [each.id, text(each.title)])],
  value: subject,
});

export const closeAct = (exam, venue, subject = "") => ({
  title: t("ops-close-title", { venue: titleOf(exam.venues, venue) }),
  button: t("ops-close-venue"),
  danger: true,
  fields: [subjectField(exam, subject)],
  async preview(values) {
    const { seats } = await seatsOf(exam.id, venue, values.subject);
    return [
      t("ops-will-close", { scope: scopeOf(exam, { venue, subject: values.subject }), n: seats.remaining }),
      t("ops-will-stand", { held: seats.held + seats.confirming, booked: seats.confirmed }),
      t("ops-will-move-later"),
    ];
  },
  async run(values, reason) {
    await post(
      atVenue(exam, venue, "close"),
      { reason, subjects: values.subject ? [values.subject] : [] },
      { repeatable: true },
    );
    return t("ops-did-close", { scope: scopeOf(exam, { venue, subject: values.subject }) });
  },
});

export const openAct = (exam, venue, subject = "") => ({
  title: t("ops-open-title", { venue: titleOf(exam.venues, venue) }),
  button: t("ops-open-venue"),
  fields: [subjectField(exam, subject)],
  async preview(values) {
    const { seats } = await seatsOf(exam.id, venue, values.subject);
    return [t("ops-will-open", { scope: scopeOf(exam, { venue, subject: values.subject }), n: seats.remaining })];
  },
  async run(values, reason) {
    await post(
      atVenue(exam, venue, "open"),
      { reason, subjects: values.subject ? [values.subject] : [] },
      { repeatable: true },
    );
    return t("ops-did-open", { scope: scopeOf(exam, { venue, subject: values.subject }) });
  },
});

/** Moves what stands at a closed venue to where each candidate ordered it, then to the given venues. */
export const moveOutAct = (exam, venue, others) => ({
  title: t("ops-move-out-title", { venue: titleOf(exam.venues, venue) }),
  button: t("ops-move-out"),
  danger: true,
  fields: [
    { name: "venues", label: t("ops-move-out-to"), hint: t("ops-move-out-hint"), value: others.join(", ") },
  ],
  async preview(values) {
    const venues = idsIn(values.venues);
    const unknown = venues.find((id) => id === venue || !exam.venues.some((each) => each.id === id));
    if (unknown !== undefined) return { lines: [t("ops-no-venue", { id: unknown })], stop: true };
    const [{ seats }, { closed }] = await Promise.all([seatsOf(exam.id, venue), get(pathOf(exam.id))]);
    if (!(closed ?? []).some((each) => each.venue === venue)) return { lines: [t("ops-not-closed")], stop: true };
    const free = await Promise.all(venues.map((id) => seatsOf(exam.id, id)));
    return [
      t("ops-will-stand", { held: seats.held + seats.confirming, booked: seats.confirmed }),
      t("ops-will-move-ordered"),
      ...venues.map((id, place) =>
        t("ops-will-move-to", { venue: titleOf(exam.venues, id), n: free[place].seats.remaining }),
      ),
    ];
  },
  async run(values, reason, tell) {
    const venues = idsIn(values.venues);
    const stayed = [];
    let moved = 0;
    let after;
    do {
      const body = { reason, limit: PAGE, ...(venues.length && { venues }), ...(after && { after }) };
      const page = await post(atVenue(exam, venue, "move-out"), body, { tries: 1 });
      moved += page.moved.length;
      stayed.push(...page.stayed);
      after = page.next;
      tell(t("ops-moving", { n: moved, stayed: stayed.length }));
    } while (after);
    return [
      t("ops-did-move", { n: moved, stayed: stayed.length }),
      ...stayed.slice(0, 20).map((each) => `${each.candidate} · ${each.reservation} · ${each.problem}`),
    ];
  },
});

const idsIn = (words) => words.split(/[\s,，、]+/).filter(Boolean);
