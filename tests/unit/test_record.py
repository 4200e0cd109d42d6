"""Records as the scripts write them."""

import pytest

from quota_service.domain.reservation import State
from quota_service.seats.record import FIELDS, RecordError, parse_record

VALUES = {
    "state": "confirming",
    "candidate": "candidate-1",
    "venue": "jinan",
    "subjects": "general,qms",
    "sessions": "day1-am,day1-pm",
    "amount": "16000",
    "currency": "CNY",
    "created_ms": "1700000000000",
    "first_deadline_ms": "1700000900000",
    "deadline_ms": "1700001500000",
    "due_ms": "1700001503000",
    "checked_out": "1",
    "payment_seen": "1",
    "attempt": "0123456789abcdef",
    "attempt_began_ms": "1700000100000",
    "request_hash": "fedcba9876543210",
    "to_venue": "jinan",
    "first_venue": "hefei",
    "venue_changes": "2",
    "key_id": "key-a",
    "set_aside": "teachers:7",
}
SERIAL = "a" * 24


def text_of(**changes: str) -> str:
    return "|".join({**VALUES, **changes}.values())


def test_every_field_of_a_record_comes_back() -> None:
    reservation = parse_record("exam-1", SERIAL, text_of())

    assert list(VALUES) == list(FIELDS)
    assert (reservation.id, reservation.exam) == (f"exam-1.0.{SERIAL}", "exam-1")
    assert reservation.state is State.CONFIRMING
    assert (reservation.subjects, reservation.sessions) == (
        ("general", "qms"),
        ("day1-am", "day1-pm"),
    )
    assert (reservation.checked_out, reservation.payment_seen) == (True, True)
    told_as_they_are = (
        "candidate",
        "venue",
        "currency",
        "attempt",
        "request_hash",
        "to_venue",
        "first_venue",
        "key_id",
        "set_aside",
    )
    assert {name: getattr(reservation, name) for name in told_as_they_are} == {
        name: VALUES[name] for name in told_as_they_are
    }
    numbers = (
        "amount",
        "created_ms",
        "first_deadline_ms",
        "deadline_ms",
        "due_ms",
        "attempt_began_ms",
        "venue_changes",
    )
    assert {name: getattr(reservation, name) for name in numbers} == {
        name: int(VALUES[name]) for name in numbers
    }


def test_a_hold_that_was_never_paid_has_an_empty_pin() -> None:
    text = text_of(
        state="held", checked_out="0", payment_seen="0", attempt="", attempt_began_ms="0"
    )

    reservation = parse_record("exam-1", SERIAL, text)

    assert (reservation.checked_out, reservation.payment_seen) == (False, False)
    assert (reservation.attempt, reservation.attempt_began_ms) == ("", 0)


@pytest.mark.parametrize("state", list(State))
def test_every_state_can_be_read(state: State) -> None:
    assert parse_record("exam-1", SERIAL, text_of(state=state.value)).state is state


@pytest.mark.parametrize(
    "text",
    [
        "",
        "held",
        text_of() + "|more",
        "|".join(list(VALUES.values())[:-4]),
        text_of(state="lost"),
        text_of(state=""),
        text_of(amount=""),
        text_of(amount="1.6e+15"),
        text_of(due_ms="soon"),
    ],
)
def test_a_text_that_is_no_record_is_refused_by_one_name(text: str) -> None:
    with pytest.raises(RecordError):
        parse_record("exam-1", SERIAL, text)


def test_a_repeated_request_is_answered_as_the_first_was() -> None:
    later = parse_record("exam-1", SERIAL, text_of(state="expired"))

    first = later.as_first_answered()

    assert (first.state, first.deadline_ms, first.payment_seen) == (
        State.HELD,
        int(VALUES["first_deadline_ms"]),
        False,
    )
    assert (first.id, first.amount, first.created_ms) == (later.id, later.amount, later.created_ms)


def test_a_record_that_was_written_before_changes_of_venue_were_counted_is_read() -> None:
    text = "|".join(list(VALUES.values())[:-3])
    padded = parse_record("exam-1", SERIAL, f"{text}||")

    assert parse_record("exam-1", SERIAL, text) == padded
    assert (padded.venue_changes, padded.key_id) == (0, "")
