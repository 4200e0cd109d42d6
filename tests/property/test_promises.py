"""A state machine drives the use cases over real stores against a plain-Python model.

After every step both stores are compared with the model, and the promises are checked: never
oversold (P1), one end each (P3), one effect (P4), books that balance (P7), one subject a session
(P9). A process that dies inside a confirmation, a change of venue or a refund is among the steps.
So is a definition that another process changes: subjects move, the fee, the window and the seats
change, a venue is added. And ops pause reserving, or changes of venue too. Over 400 lines because
Hypothesis wants a state machine in one class.
"""

import dataclasses
import itertools
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from quota_service.app.opening import open_service
from quota_service.app.upkeep import refresh_memory
from quota_service.definitions.reading import parse_exam
from quota_service.domain.definition import rfc3339
from quota_service.domain.errors import (
    AlreadyConfirmed,
    DefinitionRefused,
    EventIdReused,
    IdempotencyKeyReused,
    NotConfirmed,
    Paused,
    RefundUsed,
    RegistrationClosed,
    ReservationEnded,
    SameSessionTwice,
    SessionConflict,
    SoldOut,
    TooManyUnpaidHolds,
    UnknownVenue,
    VenueChangesUsed,
)
from quota_service.domain.exam import Exam, Pause, Quota
from quota_service.domain.payment import PaymentStatus
from quota_service.registration.audit import audit
from quota_service.registration.change_venue import change_venue
from quota_service.registration.confirm import confirm
from quota_service.registration.drain_journal import drain_journal
from quota_service.registration.import_exam import import_exam
from quota_service.registration.pause import pause_exam, resume_exam
from quota_service.registration.recover import Recovered, recover_attempts
from quota_service.registration.refund import refund, return_seats
from quota_service.registration.release import checkout, release
from quota_service.registration.reserve import Order, reserve
from quota_service.registration.sync_shard import finish_import
from quota_service.registration.view import view_candidate
from quota_service.settings import Settings
from tests.support.examples import examples
from tests.support.exams import exam_definition
from tests.support.promises_driver import Driver
from tests.support.promises_model import (
    FAIR_USE,
    SEATS,
    SESSION_OF,
    SESSIONS,
    Held,
    Model,
)
from tests.support.records import move_due_into_the_past
from tests.support.redis_clients import redis_of
from tests.support.running_service import running_service
from tests.support.use_cases import DiedError, expire_due_holds

CANDIDATES = st.sampled_from(["ann", "bob", "cai", "dan"])
SUBJECTS = st.sampled_from(
    [("general",), ("qms",), ("ems",), ("service",), ("general", "qms"), ("ems", "service")]
)
VENUES = st.sampled_from(
    [("jinan",), ("tianjin",), ("jinan", "tianjin"), ("tianjin", "jinan"), ("xian", "jinan")]
)
VENUE = st.sampled_from(["jinan", "tianjin", "xian"])
PAUSED = st.sampled_from([("", ""), ("jinan", ""), ("", "qms"), ("tianjin", "general")])
ADDED = {"general": 1, "qms": 1, "ems": 1, "service": 1}
CHANGE_LINES = ["before script", "after script", "after commit", "after finish"]
PICKS = st.integers(0, 11)
"""Which of the reservations made so far a step is about, counted from the newest."""
_numbers = itertools.count(1)


class Promises(Driver):
    """The steps; each compares what the service did with what the model says."""

    events: Bundle[tuple[str, Held, bool]] = Bundle("events")

    @initialize(
        orders=st.lists(st.tuples(CANDIDATES, SUBJECTS, VENUES), min_size=4, max_size=10),
        late=st.integers(0, 3),
    )
    def open_an_exam(self, orders: list[Any], late: int) -> None:
        """Import the exam; some have reserved before the first step, a few of them too late."""
        self.begin(orders, late)

    def begin(self, orders: list[Any], late: int) -> None:
        self.model = self.new_model(f"exam-{next(_numbers)}")
        self.definition = exam_definition(
            self.model.exam, seats=SEATS, checkout_grace_s=100, fair_use=FAIR_USE
        )
        self.closed_at = rfc3339(round(time.time() * 1000) - 60_000)
        assert self.run(import_exam(self.stores.maintenance, self.exam())).created
        self.run(self.beside.stores.registry.refresh())
        self.shard = self.stores.registry.shard(self.model.exam)
        for order in orders[late:]:
            self.reserve(*order)
        for _ in range(late):
            self.time_passes_for(late)
        for order in orders[:late]:
            self.reserve(*order)

    def new_model(self, exam: str) -> Model:
        return Model(exam)

    @rule(candidate=CANDIDATES, subjects=SUBJECTS, venues=VENUES)
    def reserve(self, candidate: str, subjects: tuple[str, ...], venues: tuple[str, ...]) -> None:
        key = f"key-{next(_numbers)}"
        order = Order(candidate, subjects, venues, accepted_notice="2023-1")
        standing = self.model.standing(candidate, subjects)
        known = tuple(venue for venue in venues if venue in self.model.seats)
        going_on = tuple(v for v in known if not self.model.is_paused(v, subjects))
        venue = self.model.first_venue_with_all(subjects, going_on)
        call = reserve(self.stores.reservations, self.model.exam, order, key)
        if not self.model.seats.keys() >= set(venues):
            with pytest.raises(UnknownVenue):
                self.run(call)
        elif self.model.is_twice_in_a_session(subjects):
            with pytest.raises(SameSessionTwice):
                self.run(call)
        elif not going_on:
            with pytest.raises(Paused):
                self.run(call)
        elif not self.model.is_open:
            with pytest.raises(RegistrationClosed):
                self.run(call)
        elif standing:
            with pytest.raises(SessionConflict) as conflict:
                self.run(call)
            assert conflict.value.reservation in {held.id for held in standing}
        elif self.model.has_to_wait(candidate):
            with pytest.raises(TooManyUnpaidHolds):
                self.run(call)
        elif venue is None and going_on != venues:
            with pytest.raises(Paused):
                self.run(call)
        elif venue is None:
            with pytest.raises(SoldOut) as sold_out:
                self.run(call)
            for left in sold_out.value.left:
                assert left.remaining == self.model.on_sale(Quota(left.venue, left.subject))
        else:
            made = self.run(call)
            assert (made.replayed, made.reservation.venue) == (False, venue)
            assert made.reservation.amount == self.model.fee * len(subjects)
            assert set(made.reservation.sessions) == self.model.sessions(subjects)
            self.model.reservations.append(
                Held(
                    made.reservation.id,
                    key,
                    order,
                    venue,
                    first_deadline_ms=made.reservation.deadline_ms,
                    sessions=self.model.sessions(subjects),
                    amount=self.model.fee * len(subjects),
                )
            )

    @rule(pick=PICKS)
    def reserve_again_with_the_same_key(self, pick: int) -> None:
        if held := self.model.pick_ordered(pick):
            again = self.run(
                reserve(self.stores.reservations, self.model.exam, held.order, held.key)
            )
            assert again.replayed
            assert (again.reservation.id, again.reservation.state) == (held.id, "held")
            assert again.reservation.deadline_ms == held.first_deadline_ms

    @rule(pick=PICKS)
    def reserve_something_else_with_the_same_key(self, pick: int) -> None:
        if held := self.model.pick_ordered(pick):
            other = dataclasses.replace(held.order, venues=("beijing", *held.order.venues))
            with pytest.raises(IdempotencyKeyReused):
                self.run(reserve(self.stores.reservations, self.model.exam, other, held.key))

    @rule(pick=PICKS)
    def release(self, pick: int) -> None:
        held = self.model.pick(pick)
        if held is None:
            return
        call = release(self.stores, held.id)
        if held.state == "confirmed":
            with pytest.raises(AlreadyConfirmed):
                self.run(call)
            return
        if held.state == "held":
            self.model.end(held, "released")
        assert self.run(call).state == held.state

    @rule(pick=PICKS)
    def checkout(self, pick: int) -> None:
        held = self.model.pick(pick)
        if held is None:
            return
        call = checkout(self.stores, held.id)
        if held.state == "confirmed":
            with pytest.raises(AlreadyConfirmed):
                self.run(call)
        elif held.state != "held":
            with pytest.raises(ReservationEnded):
                self.run(call)
        else:
            deadline_ms = self.run(call).deadline_ms
            assert deadline_ms == held.first_deadline_ms + 100_000

    @rule(target=events, pick=PICKS, amount_is_right=st.sampled_from([True, True, True, False]))
    def pay(self, pick: int, amount_is_right: bool) -> Any:
        return self._pay(self.model.pick(pick), amount_is_right)

    @rule(target=events, pick=PICKS)
    def pay_too_late(self, pick: int) -> Any:
        return self._pay(self.model.pick(pick, "expired"), True)

    @rule(pick=PICKS, venues=VENUES)
    def reserve_again_after_expiry(self, pick: int, venues: tuple[str, ...]) -> None:
        if held := self.model.pick(pick, "expired"):
            self.reserve(held.order.candidate, held.order.subjects, venues)

    def _pay(self, held: Held | None, amount_is_right: bool) -> Any:
        if held is None or (held.state == "expired" and not self.model.is_open):
            return multiple()
        event = f"event-{next(_numbers)}"
        expected = self.model.pay(held, amount_is_right=amount_is_right)
        self.model.events[event] = expected
        assert self.run(self.report(event, held, amount_is_right)) == expected
        return event, held, amount_is_right

    @rule(paid=events)
    def report_the_same_event_again(self, paid: tuple[str, Held, bool]) -> None:
        assert self.run(self.report(*paid)) == self.model.events[paid[0]]

    @rule(paid=events)
    def report_another_payment_under_a_known_event(self, paid: tuple[str, Held, bool]) -> None:
        event, held, amount_is_right = paid
        with pytest.raises(EventIdReused):
            self.run(self.report(event, held, amount_is_right, reference="another"))

    @rule(pick=PICKS)
    def report_a_failed_payment(self, pick: int) -> None:
        held = self.model.pick(pick)
        if held is None:
            return
        event = f"event-{next(_numbers)}"
        call = self.report(event, held, True, status=PaymentStatus.FAILED)
        assert self.run(call) == ("ignored", None)

    @rule(pick=PICKS, line=st.sampled_from(["after attempt", "after commit"]))
    def die_in_a_confirmation_and_recover(self, pick: int, line: str) -> None:
        held = self.model.pick(pick, "held")
        if held is None:
            return

        event = f"event-{next(_numbers)}"
        with pytest.raises(DiedError):
            self.run(
                confirm(self.dying("payments", f"confirm: {line}"), self.event(event, held, True))
            )
        recovered = self.run(recover_attempts(self.stores.payments, self.shard, 0, 10))
        if line == "after commit":
            held.state = "confirmed"
            self.model.events[event] = ("confirmed", None)
        assert recovered == (
            Recovered(finished=1) if line == "after commit" else Recovered(abandoned=1)
        )

    @rule(pick=PICKS, venue=VENUE)
    def change_venue(self, pick: int, venue: str) -> None:
        self._change_venue(self.model.pick(pick), venue)

    @rule(pick=PICKS, venue=VENUE)
    def change_the_venue_of_a_booking(self, pick: int, venue: str) -> None:
        self._change_venue(self.model.pick(pick, "confirmed"), venue)

    def _change_venue(self, held: Held | None, venue: str) -> None:
        if held is None:
            return
        call = change_venue(self.stores.payments, held.id, venue)
        if venue not in self.model.seats:
            with pytest.raises(UnknownVenue):
                self.run(call)
        elif not held.stands:
            with pytest.raises(ReservationEnded) as ended:
                self.run(call)
            assert ended.value.state == held.state
        elif venue != held.venue and self.is_stopped(held, venue):
            with pytest.raises(Paused):
                self.run(call)
        elif venue != held.venue and not self.model.is_open:
            with pytest.raises(RegistrationClosed):
                self.run(call)
        elif venue != held.venue and self.model.has_used_changes(held):
            with pytest.raises(VenueChangesUsed):
                self.run(call)
        elif venue != held.venue and not self.model.can_move(held, venue):
            with pytest.raises(SoldOut) as sold_out:
                self.run(call)
            told = [
                (Quota(left.venue, left.subject), left.remaining) for left in sold_out.value.left
            ]
            assert told == [(q, self.model.on_sale(q)) for q in held.quotas_at(venue)]
        else:
            if venue != held.venue:
                self.model.move(held, venue)
            moved = self.run(call)
            assert (moved.venue, moved.state) == (venue, held.state)

    @rule(pick=PICKS, venue=VENUE, line=st.sampled_from(CHANGE_LINES))
    def die_in_a_change_and_recover(self, pick: int, venue: str, line: str) -> None:
        held = self.model.pick(pick, "confirmed")
        if held is None or not self.model.is_open or not self.model.can_move(held, venue):
            return
        if self.model.has_used_changes(held) or self.is_stopped(held, venue):
            return
        with pytest.raises(DiedError):
            self.run(change_venue(self.dying("payments", f"change: {line}"), held.id, venue))
        recovered = self.run(recover_attempts(self.stores.payments, self.shard, 0, 10))
        if line in {"after commit", "after finish"}:
            self.model.move(held, venue)
        if line == "after script":
            self.model.give_back(held.quotas_at(venue))
        ends = {"after script": Recovered(stayed=1), "after commit": Recovered(moved=1)}
        assert recovered == ends.get(line, Recovered())

    @rule(pick=PICKS)
    def refund(self, pick: int) -> None:
        self._refund(self.model.pick(pick))

    @rule(pick=PICKS)
    def refund_a_booking(self, pick: int) -> None:
        self._refund(self.model.pick(pick, "confirmed"))

    def _refund(self, held: Held | None) -> None:
        if held is None:
            return
        call = refund(self.stores.payments, held.id)
        if held.state == "held":
            with pytest.raises(NotConfirmed):
                self.run(call)
        elif held.state in {"released", "expired"}:
            with pytest.raises(ReservationEnded):
                self.run(call)
        elif not self.model.can_be_refunded(held):
            with pytest.raises(RefundUsed) as used:
                self.run(call)
            assert used.value.reservation == self.model.refunds[held.candidate]
        else:
            assert self.run(call).state == "refunded"
            self.model.refund(held)

    @rule(pick=PICKS, line=st.sampled_from(["before commit", "after commit"]))
    def die_in_a_refund_and_recover(self, pick: int, line: str) -> None:
        held = self.model.pick(pick, "confirmed")
        if held is None or not self.model.can_be_refunded(held):
            return
        with pytest.raises(DiedError):
            self.run(refund(self.dying("payments", f"refund: {line}"), held.id))
        returned = self.run(return_seats(self.stores.payments, self.shard, 10))
        if line == "after commit":
            self.model.refund(held)
            assert returned
        assert self.run(return_seats(self.stores.payments, self.shard, 10)) == 0

    @rule(pick=PICKS)
    def time_passes_for(self, pick: int) -> None:
        """A hold falls due; the expiry runs twice and takes it once."""
        held = self.model.pick(pick, "held")
        if held is None:
            return
        self.run(move_due_into_the_past(redis_of(self.service), held.id))
        assert self.run(expire_due_holds(self.stores, self.shard, 10)) == 1
        self.model.end(held, "expired")
        assert self.run(expire_due_holds(self.stores, self.shard, 10)) == 0

    @rule(candidate=CANDIDATES)
    def look_at_what_a_candidate_has(self, candidate: str) -> None:
        view = self.run(view_candidate(self.stores.payments, self.model.exam, candidate))
        mine = {r.id: r.state for r in self.model.reservations if r.order.candidate == candidate}
        seen = {v.reservation.id: v.reservation.state.value for v in view.reservations}
        # What has ended is known from the drained journal, which may be a step behind.
        assert seen.items() <= mine.items()
        assert {i for i, state in mine.items() if state in {"held", "confirmed"}} <= seen.keys()
        used = view.refunds[0].reservation if view.refunds else None
        assert used == self.model.refunds.get(candidate)

    @rule(again=st.booleans())
    def drain_the_journal_and_import_again(self, again: bool) -> None:
        self.run(drain_journal(self.stores.maintenance, self.shard, 1000, 3))
        expected = {held.id: held.state for held in self.model.reservations}
        assert self.run(self.drained_states()) == expected
        if again:
            imported = self.run(import_exam(self.stores.maintenance, self.exam()))
            assert (imported.created, imported.changes) == (False, ())

    def exam(self) -> Exam:
        """Return the definition that the model has."""
        return parse_exam(self.document())

    def document(self) -> dict[str, Any]:
        model, window = self.model, dict(self.definition["registration"])
        if not model.is_open:
            window["closes_at"] = self.closed_at
        subjects = [
            {**subject, "session": model.session_of[subject["id"]]}
            for subject in self.definition["subjects"]
        ]
        return {
            **self.definition,
            "registration": window,
            "fee": {"amount": model.fee, "currency": "CNY"},
            "subjects": subjects,
            "venues": [{"id": venue, "title": {"zh": venue, "en": venue}} for venue in model.seats],
            "seats": model.seats,
        }

    def _import(self, *, is_refused: bool = False) -> None:
        """Let another process import what the model has."""
        call = import_exam(self.beside.stores.maintenance, self.exam())
        if is_refused:
            with pytest.raises(DefinitionRefused):
                self.run(call)
        else:
            self.run(call)

    @rule(subject=st.sampled_from(sorted(SESSION_OF)), session=st.sampled_from(SESSIONS))
    def move_a_subject(self, subject: str, session: str) -> None:
        before = dict(self.model.session_of)
        after = {**before, subject: session}
        can = self.model.can_change(after, self.model.fee)
        self.model.session_of = after
        self._import(is_refused=not can)
        self.model.session_of = after if can else before
        if can and after != before:
            self.note_move(before)

    def note_move(self, before: dict[str, str]) -> None:
        """Take note that a subject has moved from one session to another."""

    @rule(fee=st.sampled_from([8000, 9000]))
    def change_the_fee(self, fee: int) -> None:
        before, can = self.model.fee, self.model.can_change(self.model.session_of, fee)
        self.model.fee = fee
        self._import(is_refused=not can)
        self.model.fee = fee if can else before

    @rule(is_open=st.sampled_from([True, True, False]))
    def change_the_window(self, is_open: bool) -> None:
        self.model.is_open = is_open
        self._import()

    @rule(venue=st.sampled_from(sorted(SEATS)), subject=st.sampled_from(sorted(SESSION_OF)))
    def change_the_seats(self, venue: str, subject: str) -> None:
        quota, before = Quota(venue, subject), self.model.seats[venue][subject]
        after = (before + 1) % 3
        if after >= self.model.taken[quota] or after >= before:
            self.model.raise_capacity(quota, after - before)
            self._import()
        else:
            self.model.seats[venue][subject] = after
            self._import(is_refused=True)
            self.model.seats[venue][subject] = before

    @rule()
    def add_a_venue(self) -> None:
        self.model.seats["xian"] = dict(ADDED)
        self._import()

    @rule(scope=PAUSED, stops_changes=st.booleans())
    def pause(self, scope: tuple[str, str], stops_changes: bool) -> None:
        """Another process pauses it, or lets it go on."""
        if scope in self.model.pauses:
            del self.model.pauses[scope]
            stores = self.beside.stores.maintenance
            self.run(resume_exam(stores, self.model.exam, *scope, "", extend_holds=False))
        else:
            self.model.pauses[scope] = stops_changes
            wanted = Pause(*scope, stops_changes, "flood", 60, 0)
            self.run(pause_exam(self.beside.stores, self.model.exam, wanted))

    def is_stopped(self, held: Held, venue: str) -> bool:
        """Whether changes of a reservation to a venue are paused."""
        return self.model.is_paused(venue, held.order.subjects, for_change=True)

    @rule(line=st.sampled_from(["before redis", "before commit"]))
    def die_in_an_import(self, line: str) -> None:
        """The definition it would have stored is forgotten by whoever asks next."""
        exam = dataclasses.replace(self.exam(), time_zone="Asia/Tokyo")
        with pytest.raises(DiedError):
            self.run(import_exam(self.dying("maintenance", f"import: {line}"), exam))

    @rule()
    def audit(self) -> None:
        self.run(self.beside.stores.registry.refresh())
        self.run(finish_import(self.beside.stores, self.model.exam))
        found = self.run(audit(self.stores.maintenance, self.model.exam))
        assert found.differences == ()

    @invariant()
    def both_stores_say_what_the_model_says(self) -> None:
        if not hasattr(self, "model"):
            return
        snapshot = self.run(self.stores.seats.snapshot(self.shard))
        assert snapshot.live_holds == sum(r.state == "held" for r in self.model.reservations)
        assert snapshot.attempts == 0
        for venue, by_subject in self.model.seats.items():
            for subject, capacity in by_subject.items():
                quota = Quota(venue, subject)
                assert snapshot.capacity[quota] == capacity
                assert snapshot.remaining[quota] == self.model.remaining(quota) >= 0
                assert snapshot.held[quota] == self.model.count("held")[quota]
                assert snapshot.confirming[quota] == 0
                assert snapshot.confirmed[quota] == self.model.count("confirmed")[quota]

    @invariant()
    def the_ledger_has_every_booking_once_and_never_too_many(self) -> None:
        if not hasattr(self, "model"):
            return
        confirmed = self.run(self.confirmed_in_postgres())
        expected = self.model.count("confirmed")
        assert {quota: n for quota, n in confirmed.items() if n} == dict(expected)
        assert all(n <= self.model.seats[q.venue][q.subject] for q, n in confirmed.items())
        assert self.run(self.refunds_in_postgres()) == self.model.refunds

    @invariant()
    def nobody_stands_twice_in_a_session(self) -> None:
        if not hasattr(self, "model"):
            return
        taken = Counter(
            (held.order.candidate, session)
            for held in self.model.reservations
            if held.stands
            for session in map(self.model.session_of.__getitem__, held.order.subjects)
        )
        assert all(n == 1 for n in taken.values())


def opened(machine: type[Promises], settings: Settings) -> Iterator[None]:
    """Open a service, and another beside it, on a loop of the state machine's own."""
    with running_service(settings) as (runner, machine.service), ExitStack() as stack:
        machine.runner, beside = runner, open_service(settings)
        machine.beside = runner.run(beside.__aenter__())
        stack.callback(lambda: runner.run(beside.__aexit__(None, None, None)))
        runner.run(refresh_memory(machine.beside))
        yield


@pytest.fixture
def driven(settings: Settings) -> Iterator[None]:
    yield from opened(Promises, settings)


@pytest.mark.histories
@pytest.mark.usefixtures("driven")
def test_the_promises_hold_after_every_step() -> None:
    run_state_machine_as_test(
        Promises,
        settings=hypothesis_settings(
            max_examples=examples(25),
            stateful_step_count=50,
            suppress_health_check=list(HealthCheck),
        ),
    )
