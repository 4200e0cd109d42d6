"""What is said of a definition: its canonical document, and the problems of one that is refused.

The document is what `quota_service.definitions` reads, and what `GET` answers plus `seats`.
"""

import dataclasses
import functools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time

from quota_service.domain.exam import (
    DrawSource,
    Exam,
    Quota,
    ReturnedSeats,
    SeatRelease,
    SetAside,
    SourceKind,
    Text,
    WaitingListRules,
    WaitingRoomRules,
    Window,
)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

LATEST_MS = 253_402_300_799_999
"""The last millisecond of the year 9999, the last that RFC 3339 can write."""

MAX_PROBLEMS = 100
"""Problems in one error; further ones are reported once these are fixed."""

MAX_SHOWN = 40
"""Characters of a wrong value that are repeated in a message."""

_LARGEST_SHOWN_NUMBER = 10**18


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a definition.

    `where` is the key path (`sessions[2].starts_at`, `seats.jinan.qms`) or, for a value in a
    file that has no keys, the file and line (`seats.csv:14`).
    """

    where: str
    detail: str

    def __str__(self) -> str:
        """Return the problem as one line."""
        return f"{self.where}: {self.detail}"


class DefinitionError(ValueError):
    """A definition, or a change of one, that cannot be accepted; nothing of it was applied.

    `problems` holds at most `MAX_PROBLEMS`; `omitted` counts those beyond. As a string it lists
    them one a line.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        every = tuple(problems)
        self.problems = every[:MAX_PROBLEMS]
        self.omitted = len(every) - len(self.problems)
        super().__init__(self.problems)

    def __str__(self) -> str:
        lines = [str(problem) for problem in self.problems]
        if self.omitted:
            lines.append(f"… and {self.omitted} more")
        return "\n".join(lines)


def exam_document(exam: Exam) -> dict[str, object]:
    """Return the canonical document of an exam, ready for JSON: `parse_exam` reads it back.

    Times are RFC 3339 in UTC with milliseconds; seats are in the order of venue and subject ids,
    so equal exams give equal documents, down to the order of members.
    """
    rules = exam.waiting_room
    return {
        "id": exam.id,
        "title": text_document(exam.title),
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
        **({} if rules is None else {"waiting_room": _room_document(rules)}),
        "notice": {"version": exam.notice.version, "text": text_document(exam.notice.text)},
        "sessions": [
            {
                "id": session.id,
                "title": text_document(session.title),
                "starts_at": rfc3339(session.starts_at_ms),
                "ends_at": rfc3339(session.ends_at_ms),
            }
            for session in exam.sessions
        ],
        "subjects": [
            {
                "id": subject.id,
                "title": text_document(subject.title),
                "session": subject.session,
            }
            for subject in exam.subjects
        ],
        "venues": [{"id": venue.id, "title": text_document(venue.title)} for venue in exam.venues],
        **dict(_allocation_document(exam)),
        "seats": seats_document(exam.seats),
        **({"releases": [_release(each) for each in exam.releases]} if exam.releases else {}),
        **(
            {"set_asides": [_set_aside(each) for each in exam.set_asides]}
            if exam.set_asides
            else {}
        ),
    }


def _allocation_document(exam: Exam) -> Iterator[tuple[str, object]]:
    if exam.returned != ReturnedSeats():
        yield "returned", {"rule": exam.returned.rule, "times": list(exam.returned.times)}
    if exam.waiting_list is not None:
        yield "waiting_list", _waiting_list(exam.waiting_list)
    rooms: dict[str, dict[str, int]] = {}
    for (venue, session), seats in sorted(exam.ceilings.items()):
        rooms.setdefault(venue, {})[session] = seats
    if rooms:
        yield "rooms", rooms


def _waiting_list(rules: WaitingListRules) -> dict[str, object]:
    quiet = rules.quiet_hours
    hours = None if quiet is None else {"from": quiet.starts, "to": quiet.ends}
    return {
        "offer_ttl_s": rules.offer_ttl_s,
        "order": rules.order,
        "length_max": rules.length_max,
        "quiet_hours": hours,
    }


def _release(release: SeatRelease) -> dict[str, object]:
    return {
        "id": release.id,
        "at": rfc3339(release.at_ms),
        "announce": release.announce,
        "seats": seats_document(release.seats),
    }


def _set_aside(kept: SetAside) -> dict[str, object]:
    return {
        "id": kept.id,
        "title": text_document(kept.title),
        "until": rfc3339(kept.until_ms),
        "seats": seats_document(kept.seats),
    }


def seats_document(seats: Mapping[Quota, int]) -> dict[str, dict[str, int]]:
    """Return seats by venue and subject, in the order of their ids."""
    document: dict[str, dict[str, int]] = {}
    for quota, count in sorted(seats.items()):
        document.setdefault(quota.venue, {})[quota.subject] = count
    return document


def by_quota(seats: Mapping[str, Mapping[str, int]]) -> dict[Quota, int]:
    """Return seats by quota that are given by venue and subject."""
    return {
        Quota(venue, subject): count
        for venue, subjects in seats.items()
        for subject, count in subjects.items()
    }


def _room_document(rules: WaitingRoomRules) -> dict[str, object]:
    document: dict[str, object] = dataclasses.asdict(rules)
    del document["source"]
    if rules.source is not None:
        document["source"] = source_document(rules.source)
    return document


def source_document(source: DrawSource) -> dict[str, object]:
    """Return the canonical document of the source of a draw."""
    of_kind: dict[str, object] = {"description": source.description}
    if source.kind is SourceKind.DRAND:
        of_kind = {"chain": source.chain, "round": source.round}
    return {
        "kind": source.kind,
        "entries_close_at": rfc3339(source.entries_close_at_ms),
        "at": rfc3339(source.at_ms),
        **of_kind,
    }


def text_document(text: Text) -> dict[str, str] | str:
    """Return a text by language, or as it is where it has none."""
    texts = dict(text.languages)
    return texts.get("", texts)


def _window_document(window: Window) -> dict[str, str]:
    return {
        "opens_at": rfc3339(window.opens_at_ms),
        "closes_at": rfc3339(window.closes_at_ms),
    }


def rfc3339(ms: int) -> str:
    """Return milliseconds since the epoch in UTC: `2023-03-14T04:00:00.000Z`."""
    return f"{_second(ms // 1000)}.{ms % 1000:03d}Z"


@functools.lru_cache(maxsize=1024)
def _second(seconds: int) -> str:
    """Return a second since the epoch as text; the seconds of one moment are asked for together."""
    return f"{datetime.fromtimestamp(seconds, tz=UTC):%Y-%m-%dT%H:%M:%S}"


def shown(value: object) -> str:
    """Return a wrong value as a message may repeat it: short, on one line, printable."""
    match value:
        case None:
            text = "null"
        case bool():
            text = "true" if value else "false"
        case str():
            text = repr(value) if len(value) <= MAX_SHOWN else f"{value[:MAX_SHOWN]!r}…"
        case int():
            # Python refuses to print integers of thousands of digits, which TOML can carry.
            text = str(value) if abs(value) <= _LARGEST_SHOWN_NUMBER else "a very large number"
        case float():
            text = str(value)
        case date() | time():
            text = value.isoformat()
        case Mapping():
            text = "a table"
        case _:
            text = "a list"
    return text
