"""Exam definitions: from a raw document to an `Exam` or the full list of problems, and back.

One parser serves definition files and `PUT /v1/exams/{exam}`, whose JSON has the very same shape,
which is also the shape `GET` answers plus `seats`. Whoever writes a definition by hand gets every
mistake at once, each with the place to look at.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

from quota_service.domain.definition_fields import DefinitionError, Problem, Problems, Table, shown
from quota_service.domain.definition_file import read_definition_file, read_seats_file
from quota_service.domain.definition_parts import (
    read_fair_use,
    read_fee,
    read_hold,
    read_id,
    read_notice,
    read_parts,
    read_session,
    read_subject,
    read_title,
    read_venue,
    read_waiting_room,
    read_window,
)
from quota_service.domain.definition_seats import CsvSeats, SeatsReader
from quota_service.domain.definition_times import time_text
from quota_service.domain.exam import (
    MAX_SESSIONS,
    MAX_SUBJECTS,
    MAX_VENUES,
    REHEARSAL_PREFIX,
    Exam,
    Text,
    Window,
)

__all__ = ["DefinitionError", "Problem", "exam_document", "load_exam_file", "parse_exam"]


def parse_exam(document: Mapping[str, object]) -> Exam:
    """Return the exam a document defines; raise `DefinitionError` with all that is wrong with it.

    Times are RFC 3339 strings or datetimes; one without an offset is in the exam's `time_zone`.
    `seats` is `{venue: {subject: count}}` or a list of `{venue, subject, seats}`. A `server_time`
    at the top is ignored, so that what the API answered can be sent back.
    """
    if not isinstance(document, Mapping):
        raise DefinitionError([Problem("definition", f"must be a table, not {shown(document)}")])
    return _exam(document, None, Problems())


def load_exam_file(path: Path) -> Exam:
    """Return the exam that a TOML file (or JSON, by the suffix `.json`) defines.

    In place of `seats` it may name a CSV file beside it, `seats_csv = "seats.csv"`, with the header
    venue,subject,seats. Raises `DefinitionError`, also for files that are missing or malformed, and
    for an id that is kept for rehearsals.
    """
    document = read_definition_file(path)
    problems = Problems()
    if str(document.get("id", "")).startswith(REHEARSAL_PREFIX):
        problems.note("id", f"starts with {REHEARSAL_PREFIX}, which is kept for rehearsals")
    if "seats_csv" not in document:
        return _exam(document, None, problems)
    if "seats" in document:
        problems.note("seats_csv", "stands beside `seats`: give one of them")
    rows = read_seats_file(path.parent, document["seats_csv"], problems)
    rest = {key: value for key, value in document.items() if key not in {"seats", "seats_csv"}}
    return _exam(rest, rows, problems)


def exam_document(exam: Exam) -> dict[str, object]:
    """Return the canonical document of an exam, ready for JSON: `parse_exam` gives it back.

    Times are RFC 3339 in UTC with milliseconds; seats stand in the order of venue and subject ids,
    so equal exams give equal documents, down to the order of members.
    """
    rules = exam.waiting_room
    seats: dict[str, dict[str, int]] = {}
    for quota, capacity in sorted(exam.seats.items()):
        seats.setdefault(quota.venue, {})[quota.subject] = capacity
    return {
        "id": exam.id,
        "title": _text_document(exam.title),
        "time_zone": exam.time_zone,
        "registration": _window_document(exam.registration),
        "refund": _window_document(exam.refund),
        "fee": {"amount": exam.fee.amount, "currency": exam.fee.currency},
        "hold": {
            "ttl_s": exam.hold.ttl_s,
            "checkout_grace_s": exam.hold.checkout_grace_s,
            "expiry_slack_s": exam.hold.expiry_slack_s,
        },
        "fair_use": dataclasses.asdict(exam.fair_use),
        **({} if rules is None else {"waiting_room": dataclasses.asdict(rules)}),
        "notice": {"version": exam.notice.version, "text": _text_document(exam.notice.text)},
        "sessions": [
            {
                "id": session.id,
                "title": _text_document(session.title),
                "starts_at": time_text(session.starts_at_ms),
                "ends_at": time_text(session.ends_at_ms),
            }
            for session in exam.sessions
        ],
        "subjects": [
            {
                "id": subject.id,
                "title": _text_document(subject.title),
                "session": subject.session,
            }
            for subject in exam.subjects
        ],
        "venues": [{"id": venue.id, "title": _text_document(venue.title)} for venue in exam.venues],
        "seats": seats,
    }


def _text_document(text: Text) -> dict[str, str] | str:
    texts = dict(text.languages)
    return texts.get("", texts)


def _window_document(window: Window) -> dict[str, str]:
    return {
        "opens_at": time_text(window.opens_at_ms),
        "closes_at": time_text(window.closes_at_ms),
    }


def _exam(
    document: Mapping[str, object],
    csv_rows: Sequence[CsvSeats] | None,
    problems: Problems,
) -> Exam:
    top = Table(document, "", problems)
    top.ignore("server_time")
    exam_id = read_id(top)
    title = read_title(top)
    zone = top.zone("time_zone")
    registration = read_window(top, "registration", zone)
    refund = read_window(top, "refund", zone)
    fee = read_fee(top)
    hold = read_hold(top)
    fair_use = read_fair_use(top)
    waiting_room = read_waiting_room(top)
    notice = read_notice(top)
    sessions, session_ids = read_parts(
        top, "sessions", MAX_SESSIONS, lambda table: read_session(table, zone)
    )
    subjects, subject_ids = read_parts(
        top, "subjects", MAX_SUBJECTS, lambda table: read_subject(table, session_ids)
    )
    venues, venue_ids = read_parts(top, "venues", MAX_VENUES, read_venue)
    seats = SeatsReader(problems, venue_ids, subject_ids)
    if csv_rows is not None:
        seats.read_csv(csv_rows)
    elif top.require("seats"):
        seats.read(document["seats"])
    top.finish()
    problems.raise_if_any()
    return Exam(
        id=exam_id,
        title=title,
        # A zone that is unknown was noted, so that this line is not reached without one.
        time_zone=zone.key if zone else "",
        registration=registration,
        refund=refund,
        hold=hold,
        fee=fee,
        notice=notice,
        sessions=sessions,
        subjects=subjects,
        venues=venues,
        seats=seats.capacity,
        waiting_room=waiting_room,
        fair_use=fair_use,
    )
