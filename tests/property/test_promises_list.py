"""The state machine again, over an exam whose seats come back by a rule of its own.

Candidates join and leave a waiting list, seats are dealt, offers run out, are paid for and given
back, a leader dies in its dealing, and some sessions have a ceiling. After each step the stores are
compared with the model, and P10 is checked too: no seat is on open sale that would serve an entry
in full, and offers are made in order.
"""

import itertools
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule, run_state_machine_as_test

from quota_service.domain.errors import (
    AlreadyConfirmed,
    AlreadyListed,
    RegistrationClosed,
    SameSessionTwice,
    SeatsOnSale,
    SessionConflict,
    UnknownVenue,
)
from quota_service.domain.exam import Exam
from quota_service.registration.deal import Dealing, DealingLimits
from quota_service.registration.drain_journal import drain_journal
from quota_service.registration.join_list import Wish, join_list
from quota_service.registration.leave_list import leave_list
from quota_service.registration.reserve import Order
from quota_service.registration.sync_shard import finish_import
from quota_service.settings import Settings
from tests.property.test_promises import CANDIDATES, PICKS, SUBJECTS, VENUES, Promises, opened
from tests.support.dealings import in_hours
from tests.support.examples import examples
from tests.support.promises_list_model import CEILINGS, SEATS, ListModel, Waiting
from tests.support.promises_model import Held, Model
from tests.support.redis_clients import redis_of
from tests.support.use_cases import DiedError

WAITING = st.sampled_from(["ann", "bob", "eve", "fay", "gus", "hal"])
DYING = ["deal: leased", "deal: settled", "deal: ended", "deal: offered", "deal: recorded"]
TIMES = [in_hours(6), in_hours(18)]
"""Far from now: a dealing is when a step says so."""
_keys = itertools.count(1)


class ListPromises(Promises):
    """The steps of a list, beside all others."""

    @initialize(
        by_rule=st.sampled_from(["list-first", "at-times"]),
        with_ceilings=st.booleans(),
        orders=st.lists(st.tuples(CANDIDATES, SUBJECTS, VENUES), min_size=6, max_size=10),
        late=st.integers(0, 3),
        waiting=st.lists(st.tuples(WAITING, PICKS, PICKS), min_size=3, max_size=8),
    )
    def open_an_exam(
        self,
        by_rule: str,
        with_ceilings: bool,
        orders: list[Any],
        late: int,
        waiting: list[Any],
    ) -> None:
        """Some wait before the first step, for what others have taken."""
        self.by_rule, self.ceilings = by_rule, dict(CEILINGS) if with_ceilings else {}
        self.leader = self.another_leader()
        self.begin(orders, late)
        for wish in waiting:
            self.join_for_what_others_have(*wish)

    def new_model(self, exam: str) -> Model:
        seats = {venue: dict(by_subject) for venue, by_subject in SEATS.items()}
        return ListModel(exam, seats=seats, rule=self.by_rule, ceilings=self.ceilings)

    @property
    def listed(self) -> ListModel:
        assert isinstance(self.model, ListModel)
        return self.model

    def document(self) -> dict[str, Any]:
        rooms: dict[str, dict[str, int]] = {}
        for (venue, session), seats in self.ceilings.items():
            rooms.setdefault(venue, {})[session] = seats
        times = TIMES if self.by_rule == "at-times" else []
        return {
            **super().document(),
            "returned": {"rule": self.by_rule, **({"times": times} if times else {})},
            "waiting_list": {"offer_ttl_s": 1800},
            **({"rooms": rooms} if rooms else {}),
        }

    @rule(candidate=WAITING, subjects=SUBJECTS, venues=VENUES)
    def join(self, candidate: str, subjects: tuple[str, ...], venues: tuple[str, ...]) -> None:
        model, live = self.listed, self.listed.live_entry(candidate)
        call = join_list(
            self.stores.waiting_list,
            model.exam,
            Wish(candidate, subjects, venues),
            f"list-{next(_keys)}",
        )
        standing = model.standing(candidate, subjects)
        if not model.seats.keys() >= set(venues):
            with pytest.raises(UnknownVenue):
                self.run(call)
        elif model.is_twice_in_a_session(subjects):
            with pytest.raises(SameSessionTwice):
                self.run(call)
        elif not model.is_open:
            with pytest.raises(RegistrationClosed):
                self.run(call)
        elif standing:
            with pytest.raises(AlreadyListed if live else SessionConflict):
                self.run(call)
        elif (venue := model.first_venue_with_all(subjects, venues)) is not None:
            with pytest.raises(SeatsOnSale) as on_sale:
                self.run(call)
            assert on_sale.value.on_sale_at == venue
        elif live:
            with pytest.raises(AlreadyListed):
                self.run(call)
        else:
            joined = self.run(call)
            assert (joined.replayed, joined.entry.number) == (False, len(model.entries) + 1)
            model.entries.append(Waiting(joined.entry.id, candidate, subjects, venues))

    @rule(candidate=WAITING, pick=PICKS, other=PICKS)
    def join_for_what_others_have(self, candidate: str, pick: int, other: int) -> None:
        """Join for the seats of one reservation, there or where another is."""
        held, elsewhere = (self.model.pick(n, "held", "confirmed") for n in (pick, other))
        if held is not None and elsewhere is not None:
            venues = tuple(dict.fromkeys([held.venue, elsewhere.venue]))
            self.join(candidate, held.order.subjects, venues)

    @rule(pick=PICKS)
    def seats_that_somebody_waits_for_come_back_and_are_dealt(self, pick: int) -> None:
        """The newest hold of such seats falls due; where there is none, another."""
        wanted = {
            quota
            for entry in self.listed.waiting
            for venue in entry.venues
            for quota in entry.quotas_at(venue)
        }
        holds = [held for held in reversed(self.model.reservations) if held.state == "held"]
        found = [n for n, held in enumerate(holds) if wanted.intersection(held.quotas)]
        self.time_passes_for(found[0] if found else pick)
        self.deal()

    @rule(pick=PICKS)
    def leave(self, pick: int) -> None:
        entry = self.listed.pick_entry(pick)
        if entry is None:
            return
        hold = entry.hold if entry.state == "offered" else None
        call = leave_list(self.stores.waiting_list, self.model.exam, entry.id)
        if entry.state == "served" or (hold and hold.state in {"confirmed", "refunded"}):
            with pytest.raises(AlreadyConfirmed):
                self.run(call)
            if hold and hold.state == "refunded":
                entry.state = "served"
            return
        if entry.state == "waiting":
            entry.state = "left"
        if hold and hold.state == "held":
            self.model.end(hold, "released")
        self.listed.end_offer(entry)
        assert self.run(call).state == entry.state

    def note_move(self, before: dict[str, str]) -> None:
        """A ceiling may have more places now; a dealing counts anew what is wanted under it."""
        self.listed.move_places(before)
        self.deal()

    @rule()
    def deal(self) -> None:
        self._prepare_dealing()
        self.run(self.leader.visit(self.exam_in_force(), self.shard))
        self._note_offers()

    @rule(line=st.sampled_from(DYING))
    def die_in_a_dealing(self, line: str) -> None:
        """A leader dies at a line, and another one takes over: it comes to the same."""
        self._prepare_dealing()
        dying = self.another_leader(self.dying("dealing", line))
        self.run(self._end_lease())
        with suppress(DiedError):  # a dealing that has nothing to do does not come to each line
            self.run(dying.visit(self.exam_in_force(), self.shard))
        self.run(self._end_lease())
        self.leader = self.another_leader()
        self.run(self.leader.visit(self.exam_in_force(), self.shard))
        self._note_offers()

    def another_leader(self, stores: Any = None) -> Dealing:
        limits = DealingLimits(lease_s=600, ends_interval_s=0)
        return Dealing(stores or self.stores.dealing, self.service.settings.with_limits(limits))

    def exam_in_force(self) -> Exam:
        exam: Exam = self.stores.registry.find(self.model.exam)
        return exam

    def _prepare_dealing(self) -> None:
        """Let the dealing know how offers have ended; where it has times, one is now."""
        self.run(finish_import(self.beside.stores, self.model.exam))
        self.run(self.stores.registry.refresh())
        self.run(drain_journal(self.stores.maintenance, self.shard, 1000, 3))
        if self.by_rule == "at-times":
            self.run(self._execute("UPDATE waiting_lists SET is_due = true WHERE exam = $1"))

    async def _end_lease(self) -> None:
        await self._execute(
            "UPDATE waiting_lists SET lease_until = now() - interval '1 second'"
            " WHERE exam = $1 AND lease_until IS NOT NULL"
        )

    async def _execute(self, statement: str) -> list[Any]:
        async with self.stores.ledger.connection() as connection:
            rows: list[Any] = await connection.fetch(statement, self.model.exam)
            return rows

    def _note_offers(self) -> None:
        """Compare what was offered with the model, and let the model have the holds."""
        rows = {
            f"{self.model.exam}.w.{row['serial']}": row
            for row in self.run(self._execute("SELECT * FROM waiting_list_entries WHERE exam = $1"))
        }
        for entry, venue in self.listed.deal():
            assert rows[entry.id]["state"] == "offered"
            found = self.run(self.stores.seats.read(*self._located(rows[entry.id]["reservation"])))
            assert (found.venue, found.state) == (venue, "held")
            entry.state = "offered"
            entry.hold = Held(
                found.id,
                "",
                Order(entry.candidate, entry.subjects, entry.venues, accepted_notice=True),
                venue,
                first_deadline_ms=found.deadline_ms,
                sessions=self.model.sessions(entry.subjects),
                amount=self.model.fee * len(entry.subjects),
            )
            assert found.amount == entry.hold.amount
            self.model.reservations.append(entry.hold)

    def _located(self, reservation: str) -> Any:
        return self.stores.registry.locate(reservation)

    @invariant()
    def the_list_is_what_the_model_says(self) -> None:
        if not hasattr(self, "model"):
            return
        states = self.run(
            self._execute(
                "SELECT serial, state FROM waiting_list_entries WHERE exam = $1 ORDER BY number"
            )
        )
        assert [(row["serial"], row["state"]) for row in states] == [
            (entry.id.rpartition(".")[2], entry.state) for entry in self.listed.entries
        ]
        redis = redis_of(self.service)
        in_redis = self.run(redis.hkeys(self.shard.key("list")))
        assert set(in_redis) == {entry.id.rpartition(".")[2] for entry in self.listed.waiting}
        wanted = self.run(redis.hgetall(self.shard.key("wanted")))
        quotas = {f: int(n) for f, n in wanted.items() if "//" not in f}
        assert quotas == Counter(
            str(quota)
            for entry in self.listed.waiting
            for venue in entry.venues
            for quota in entry.quotas_at(venue)
        )

    @invariant()
    def returned_seats_and_places_are_what_the_model_says(self) -> None:
        if not hasattr(self, "model"):
            return
        redis = redis_of(self.service)
        returned = self.run(redis.hgetall(self.shard.key("returned")))
        expected = {str(quota): n for quota, n in self.listed.returned.items() if n}
        assert {quota: int(n) for quota, n in returned.items()} == expected
        places = self.run(redis.hgetall(self.shard.key("ceiling_left")))
        assert {place: int(n) for place, n in places.items()} == {
            "/".join(place): self.listed.places_left(place) for place in self.ceilings
        }

    @invariant()
    def nothing_is_on_sale_that_would_serve_somebody_who_waits(self) -> None:
        if not hasattr(self, "model"):
            return
        assert [entry for entry in self.listed.waiting if self.listed.can_be_served(entry)] == []


@pytest.fixture
def driven(settings: Settings) -> Iterator[None]:
    yield from opened(ListPromises, settings)


@pytest.mark.histories
@pytest.mark.usefixtures("driven")
def test_the_promises_hold_with_a_waiting_list_after_every_step() -> None:
    run_state_machine_as_test(
        ListPromises,
        settings=hypothesis_settings(
            max_examples=examples(10),
            stateful_step_count=50,
            suppress_health_check=list(HealthCheck),
        ),
    )
