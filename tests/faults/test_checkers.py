"""Each checker goes red on evidence in which just its promise is broken, and only then."""

import dataclasses
from collections.abc import Callable

import pytest

from quota_service.domain.reservation import State
from tests.faults import broken_promises as broken
from tests.faults.broken_promises import HELD, QUOTA, recovery, step, whole
from tests.faults.checkers import check
from tests.faults.evidence import Evidence


def test_whole_evidence_has_no_violation() -> None:
    evidence = whole()

    assert check(evidence) == []
    assert evidence.lost == {}


@pytest.mark.parametrize(
    ("promise", "breaks"),
    [
        ("P1", broken.oversold),
        ("P1", broken.counted_wrong),
        ("P2", broken.payment_forgotten),
        ("P2", broken.booking_forgotten),
        ("P2", broken.refund_forgotten),
        ("P2", broken.change_forgotten),
        ("P2", broken.booking_shown_as_hold),
        ("P3", broken.ended_twice),
        ("P4", broken.key_taken_twice),
        ("P4", broken.key_with_another_body),
        ("P4", broken.event_with_two_ends),
        ("P5", broken.expired_early),
        ("P5", broken.expired_before_the_deadline_shown),
        ("P5", broken.expired_late),
        ("P6", broken.payment_without_end),
        ("P6", broken.payment_never_answered),
        ("P6", broken.money_back_twice),
        ("P7", broken.seat_too_many),
        ("P7", broken.negative_counter),
        ("P7", broken.stores_disagree),
        ("P4", broken.ended_event_takes_seats_again),
        ("P5", broken.held_for_ever),
        ("P5", broken.kept_for_an_ended_event),
        ("P7", broken.hold_not_put_back),
        ("P7", broken.booking_not_put_back),
        ("P7", broken.hold_never_drained),
        ("P7", broken.ledger_behind),
        ("P7", broken.booking_at_another_venue),
        ("P8", broken.never_quiet),
        ("P8", broken.request_hung),
        ("P8", broken.spared_and_not_served),
        ("P8", broken.spared_and_slow),
        ("P5", broken.spared_and_expired_late),
        ("P9", broken.two_seats_in_a_session),
        ("P9", broken.claim_left_behind),
        ("P10", broken.second_served_first),
        ("P10", broken.sold_while_somebody_waits),
        ("P10", broken.joined_and_forgotten),
        ("lost", broken.hold_gone),
        ("lost", broken.released_unasked),
        ("answers", broken.internal_error),
        ("journal", broken.step_missing),
        ("journal", broken.version_taken_twice),
        ("journal", broken.version_out_of_order),
        ("journal", broken.gap_untold),
        ("journal", broken.gap_from_nowhere),
        ("recovery", broken.healthy_and_recovered),
        ("recovery", broken.lost_nothing_and_rebuilt),
        ("harness", broken.never_recovered),
    ],
)
def test_a_broken_promise_is_found(promise: str, breaks: Callable[[Evidence], None]) -> None:
    evidence = whole()

    breaks(evidence)

    assert promise in {violation.promise for violation in check(evidence)}


def test_only_a_fault_that_may_lose_excuses_a_lost_hold() -> None:
    evidence = dataclasses.replace(whole(), may_lose=True)

    broken.hold_gone(evidence)
    evidence.seen.recoveries.append(recovery("rebuilt"))
    evidence.seen.counters["held"][QUOTA] = 0
    evidence.seen.counters["remaining"][QUOTA] = 1
    del evidence.seen.claims["candidate-1/day1-am"]

    assert check(evidence) == []
    assert evidence.lost == {HELD: "gone"}


def test_the_exams_of_the_primary_that_failed_may_wait_for_it() -> None:
    evidence = whole()

    broken.spared_and_not_served(evidence)
    evidence.is_spared = False

    assert "P8" not in {violation.promise for violation in check(evidence)}


def test_a_gap_excuses_an_end_whose_beginning_it_may_have_taken() -> None:
    evidence = dataclasses.replace(whole(), has_gap=True)
    ended = dataclasses.replace(evidence.seen.records[HELD], state=State.RELEASED)
    evidence.seen.journal.append(step(4, "release", ended))
    evidence.seen.gaps.append({"epoch": 1, "from_version": 5, "to_version": 6})
    evidence.seen.journal.append(step(7, "release", ended))

    found = {violation.promise for violation in check(evidence)}

    assert "P3" not in found
    assert "journal" not in found
