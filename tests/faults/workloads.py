"""What candidates and the provider do during a round: workloads, each on an exam of its own.

    rush     many want few seats; some pay, some are refunded, so that seats go round
    churn    hold, check out, move, release twice, let expire: short lives, no payment
    pay      callbacks twice at once, again later, in the wrong order, too late, of a wrong amount
    late     pay when the hold has expired and its seat may be gone, and tell it again and again
    mixed    everything with changes of venue and refunds of bookings
    line     wait for seats that are gone, take what is offered or let it go, give seats back
    hoard    all pay for the same seats, one after the other, and nobody gives any back

Each client is a loop of short stories, drawn from a seed of its own.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.faults.frontend import FEE, Frontend
from tests.faults.history import Answer

VENUES = ("jinan", "tianjin", "beijing")
SUBJECTS = ("general", "qms", "ems", "service")
PROBE_VENUE = "probe"
PROBE_SUBJECT = "service"
PROBE_SEATS = 5000

_HOARD_PAUSE_S = 0.2
"""So that not all is sold when an older copy of Redis is made, and all is when it comes back."""

_LOOKS_MAX = 40
_LOOK_PAUSE_S = 0.1

Story = Callable[[Frontend, str], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Workload:
    """How many clients tell which story over and over, and the exam they do it in."""

    name: str
    story: Story
    seats_each: int
    ttl_s: int
    checkout_grace_s: int
    clients: int
    has_list: bool = False

    @property
    def seats(self) -> dict[str, dict[str, int]]:
        """Seats by venue and subject, with a venue only the probe goes to."""
        each = {venue: dict.fromkeys(SUBJECTS, self.seats_each) for venue in VENUES}
        return {**each, PROBE_VENUE: {PROBE_SUBJECT: PROBE_SEATS}}

    @property
    def rules(self) -> dict[str, Any]:
        """What else the definition has: the rule for seats that come back, and a list."""
        if not self.has_list:
            return {}
        return {"returned": {"rule": "list-first"}, "waiting_list": {"offer_ttl_s": 60}}

    async def run(self, frontend: Frontend, seed: str) -> None:
        """Tell stories as long as the frontend runs."""
        await asyncio.gather(
            *(self._client(frontend, f"{seed}/{i}", i) for i in range(self.clients))
        )

    async def _client(self, frontend: Frontend, seed: str, number: int) -> None:
        mine = _with_rng(frontend, random.Random(seed))  # noqa: S311
        while frontend.is_running():
            candidate = f"{self.name}-{number}-{frontend.number()}"
            await self.story(mine, candidate)
            await mine.think()


def _with_rng(frontend: Frontend, rng: random.Random) -> Frontend:
    """Return the same frontend under dice of its own."""
    mine = object.__new__(Frontend)
    mine.__dict__ = {**frontend.__dict__, "rng": rng}
    return mine


def _order(rng: random.Random) -> tuple[Sequence[str], Sequence[str]]:
    """Draw subjects of different sessions, and venues in an order of choice."""
    subjects = [rng.choice(("qms", "ems"))] if rng.random() < 0.5 else ["general"]
    if rng.random() < 0.4:
        subjects.append("service")
    return subjects, rng.sample(VENUES, rng.randint(1, 3))


async def _held(frontend: Frontend, candidate: str, key: str = "key-1") -> Any:
    """Reserve; return the reservation, None when there is none or nobody knows."""
    rng = frontend.rng
    subjects, venues = _order(rng)
    full_key = f"{candidate}-{key}"
    answer = await frontend.reserve_until_known(candidate, subjects, venues, full_key)
    if rng.random() < 0.1:
        await frontend.reserve(candidate, subjects, venues, full_key)
    if answer.is_ok and rng.random() < 0.05:
        await frontend.reserve(candidate, subjects, [PROBE_VENUE], full_key)
    return _live(answer)


def _live(answer: Answer) -> Any:
    return answer.body if answer.is_ok and answer.body["state"] == "held" else None


async def rush(frontend: Frontend, candidate: str) -> None:
    held = await _held(frontend, candidate)
    if held is None:
        return
    roll = frontend.rng.random()
    if roll < 0.5:
        await frontend.think()
        await frontend.release_until_known(held["id"])
    elif roll < 0.8:
        paid = await frontend.pay(frontend.event(held))
        if paid.is_ok and frontend.rng.random() < 0.7:
            await frontend.think()
            await frontend.refund(held["id"])


async def churn(frontend: Frontend, candidate: str) -> None:
    held = await _held(frontend, candidate)
    if held is None:
        return
    rng = frontend.rng
    for _ in range(rng.randint(0, 3)):
        step = rng.random()
        if step < 0.35:
            await frontend.checkout(held["id"])
        elif step < 0.7:
            await frontend.change(held["id"], rng.choice(VENUES))
        else:
            await frontend.look(held["id"])
        await frontend.think()
    if rng.random() < 0.3:
        return  # let it expire
    releases = [frontend.release_until_known(held["id"]) for _ in range(rng.randint(1, 2))]
    await asyncio.gather(*releases)
    if rng.random() < 0.3:
        await frontend.release(held["id"])
    if rng.random() < 0.3:
        await _held(frontend, candidate, "key-2")


async def pay(frontend: Frontend, candidate: str) -> None:
    held = await _held(frontend, candidate)
    if held is None:
        return
    rng = frontend.rng
    if rng.random() < 0.5:
        await frontend.checkout(held["id"])
    first, second = frontend.event(held), frontend.event(held)
    failed = frontend.event(held, "failed")
    stories: Mapping[str, Callable[[], Awaitable[Any]]] = {
        "once": lambda: frontend.pay(first),
        "twice at once": lambda: _all(frontend.pay(first), frontend.pay(first)),
        "again later": lambda: _in_turn(frontend, first, first),
        "wrong order": lambda: _in_turn(frontend, first, failed),
        "right order": lambda: _in_turn(frontend, failed, first),
        "two payments": lambda: _all(frontend.pay(first), frontend.pay(second)),
        "too late": lambda: _too_late(frontend, held, first),
        "released": lambda: _all(frontend.release(held["id"]), frontend.pay(first)),
        "wrong amount": lambda: _in_turn(frontend, frontend.event(held, amount=FEE - 1), first),
    }
    await stories[rng.choice(list(stories))]()
    if rng.random() < 0.4:
        await frontend.refund(held["id"])


async def _all(*calls: Awaitable[Any]) -> None:
    await asyncio.gather(*calls)


async def _in_turn(frontend: Frontend, *events: Any) -> None:
    for event in events:
        await frontend.pay(event)
        await frontend.think()


async def _too_late(frontend: Frontend, held: Any, event: Any) -> None:
    """Pay when the hold has expired; until then this client has nothing to do."""
    await _await_end(frontend, held)
    await frontend.pay(event)


async def _await_end(frontend: Frontend, held: Any) -> None:
    looked = await frontend.look(held["id"])
    for _ in range(_LOOKS_MAX):
        if not frontend.is_running() or (looked.is_ok and looked.body["state"] != "held"):
            break
        await asyncio.sleep(_LOOK_PAUSE_S)
        looked = await frontend.look(held["id"])


async def late(frontend: Frontend, candidate: str) -> None:
    held = await _held(frontend, candidate)
    if held is None:
        return
    rng = frontend.rng
    await _await_end(frontend, held)
    if rng.random() < 0.3:
        await _held(frontend, candidate, "key-2")
    event = frontend.event(held)
    paid = await frontend.pay(event)
    if paid.is_ok and paid.body["outcome"] == "confirmed":
        await frontend.think()
        await frontend.refund(held["id"])
    for _ in range(rng.randint(0, 2)):
        await asyncio.sleep(rng.uniform(0, 0.5))
        await frontend.pay(event)


async def mixed(frontend: Frontend, candidate: str) -> None:
    held = await _held(frontend, candidate)
    if held is None:
        return
    rng = frontend.rng
    if rng.random() < 0.3:
        await frontend.change(held["id"], rng.choice(VENUES))
    if rng.random() < 0.15:
        await frontend.release_until_known(held["id"])
        return
    paid = await frontend.pay(frontend.event(held))
    if not paid.is_ok:
        return
    for _ in range(rng.randint(0, 2)):
        await frontend.change(held["id"], rng.choice(VENUES))
    if rng.random() < 0.2:
        await _all(frontend.change(held["id"], rng.choice(VENUES)), frontend.refund(held["id"]))
    elif rng.random() < 0.7:
        await _all(*(frontend.refund(held["id"]) for _ in range(rng.randint(1, 2))))
    await frontend.look(held["id"])
    if rng.random() < 0.4:
        again = await _held(frontend, candidate, "key-2")
        if again is not None and rng.random() < 0.7:
            await frontend.pay(frontend.event(again))


async def line(frontend: Frontend, candidate: str) -> None:
    rng = frontend.rng
    subjects = rng.choice((["general"], ["general"], ["general"], ["general", "service"], ["qms"]))
    venues = rng.sample(VENUES[:2], rng.randint(1, 2))
    answer = await frontend.reserve_until_known(candidate, subjects, venues, f"{candidate}-key-1")
    held = _live(answer)
    if answer.slug == "sold-out":
        held = await _wait_in_line(frontend, candidate, subjects, venues)
    if held is None:
        return
    await frontend.think()
    roll = rng.random()
    if roll < 0.45:
        await frontend.release_until_known(held["id"])
    elif roll < 0.9:
        paid = await frontend.pay(frontend.event(held))
        if paid.is_ok and rng.random() < 0.8:
            await frontend.think()
            await frontend.refund(held["id"])


async def _wait_in_line(
    frontend: Frontend, candidate: str, subjects: Sequence[str], venues: Sequence[str]
) -> Any:
    """Join, and wait for an offer; return its reservation, None when it came to nothing."""
    joined = await frontend.join(candidate, subjects, venues, f"{candidate}-list")
    if not joined.is_ok:
        return None
    entry = joined.body["id"]
    is_patient = frontend.rng.random() < 0.85
    looked = await frontend.entry(entry)
    for _ in range(_LOOKS_MAX if is_patient else 1):
        if not frontend.is_running() or (looked.is_ok and looked.body["state"] != "waiting"):
            break
        await asyncio.sleep(_LOOK_PAUSE_S)
        looked = await frontend.entry(entry)
    offer = looked.body["offer"] if looked.is_ok else None
    if offer is None or frontend.rng.random() < 0.3:
        await frontend.leave(entry)
        return None
    found = await frontend.look(offer["reservation"])
    return _live(found)


async def hoard(frontend: Frontend, candidate: str) -> None:
    answer = await frontend.reserve_until_known(
        candidate, ["general"], [VENUES[0]], f"{candidate}-key-1"
    )
    held = _live(answer)
    if held is not None:
        await frontend.pay(frontend.event(held))
    await asyncio.sleep(_HOARD_PAUSE_S)


WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload("rush", rush, 4, 2, 1, clients=8),
        Workload("churn", churn, 12, 1, 1, clients=5),
        Workload("pay", pay, 60, 2, 1, clients=6),
        Workload("late", late, 2, 1, 1, clients=8),
        Workload("mixed", mixed, 40, 20, 5, clients=5),
        Workload("line", line, 2, 2, 1, clients=12, has_list=True),
        Workload("hoard", hoard, 24, 20, 5, clients=4),
    )
}

ON_REQUEST = ("hoard",)
"""Workloads that run only when asked for: they are there to show that one check can go red."""
