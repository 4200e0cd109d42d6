"""Tickets and passes: what is ours is taken, and nothing else is, whatever was changed in it."""

import base64

import pytest

from quota_service.waiting_room.passes import PERIOD_MS, Pass, PassFault, read_pass, write_pass
from quota_service.waiting_room.signing import SIGNED_MAX, sign
from quota_service.waiting_room.tickets import (
    IN_DRAW,
    Ticket,
    TicketFault,
    read_ticket,
    write_ticket,
)
from tests.support.rooms import make_room

ROOM = make_room()
OTHER = make_room(exam="exam-2", ticket_key=b"T" * 32, pass_key=b"P" * 32)
NOW_MS = 1_700_000_000_000
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_."
ODD_TEXTS = [
    "",
    ".",
    "..",
    "a",
    "a.b",
    "=.=",
    "é.é",
    "\x00",
    "A" * (SIGNED_MAX + 1),
    "MHww.",
    "|",
]

TICKETS = [
    Ticket("exam-1", "candidate-1", IN_DRAW),
    Ticket("exam-1", "candidate-1", 1),
    Ticket("exam-1", "c" * 64, 999_999_999_999),
]


def test_the_longest_ticket_and_the_longest_pass_are_within_the_limit() -> None:
    exam, candidate, most = "e" * 32, "c" * 64, 10**16 - 1
    ticket = write_ticket(ROOM, Ticket(exam, candidate, most))
    longest = write_pass(ROOM, Pass(exam, candidate, most, most, most))

    assert max(len(ticket), len(longest)) <= SIGNED_MAX


def granted(**changes: int | str) -> Pass:
    fields = {
        "exam": "exam-1",
        "candidate": "candidate-1",
        "place": 7,
        "expires_ms": NOW_MS + 600_000,
        "epoch": 3,
    }
    return Pass(**{**fields, **changes})


def flipped(text: str) -> list[str]:
    """Every text that differs in one character: changed, left out, or doubled."""
    changed = []
    for i, letter in enumerate(text):
        following = ALPHABET[(ALPHABET.index(letter) + 1) % len(ALPHABET)]
        changed += [text[:i] + other + text[i + 1 :] for other in (following, "=", "|")]
        changed += [text[:i] + text[i + 1 :], text[:i] + letter + text[i:]]
    return [each for each in changed if each != text]


@pytest.mark.parametrize("ticket", TICKETS)
def test_a_ticket_is_read_as_it_was_written_and_written_the_same_each_time(ticket: Ticket) -> None:
    text = write_ticket(ROOM, ticket)

    assert read_ticket(ROOM, ticket.candidate, text) == ticket
    assert write_ticket(ROOM, ticket) == text
    assert len(text) <= SIGNED_MAX


def test_a_ticket_with_one_character_changed_is_none() -> None:
    text = write_ticket(ROOM, TICKETS[1])

    taken = [
        each for each in flipped(text) if isinstance(read_ticket(ROOM, "candidate-1", each), Ticket)
    ]

    assert taken == []


def test_a_signature_in_another_spelling_of_the_same_bytes_is_none() -> None:
    """The last letter of a signature has bits that no byte needs."""
    text = write_ticket(ROOM, TICKETS[0])
    last = ALPHABET.index(text[-1])
    twins = [text[:-1] + ALPHABET[last ^ bit] for bit in (1, 2, 3)]
    payload, _, signature = text.partition(".")
    raw = base64.urlsafe_b64decode(signature + "=")

    assert any(base64.urlsafe_b64decode(twin.partition(".")[2] + "=") == raw for twin in twins)
    for other in [*twins, f"{payload}.{signature}=", f"{payload}=.{signature}"]:
        assert read_ticket(ROOM, "candidate-1", other) is TicketFault.INVALID


def test_a_ticket_is_of_no_use_to_another_candidate() -> None:
    text = write_ticket(ROOM, TICKETS[0])

    assert read_ticket(ROOM, "candidate-2", text) is TicketFault.INVALID
    assert read_ticket(ROOM, "", text) is TicketFault.INVALID


def test_a_ticket_of_another_exam_is_told_as_one() -> None:
    text = write_ticket(OTHER, Ticket("exam-2", "candidate-1", IN_DRAW))

    assert read_ticket(ROOM, "candidate-1", text) is TicketFault.OTHER_EXAM


def test_a_ticket_signed_with_another_key_is_none() -> None:
    for room in (make_room(ticket_key=b"x" * 32), make_room(ticket_key=ROOM.pass_key)):
        text = write_ticket(room, TICKETS[0])

        assert read_ticket(ROOM, "candidate-1", text) is TicketFault.INVALID


@pytest.mark.parametrize("place", ["", "-1", "1.0", "00x", "１", "9" * 17, " 1"])
def test_a_place_that_is_no_number_of_ours_is_refused_even_when_it_is_signed(place: str) -> None:
    fields = ("exam-1", "candidate-1", place.encode("ascii", "replace").decode())
    text = sign(ROOM.ticket_key, fields)

    assert read_ticket(ROOM, "candidate-1", text) is TicketFault.INVALID


@pytest.mark.parametrize("text", ODD_TEXTS)
def test_what_is_no_signed_text_is_neither_ticket_nor_pass(text: str) -> None:
    assert read_ticket(ROOM, "candidate-1", text) is TicketFault.INVALID
    assert read_pass(ROOM, "candidate-1", text, NOW_MS) is PassFault.INVALID


def test_a_ticket_is_no_pass_and_a_pass_no_ticket() -> None:
    same_key = make_room(pass_key=ROOM.ticket_key)

    ticket = read_pass(same_key, "candidate-1", write_ticket(same_key, TICKETS[0]), NOW_MS)
    a_pass = read_ticket(same_key, "candidate-1", write_pass(same_key, granted()))

    assert (ticket, a_pass) == (PassFault.INVALID, TicketFault.INVALID)


def test_a_pass_is_read_as_it_was_written_and_written_the_same_each_time() -> None:
    text = write_pass(ROOM, granted())

    assert read_pass(ROOM, "candidate-1", text, NOW_MS) == granted()
    assert write_pass(ROOM, granted()) == text


def test_a_pass_with_one_character_changed_is_none() -> None:
    text = write_pass(ROOM, granted())

    taken = [
        each
        for each in flipped(text)
        if read_pass(ROOM, "candidate-1", each, NOW_MS) is not PassFault.INVALID
    ]

    assert taken == []


def test_a_pass_opens_nothing_for_another_candidate_or_another_exam() -> None:
    text = write_pass(ROOM, granted())
    foreign = write_pass(OTHER, granted(exam="exam-2"))

    assert read_pass(ROOM, "candidate-2", text, NOW_MS) is PassFault.INVALID
    assert read_pass(OTHER, "candidate-1", text, NOW_MS) is PassFault.INVALID
    assert read_pass(ROOM, "candidate-1", foreign, NOW_MS) is PassFault.INVALID


def test_a_pass_is_over_at_the_moment_it_says() -> None:
    text = write_pass(ROOM, granted())
    expires_ms = granted().expires_ms

    assert read_pass(ROOM, "candidate-1", text, expires_ms - 1) == granted()
    assert read_pass(ROOM, "candidate-1", text, expires_ms) is PassFault.EXPIRED
    assert read_pass(ROOM, "candidate-1", text, expires_ms + 10 * PERIOD_MS) is PassFault.EXPIRED


def test_a_pass_that_ran_out_is_good_again_until_a_later_end() -> None:
    text = write_pass(ROOM, granted())
    kept_until_ms = granted().expires_ms + 10 * PERIOD_MS

    def read(now_ms: int) -> Pass | PassFault:
        return read_pass(ROOM, "candidate-1", text, now_ms, kept_until_ms)

    assert read(NOW_MS) == read(kept_until_ms - 1) == granted(expires_ms=kept_until_ms)
    assert read(kept_until_ms) is PassFault.EXPIRED
    assert read_pass(ROOM, "candidate-1", text, NOW_MS, NOW_MS) == granted()


@pytest.mark.parametrize("before_ms", [1, 600_000, 3_599_999])
def test_a_pass_lives_through_the_change_of_a_key(before_ms: int) -> None:
    change_ms = (NOW_MS // PERIOD_MS + 1) * PERIOD_MS
    across = granted(expires_ms=change_ms - before_ms + 3_600_000)
    text = write_pass(ROOM, across)

    for now_ms in (change_ms - before_ms, change_ms - 1, change_ms, across.expires_ms - 1):
        assert read_pass(ROOM, "candidate-1", text, now_ms) == across


def test_a_key_signs_nothing_that_is_alive_two_periods_later() -> None:
    leaked = write_pass(ROOM, granted(expires_ms=NOW_MS))
    later_ms = NOW_MS + 2 * PERIOD_MS
    payload, _, signature = leaked.partition(".")
    renewed = write_pass(ROOM, granted(expires_ms=later_ms + 1)).partition(".")[0]

    assert read_pass(ROOM, "candidate-1", f"{renewed}.{signature}", later_ms) is PassFault.INVALID
    assert read_pass(ROOM, "candidate-1", f"{payload}.{signature}", later_ms) is PassFault.EXPIRED


def test_a_pass_that_ends_later_than_any_of_ours_is_none() -> None:
    too_long = write_pass(ROOM, granted(expires_ms=NOW_MS + PERIOD_MS + 1))

    assert read_pass(ROOM, "candidate-1", too_long, NOW_MS) is PassFault.INVALID


def test_passes_of_two_periods_are_signed_with_two_keys() -> None:
    now, then = granted(), granted(expires_ms=granted().expires_ms + PERIOD_MS)
    texts = [write_pass(ROOM, each) for each in (now, then)]

    assert texts[0].partition(".")[2] != texts[1].partition(".")[2]
