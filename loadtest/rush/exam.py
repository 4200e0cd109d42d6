"""The exam of a rush: the sample exam's venues and subjects, or a copy of an exam that there is.

Its windows, its times of holds and passes, and without a copy its seats, are made for the run.

Some of the seats are kept back and released in the tail, as the big venues do, so that those who
keep looking for returned seats find some.
"""

import datetime as dt
import math
from collections.abc import Mapping

from loadtest.rush.evidence import Document
from loadtest.rush.options import Options

NOTICE_VERSION = "rush-1"
FEE = 8000
"""Minor units of CNY for one subject."""

SESSIONS: Mapping[str, tuple[str, ...]] = {
    "day1-am": ("general",),
    "day1-pm": ("qms", "ems"),
    "day2-am": ("service",),
}
VENUES: Mapping[str, float] = {
    "beijing": 30,
    "shanghai": 25,
    "jinan": 8,
    "nanjing": 8,
    "tianjin": 8,
    "zhengzhou": 6,
    "qingdao": 5,
    "shijiazhuang": 4,
    "hefei": 3,
}
"""The venues, and how many of a hundred candidates would go there first."""

SUBJECT_SHARE: Mapping[str, float] = {"general": 0.36, "qms": 0.21, "ems": 0.13, "service": 0.30}
"""How the seats of a venue are divided among its subjects."""

RATE_MIN_SHARE = 0.2
"""The slowest admission, as a share of that at the start: a busy machine rehearses all the same."""

OVER_AFTER_S = 1.0
"""How long after its end was decided every sitting of the exam is over."""
_LAST_SITTINGS_S = 0.1
"""How long each sitting of an exam lasts that is ended."""

OFFER_TTL_S = 60
"""The shortest that an offer may be paid for; a candidate pays or declines it at once."""

_DAY_S = 86_400
_CLOSES_AFTER_S = 7 * _DAY_S
_REFUND_BEFORE_S = 3600


def seats_of(total: int) -> dict[str, dict[str, int]]:
    """Return about `total` seats, dealt to venues and subjects; each quota has at least one."""
    weight = sum(VENUES.values())
    return {
        venue: {
            subject: max(1, round(total * share * popularity / weight))
            for subject, share in SUBJECT_SHARE.items()
        }
        for venue, popularity in VENUES.items()
    }


def kept_back(seats: Mapping[str, Mapping[str, int]], share: float) -> dict[str, dict[str, int]]:
    """Return what is released at the opening when a share of every quota is kept back."""
    return {
        venue: {subject: math.ceil(count * (1 - share)) for subject, count in by_subject.items()}
        for venue, by_subject in seats.items()
    }


def more_seats(
    whole: Mapping[str, Mapping[str, int]], early: Mapping[str, Mapping[str, int]]
) -> dict[str, dict[str, int]]:
    """Return the seats that are in the whole and not there early, of quotas that have any."""
    more = {
        venue: {
            subject: seats - early[venue][subject]
            for subject, seats in by_subject.items()
            if seats > early[venue][subject]
        }
        for venue, by_subject in whole.items()
    }
    return {venue: by_subject for venue, by_subject in more.items() if by_subject}


def definition(
    options: Options, opens_at_s: float, seats: Mapping[str, Mapping[str, int]]
) -> Document:
    """Return the exam's definition, as PUT /v1/exams/{exam} takes it."""
    document: Document = {
        "id": options.exam,
        "title": _text("开考演练", "Rehearsal of the opening"),
        "time_zone": "Asia/Shanghai",
        "registration": _window(opens_at_s, opens_at_s + _CLOSES_AFTER_S),
        "refund": _window(opens_at_s - _REFUND_BEFORE_S, opens_at_s + _CLOSES_AFTER_S),
        "fee": {"amount": FEE, "currency": "CNY"},
        "hold": {
            "ttl_s": options.hold_ttl_s,
            "checkout_grace_s": options.checkout_grace_s,
            "expiry_slack_s": options.expiry_slack_s,
        },
        "notice": {"version": NOTICE_VERSION, "text": _text("考生须知", "The notice")},
        "sessions": [
            {
                "id": session,
                "title": _text(session, session),
                "starts_at": moment(opens_at_s + (60 + n) * _DAY_S),
                "ends_at": moment(opens_at_s + (60 + n) * _DAY_S + 7200),
            }
            for n, session in enumerate(SESSIONS)
        ],
        "subjects": [
            {"id": subject, "title": _text(subject, subject), "session": session}
            for session, subjects in SESSIONS.items()
            for subject in subjects
        ],
        "venues": [{"id": venue, "title": _text(venue, venue)} for venue in VENUES],
        "seats": {venue: dict(by_subject) for venue, by_subject in seats.items()},
        "returned": {"rule": "list-first"},
        "waiting_list": {"offer_ttl_s": OFFER_TTL_S},
    }
    if options.has_room:
        document["waiting_room"] = {
            "rate_per_s": options.rate_per_s,
            "rate_min_per_s": options.rate_per_s * RATE_MIN_SHARE,
            "pass_ttl_s": options.pass_ttl_s,
            "idle_s": options.pass_ttl_s,
            "claim_grace_s": options.claim_grace_s,
        }
    return document


def capacities(availability: Document) -> dict[str, dict[str, int]]:
    """Return the seats of an exam as its availability shows them."""
    seats: dict[str, dict[str, int]] = {}
    for quota in availability["quotas"]:
        seats.setdefault(quota["venue"], {})[quota["subject"]] = quota["capacity"]
    return seats


def popularity_of(seats: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    """Return the venues with their seats; one that has none counts as one, and is asked for too."""
    return {venue: max(1, sum(by_subject.values())) for venue, by_subject in seats.items()}


def copied(
    exam: Document, options: Options, opens_at_s: float, seats: Mapping[str, Mapping[str, int]]
) -> Document:
    """Return the definition of a copy of an exam: another id, other windows, quicker holds.

    Its sittings move together to where those of a rehearsal are. Subjects, venues, fee, notice,
    rules of fair use and the rates of its waiting room are those of the exam.
    """
    own = definition(options, opens_at_s, seats)
    first_s = min(seconds(session["starts_at"]) for session in exam["sessions"])
    later_s = seconds(own["sessions"][0]["starts_at"]) - first_s
    sessions = [
        {
            **session,
            "starts_at": moment(seconds(session["starts_at"]) + later_s),
            "ends_at": moment(seconds(session["ends_at"]) + later_s),
        }
        for session in exam["sessions"]
    ]
    taken_over = ("title", "time_zone", "fee", "fair_use", "notice", "subjects", "venues")
    document = {**own, **{name: exam[name] for name in taken_over}, "sessions": sessions}
    if exam.get("waiting_list") is None:
        del document["waiting_list"], document["returned"]
    room = document.pop("waiting_room", None)
    if room is not None and exam.get("waiting_room") is not None:
        times = {name: room[name] for name in ("pass_ttl_s", "idle_s", "claim_grace_s")}
        document["waiting_room"] = {**exam["waiting_room"], **times}
    return document


def ended(exam: Document, at_s: float) -> Document:
    """Return the definition with its windows closed at a time, and its sittings right after it."""
    return {
        **exam,
        "registration": {**exam["registration"], "closes_at": moment(at_s)},
        "refund": {**exam["refund"], "closes_at": moment(at_s)},
        "sessions": [
            {
                **session,
                "starts_at": moment(at_s + n * _LAST_SITTINGS_S),
                "ends_at": moment(at_s + (n + 1) * _LAST_SITTINGS_S),
            }
            for n, session in enumerate(exam["sessions"], start=1)
        ],
    }


def moment(at_s: float) -> str:
    """Return a time as RFC 3339 in UTC with milliseconds."""
    at = dt.datetime.fromtimestamp(at_s, tz=dt.UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def seconds(moment_text: str) -> float:
    """Return an RFC 3339 time as seconds since the epoch."""
    return dt.datetime.fromisoformat(moment_text).timestamp()


def _window(opens_at_s: float, closes_at_s: float) -> Document:
    return {"opens_at": moment(opens_at_s), "closes_at": moment(closes_at_s)}


def _text(zh: str, en: str) -> dict[str, str]:
    return {"zh": zh, "en": en}
