// What is left of an exam's seats, kept as the stream tells it: flat arrays by venue and subject,
// because an exam may have tens of thousands of quotas and hundreds of changes a second.

const NOT_OFFERED = -1;

export class Seats {
  constructor(exam) {
    this.exam = exam;
    this.venues = exam.venues;
    this.subjects = exam.subjects;
    this.venueAt = new Map(exam.venues.map((venue, at) => [venue.id, at]));
    this.subjectAt = new Map(exam.subjects.map((subject, at) => [subject.id, at]));
    const quotas = this.venues.length * this.subjects.length;
    this.remaining = new Int32Array(quotas).fill(NOT_OFFERED);
    this.capacity = new Int32Array(quotas);
    this.changes = new Uint32Array(quotas); // how often each one changed before our eyes
    this.asOf = null;
  }

  /** Takes a snapshot; returns false when it is of another definition than we know. */
  takeSnapshot(snapshot) {
    this.remaining.fill(NOT_OFFERED);
    this.asOf = snapshot.as_of;
    return this.#take(snapshot.quotas, 0);
  }

  /** Takes what changed; returns false as `takeSnapshot` does. */
  takeChange(change) {
    this.asOf = change.as_of;
    return this.#take(change.quotas, 1);
  }

  #take(quotas, seen) {
    const width = this.subjects.length;
    let isKnown = true;
    let venue; // quotas of a venue come one behind the other
    let row = -1;
    for (const quota of quotas) {
      if (quota.venue !== venue) {
        venue = quota.venue;
        row = this.venueAt.get(venue) ?? -1;
      }
      const column = this.subjectAt.get(quota.subject) ?? -1;
      if (row < 0 || column < 0) {
        isKnown = false;
        continue;
      }
      const at = row * width + column;
      this.remaining[at] = quota.remaining;
      this.capacity[at] = quota.capacity;
      this.changes[at] += seen;
    }
    return isKnown;
  }

  at(venue, subject) {
    return venue * this.subjects.length + subject;
  }

  isOffered(venue, subject) {
    return this.remaining[this.at(venue, subject)] !== NOT_OFFERED;
  }

  /**
   * The venues in the order to show them: those with a seat in all the subjects, then those with
   * most of them, each in the exam's order; and how many are of the first kind. What is `stopped`
   * cannot be reserved now, whatever is left.
   */
  ranked(subjects, isShown, isStopped) {
    const groups = Array.from({ length: subjects.length + 1 }, () => []);
    for (let venue = 0; venue < this.venues.length; venue += 1) {
      if (!isShown(venue)) continue;
      let missing = 0;
      for (const subject of subjects) {
        const left = this.remaining[this.at(venue, subject)];
        if (left <= 0 || isStopped(venue, subject)) missing += 1;
      }
      groups[missing].push(venue);
    }
    return { order: groups.flat(), withAll: groups[0].length };
  }
}
