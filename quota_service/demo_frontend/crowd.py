"""A crowd of simulated people for the demo's day, each a browser with a token of its own.

They come before the opening and after it, wait in the waiting room, want popular venues first, pay
or forget to, and stand on the waiting list where the seats are gone.
"""

import argparse
import asyncio
import datetime as dt
import os
import random
from contextlib import suppress
from dataclasses import dataclass

from quota_service.client import QuotaClient, QuotaClientError
from quota_service.client.documents import Exam, PaymentCallback, Reservation
from quota_service.client.problems import SoldOut

_COMES_EARLY = 0.6
"""Share of people who come before the opening, at any moment until it."""
_LATECOMERS_S = 90.0
"""Seconds after the opening in which the others come."""
_THINKS_S = (1.0, 6.0)
"""Shortest and longest time between two steps."""
_PAYS = 0.8
_GIVES_BACK = 0.05
"""Shares of holds; all others run out."""
_REFUNDS = 0.06
"""Share of bookings."""
_LOOKS_AGAIN_S = (8.0, 16.0)
"""Shortest and longest time between two looks at the waiting list."""
_TWO_SUBJECTS = 0.5
"""Share of people who want two subjects; the others want one."""


@dataclass(frozen=True, slots=True)
class World:
    """What all people share: the frontend's client, the exam, chance, the provider's secret."""

    client: QuotaClient
    exam: Exam
    chance: random.Random
    payment_secret: str

    async def think(self, least_s: float, most_s: float) -> None:
        """Let some time pass."""
        await asyncio.sleep(self.chance.uniform(least_s, most_s))

    @property
    def opens_in_s(self) -> float:
        """Seconds until registration opens."""
        return _left_s(self.exam["registration"]["opens_at"])

    @property
    def closes_in_s(self) -> float:
        """Seconds until registration closes."""
        return _left_s(self.exam["registration"]["closes_at"])


async def live(world: World, candidate: str) -> None:
    """Live the day of one candidate; refusals end it."""
    chance, exam = world.chance, world.exam["id"]
    early_s = max(0.0, world.opens_in_s) * chance.random()
    late_s = max(0.0, world.opens_in_s) + _LATECOMERS_S * chance.random()
    await asyncio.sleep(early_s if chance.random() < _COMES_EARLY else late_s)
    made = await world.client.create_candidate_token(exam=exam, candidate=candidate, ttl_s=3600)
    own = world.client.for_candidate(made["token"])
    granted = None
    if "waiting_room" in world.exam:
        granted = (await own.admitted(exam, candidate))["pass"]
    await world.think(*_THINKS_S)
    order = _order(world, candidate)
    try:
        held = await own.reserve(
            exam,
            candidate=candidate,
            subjects=order[0],
            venues=order[1],
            accepted_notice=world.exam["notice"]["version"],
            waiting_room_pass=granted,
        )
    except SoldOut:
        await _wait_on_list(world, own, candidate, order)
        return
    await _end(world, own, held)


def _order(world: World, candidate: str) -> tuple[list[str], list[str]]:
    """Return the subjects, one in a session, and venues; the first of the exam are popular."""
    chance, exam = random.Random(f"{world.chance.random()}{candidate}"), world.exam  # noqa: S311
    by_session = [
        [subject["id"] for subject in exam["subjects"] if subject["session"] == session["id"]]
        for session in exam["sessions"]
    ]
    wanted = chance.sample(by_session, 2 if chance.random() < _TWO_SUBJECTS else 1)
    venues = [venue["id"] for venue in exam["venues"]]
    weights = [1 / (place + 1) for place in range(len(venues))]
    chosen = dict.fromkeys(chance.choices(venues, weights, k=3))
    return [chance.choice(subjects) for subjects in wanted], list(chosen)


async def _end(world: World, own: QuotaClient, held: Reservation) -> None:
    """Pay, give back, or let the time run out; some who paid ask for their money later."""
    await world.think(*_THINKS_S)
    fate = world.chance.random()
    if fate < _GIVES_BACK:
        await own.release(held["id"])
    elif fate < _GIVES_BACK + _PAYS:
        await own.checkout(held["id"])
        await world.think(*_THINKS_S)
        reference = f"crowd-{held['id']}"
        payment: PaymentCallback = {
            "reservation": held["id"],
            "status": "captured",
            "amount": held["amount"],
            "currency": held["currency"],
            "paid_at": dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds"),
            "provider_reference": reference,
        }
        await world.client.report_payment(reference, payment, secret=world.payment_secret)
        if world.chance.random() < _REFUNDS:
            await world.think(20, 60)
            await own.refund(held["id"])


async def _wait_on_list(
    world: World, own: QuotaClient, candidate: str, order: tuple[list[str], list[str]]
) -> None:
    """Join the waiting list and look until there is an offer, or the day is over."""
    exam = world.exam["id"]
    joined = await own.join_waiting_list(
        exam, candidate=candidate, subjects=order[0], venues=order[1]
    )
    while world.closes_in_s > 0:
        await world.think(*_LOOKS_AGAIN_S)
        entry = await own.get_waiting_list_entry(exam, joined["id"])
        if entry["offer"] is not None:
            held = await own.get_reservation(entry["offer"]["reservation"])
            await _end(world, own, held)
            return
        if entry["state"] != "waiting":
            return


async def come(people: int, exam_id: str) -> None:
    """Let so many people live the day of an exam."""
    environ = os.environ
    async with QuotaClient(environ["QUOTA_URL"], key=environ["QUOTA_FRONTEND_KEY"]) as client:
        exam = await client.get_exam(exam_id)
        world = World(client, exam, random.Random(), environ["QUOTA_PAYMENT_SECRET"])  # noqa: S311

        async def one(number: int) -> None:
            with suppress(QuotaClientError):
                await live(world, f"crowd-{number}")

        await asyncio.gather(*(one(number) for number in range(1, people + 1)))


def main() -> None:
    """Let a crowd come to the service that the environment names."""
    parser = argparse.ArgumentParser(prog="python -m quota_service.demo_frontend.crowd")
    parser.add_argument("--exam", required=True)
    parser.add_argument("--people", type=int, required=True)
    options = parser.parse_args()
    asyncio.run(come(options.people, options.exam))


def _left_s(time: str) -> float:
    return (dt.datetime.fromisoformat(time) - dt.datetime.now(dt.UTC)).total_seconds()


if __name__ == "__main__":
    main()
