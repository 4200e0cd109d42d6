"""The checks of the rehearsal are fed with what went wrong, and have to see it."""

import dataclasses
from typing import Any

import pytest

from loadtest.rush.checks import Verdict, check
from loadtest.rush.evidence import (
    Attempt,
    Call,
    Delivered,
    Done,
    Evidence,
    Facts,
    Held,
    LeftList,
    Looked,
    Repeated,
    Sent,
    Shown,
    Ticketed,
    Turn,
)
from loadtest.rush.exam import moment
from loadtest.rush.fairness import rank_of
from tests.support.rush_evidence import (
    EXAM,
    FIRST,
    OPENS_S,
    SECOND,
    SEED,
    THIRD,
    TTL_S,
    booking,
    good_evidence,
    good_facts,
    in_line,
    left,
    reservation,
    step,
    view,
)


def broken(evidence: Evidence, facts: Facts) -> dict[str, tuple[str, ...]]:
    """The promises that a check finds broken, with what it found."""
    return {v.promise: v.lines for v in check(evidence, facts) if not v.is_kept}


def views(name: str, changed: dict[str, Any]) -> dict[str, Any]:
    """The good views with that of one candidate changed."""
    return {**good_facts().views, name: changed}


def test_a_rush_that_went_well_has_no_broken_promise() -> None:
    verdicts = check(good_evidence(), good_facts())

    assert [v.promise for v in verdicts if not v.is_kept] == []
    assert len(verdicts) == 12


def test_a_rush_without_a_room_is_not_judged_by_its_order() -> None:
    verdicts = check(good_evidence(), good_facts(room=None))

    assert {"order", "draw"}.isdisjoint(v.promise for v in verdicts)


def test_a_rush_in_which_nobody_waited_in_line_is_not_judged_by_it() -> None:
    assert "P10" not in {v.promise for v in check(good_evidence(), good_facts())}


@pytest.mark.parametrize(("first", "is_broken"), [(1, False), (2, True)])
def test_seats_that_are_offered_to_the_second_in_line_first_break_p10(
    first: int, is_broken: bool
) -> None:
    evidence, facts = in_line(offered={first: 30, 3 - first: 31})

    assert ("P10" in broken(evidence, facts)) is is_broken


def test_the_first_in_line_who_was_offered_nothing_breaks_p10_unless_it_had_left() -> None:
    passed, facts = in_line(offered={2: 30})
    gone, _ = in_line(offered={2: 30})
    gone.add(LeftList(f"{EXAM}.w.1", OPENS_S + 20))

    assert "P10" in broken(passed, facts)
    assert "P10" not in broken(gone, facts)


def test_what_was_never_put_to_the_test_is_not_called_kept() -> None:
    empty = good_facts(bookings=[], refunds_due=[], views={})

    found = broken(Evidence(), empty)

    assert {"P2", "P3", "P4", "P5", "P6", "P9", "refusals"} <= found.keys()
    assert found["P2"] == ("nothing was seen that could show it",)


def test_a_seat_booked_twice_breaks_p1() -> None:
    facts = good_facts(bookings=[booking(FIRST), booking(SECOND, event="evt_2")])

    assert "jinan/general: 2 booked of 1" in broken(good_evidence(), facts)["P1"]


def test_fewer_than_no_seats_left_breaks_p1() -> None:
    evidence = good_evidence()
    evidence.add(Looked(OPENS_S + 2, -1, 5, 5, 1, 0, 20.0))

    assert broken(evidence, good_facts()).keys() == {"P1"}


@pytest.mark.parametrize("promise", ["P1", "P3", "P6", "P7", "P9"])
def test_what_the_audit_found_breaks_its_promise(promise: str) -> None:
    difference = {"promise": promise, "place": "jinan/qms", "expected": "2", "found": "3"}
    audit = {**good_facts().audit, "differences": [difference]}

    assert broken(good_evidence(), good_facts(audit=audit)).keys() == {promise}


@pytest.mark.parametrize("promise", ["P1", "P3", "P6", "P7", "P9"])
def test_an_audit_that_left_a_promise_out_breaks_it(promise: str) -> None:
    checked = [name for name in good_facts().audit["checked"] if name != promise]
    facts = good_facts(audit={"checked": checked, "differences": []})

    assert broken(good_evidence(), facts).keys() == {promise}


def test_a_confirmed_payment_without_its_booking_breaks_p2() -> None:
    facts = good_facts(bookings=[booking(FIRST, event="evt_9")])

    assert broken(good_evidence(), facts).keys() == {"P2"}


def test_a_confirmed_payment_booked_for_somebody_else_breaks_p2() -> None:
    facts = good_facts(bookings=[booking(THIRD)])

    assert "P2" in broken(good_evidence(), facts)


def test_money_due_back_for_payments_of_others_does_not_break_p6() -> None:
    others = [{"event": f"evt_of_others_{n}", "amount": 8000} for n in range(3)]
    facts = good_facts(refunds_due=[*good_facts().refunds_due, *others])

    assert broken(good_evidence(), facts) == {}


def test_a_refund_due_that_is_not_listed_breaks_p2_and_the_money_p6() -> None:
    facts = good_facts(refunds_due=[])

    assert broken(good_evidence(), facts).keys() == {"P2", "P6"}


def test_a_hold_that_ended_twice_breaks_p3() -> None:
    twice = view(THIRD, "expired", step("release", 8, "released"), step("expire", 13, "expired"))

    found = broken(good_evidence(), good_facts(views=views(THIRD, twice)))

    assert found["P3"] == (f"{EXAM}.0.{THIRD} was ended twice, by expire",)


def test_a_hold_that_lived_again_may_end_again() -> None:
    again = view(
        SECOND,
        "refunded",
        step("expire", 1 + TTL_S + 1.2, "expired"),
        step("pin", 14, "confirming"),
        step("confirm", 15, "confirmed"),
        step("refund", 16, "refunded"),
    )

    assert broken(good_evidence(), good_facts(views=views(SECOND, again))) == {}


def test_a_release_that_did_not_end_the_hold_breaks_p3() -> None:
    evidence = good_evidence()
    evidence.add(Done(f"{EXAM}.0.{SECOND}9", "release", OPENS_S + 8, "jinan"))

    assert broken(evidence, good_facts()).keys() == {"P3"}


def test_a_repeat_answered_with_another_venue_breaks_p4() -> None:
    evidence = good_evidence()
    evidence.add(Held(f"{FIRST}-1", OPENS_S + 2, reservation(FIRST, venue="hefei"), {}, ""))

    assert broken(evidence, good_facts())["P4"] == (f"{FIRST}-1 was answered with another venue",)


def test_two_keys_for_one_reservation_break_p4() -> None:
    evidence = good_evidence()
    evidence.add(Held(f"{FIRST}-2", OPENS_S + 2, reservation(FIRST), {}, ""))

    assert broken(evidence, good_facts()).keys() == {"P4"}


def test_an_event_with_two_outcomes_breaks_p4() -> None:
    evidence = good_evidence()
    evidence.add(Delivered("evt_2", OPENS_S + 30, 200, "ignored"))

    assert "evt_2 was answered refund_due, then ignored" in broken(evidence, good_facts())["P4"]


def test_a_second_claim_with_another_pass_breaks_p4() -> None:
    evidence = good_evidence()
    evidence.add(Repeated("a second claim", is_same=False))

    assert broken(evidence, good_facts()).keys() == {"P4"}


def test_a_reservation_booked_twice_breaks_p4() -> None:
    facts = good_facts(bookings=[booking(FIRST), booking(FIRST)])

    assert "P4" in broken(good_evidence(), facts)


@pytest.mark.parametrize("expired_after_s", [TTL_S - 0.1, TTL_S + 5.0])
def test_an_expiry_too_early_or_too_late_breaks_p5(expired_after_s: float) -> None:
    wrong = view(SECOND, "expired", step("expire", 1 + expired_after_s, "expired"))

    assert broken(good_evidence(), good_facts(views=views(SECOND, wrong))).keys() == {"P5"}


def test_an_expiry_before_a_deadline_that_was_moved_out_breaks_p5() -> None:
    evidence = good_evidence()
    evidence.add(Shown(f"{EXAM}.0.{SECOND}", OPENS_S + 2, moment(OPENS_S + 30)))

    assert broken(evidence, good_facts()).keys() == {"P5"}


def test_a_hold_that_outlives_its_deadline_breaks_p5() -> None:
    facts = good_facts(views=views(SECOND, view(SECOND, "held")))

    assert "P5" in broken(good_evidence(), facts)


def test_a_payment_that_was_never_answered_breaks_p6() -> None:
    evidence = good_evidence()
    evidence.add(Sent("evt_3", f"{EXAM}.0.{THIRD}", "captured", 8000))
    evidence.add(Delivered("evt_3", OPENS_S + 9, 503, ""))

    assert "evt_3 ended as None" in broken(evidence, good_facts())["P6"]


def test_a_captured_payment_that_was_ignored_breaks_p6() -> None:
    evidence = good_evidence()
    evidence.add(Sent("evt_3", f"{EXAM}.0.{THIRD}", "captured", 8000))
    evidence.add(Delivered("evt_3", OPENS_S + 9, 200, "ignored"))

    assert "evt_3 ended as ignored" in broken(evidence, good_facts())["P6"]


def test_money_that_does_not_add_up_breaks_p6() -> None:
    facts = good_facts(bookings=[booking(FIRST, amount="7999")])

    assert broken(good_evidence(), facts).keys() == {"P6"}


def test_a_seat_that_came_back_twice_breaks_p7() -> None:
    quotas = [left("general", 1), left("qms", 2), left("ems", 2)]

    found = broken(good_evidence(), good_facts(availability={"quotas": quotas}))

    assert found == {"P7": ("jinan/general: 1 left, 0 expected",)}


@pytest.mark.parametrize("change", [{"ready_status": 503}, {"probe_status": 409}])
def test_a_service_that_does_not_serve_at_the_end_breaks_p8(change: dict[str, int]) -> None:
    assert broken(good_evidence(), good_facts(**change)).keys() == {"P8"}


@pytest.mark.parametrize(("status", "slug"), [(500, "internal-error"), (503, "status-503")])
def test_a_fault_that_does_not_say_when_to_come_back_breaks_p8(status: int, slug: str) -> None:
    evidence = good_evidence()
    evidence.add(Call("reserve", OPENS_S + 1, 5.0, status, slug))

    assert broken(evidence, good_facts()).keys() == {"P8"}


def test_being_busy_breaks_nothing() -> None:
    evidence = good_evidence()
    evidence.add(Call("reserve", OPENS_S + 1, 5.0, 503, "overloaded"))

    assert broken(evidence, good_facts()) == {}


def test_two_subjects_booked_in_one_session_break_p9() -> None:
    bookings = [booking(FIRST, subjects="general qms"), booking(FIRST, subjects="ems")]

    found = broken(good_evidence(), good_facts(bookings=bookings))

    assert f"{FIRST} has 2 subjects booked in pm" in found["P9"]


def test_two_live_reservations_in_one_session_break_p9() -> None:
    two = view(FIRST, "confirmed", step("confirm", 3, "confirmed"))
    two["reservations"] *= 2

    facts = good_facts(views=views(FIRST, two))

    assert f"{FIRST} has 2 subjects live in am" in broken(good_evidence(), facts)["P9"]


def test_a_cheat_that_worked_is_found() -> None:
    evidence = good_evidence()
    evidence.add(Attempt("a forged pass", ("pass-invalid",), 201, ""))

    found = broken(evidence, good_facts())

    assert found == {"refusals": ("a forged pass was answered 201 ",)}


def test_somebody_who_waits_after_one_behind_was_called_was_passed_over() -> None:
    evidence = Evidence()
    rank = {name: rank_of(SEED, EXAM, name) for name in (FIRST, SECOND)}
    evidence.add(Turn(SECOND, "draw", rank[SECOND], None, None, OPENS_S))
    evidence.add(Turn(FIRST, "draw", rank[FIRST], None, OPENS_S + 2.1, OPENS_S + 4))

    found = broken(evidence, good_facts())

    assert found["order"] == (f"{FIRST} waited 2.1 s after one behind was called",)


def test_a_number_called_before_the_draw_is_over_passes_somebody_over() -> None:
    evidence = good_evidence()
    rank = rank_of(SEED, EXAM, "dan")
    evidence.add(Turn("dan", "draw", rank, None, OPENS_S + 30, None))

    assert "order" in broken(evidence, good_facts())


def test_a_document_a_second_old_passes_nobody_over() -> None:
    evidence = Evidence()
    rank = {name: rank_of(SEED, EXAM, name) for name in (FIRST, SECOND)}
    evidence.add(Turn(SECOND, "draw", rank[SECOND], None, None, OPENS_S))
    evidence.add(Turn(FIRST, "draw", rank[FIRST], None, OPENS_S + 1.5, OPENS_S + 4))

    assert "order" not in broken(evidence, good_facts())


def test_a_seed_that_is_not_the_one_committed_to_breaks_the_draw() -> None:
    room = {"seed": SEED.hex(), "seed_commitment": "0" * 64}

    assert broken(good_evidence(), good_facts(room=room)).keys() == {"draw"}


def test_a_rank_that_the_seed_does_not_give_breaks_the_draw() -> None:
    evidence = good_evidence()
    evidence.add(Turn("dan", "draw", "0" * 64, None, None, None))

    assert broken(evidence, good_facts())["draw"] == (f"dan was ranked {'0' * 64}",)


def test_a_seed_that_is_not_revealed_breaks_the_draw() -> None:
    room = {"seed": None, "seed_commitment": good_facts().room["seed_commitment"]}

    assert broken(good_evidence(), good_facts(room=room)).keys() == {"draw"}


def test_one_number_for_two_people_breaks_the_draw() -> None:
    evidence = good_evidence()
    evidence.add(Ticketed("dan", "number", None, 1, OPENS_S + 3))

    assert broken(evidence, good_facts()).keys() == {"draw"}


def test_two_numbers_for_one_wait_break_the_draw() -> None:
    evidence = good_evidence()
    evidence.add(Ticketed(THIRD, "number", None, 2, OPENS_S + 3))

    assert broken(evidence, good_facts()).keys() == {"draw"}


def test_a_rank_told_before_the_opening_breaks_the_draw() -> None:
    evidence = good_evidence()
    evidence.add(Ticketed("dan", "draw", "00", None, OPENS_S - 3))

    assert broken(evidence, good_facts()).keys() == {"draw"}


def test_evidence_reaches_another_process_unchanged() -> None:
    evidence, received = good_evidence(), Evidence()
    calls = [dataclasses.astuple(call) for call in evidence.of(Call)]

    received.add_wire(evidence.take_wire())

    assert [dataclasses.astuple(call) for call in received.of(Call)] == calls
    assert evidence.of(Call) == []
    assert broken(received, good_facts()) == {}


def test_a_long_list_of_evidence_is_cut() -> None:
    verdict = Verdict("P1", "never oversold", 9, tuple(f"line {n}" for n in range(9)))

    assert verdict.lines == (*(f"line {n}" for n in range(5)), "and 4 more")
