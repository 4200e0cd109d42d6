"""Protocols at work: each is told of once, the oldest given up first, none lost sight of."""

import asyncio
import contextvars
from typing import Any

import pytest

from quota_service.domain.errors import Overloaded, Unavailable
from quota_service.registration.in_flight import InFlight
from tests.support.patience import LIMIT_S
from tests.support.waiting import eventually

LONG_S = 60.0
SHORT_S = 0.25


class Told:
    """The ends that were told, by name, in their order."""

    def __init__(self) -> None:
        self.ends: list[tuple[str, Any, BaseException | None]] = []

    def of(self, name: str) -> Any:
        """Return what is told the end of a protocol."""
        return lambda result, error: self.ends.append((name, result, error))

    @property
    def names(self) -> list[str]:
        return [name for name, _, _ in self.ends]

    async def has(self, count: int) -> None:
        """Return when so many ends were told."""

        async def are_told() -> bool:
            return len(self.ends) >= count

        await eventually(are_told)


async def wait_for(future: "asyncio.Future[str]") -> str:
    return await future


def new_future() -> "asyncio.Future[str]":
    return asyncio.get_running_loop().create_future()


async def comes_to(in_flight: InFlight, count: int) -> None:
    """Return when so many are at work."""

    async def are_at_work() -> bool:
        return in_flight.count == count

    await eventually(are_at_work)


async def test_what_takes_too_long_is_told_once_and_goes_on_to_its_end() -> None:
    in_flight, told, future = InFlight(limit=9, timeout_s=SHORT_S), Told(), new_future()
    in_flight.start(wait_for(future), told.of("slow"))

    await told.has(1)
    at_work = in_flight.count
    future.set_result("late")
    await comes_to(in_flight, 0)

    ((_, result, error),) = told.ends
    assert (at_work, result) == (1, None)
    assert isinstance(error, Unavailable)
    assert error.applied is None


async def test_what_may_be_long_is_waited_for_to_its_end() -> None:
    in_flight, told, future = InFlight(limit=9, timeout_s=SHORT_S), Told(), new_future()
    in_flight.start(wait_for(future), told.of("long"), is_long=True)
    in_flight.start(wait_for(new_future()), told.of("began later"))

    await told.has(1)
    future.set_result("done")
    await told.has(2)

    assert told.names == ["began later", "long"]
    assert told.ends[1] == ("long", "done", None)


async def test_what_ends_in_time_is_told_its_result_or_its_error() -> None:
    in_flight, told = InFlight(limit=9, timeout_s=LONG_S), Told()
    good, bad = new_future(), new_future()
    in_flight.start(wait_for(good), told.of("good"))
    in_flight.start(wait_for(bad), told.of("bad"))
    wrong = ValueError("of the protocol")

    good.set_result("done")
    bad.set_exception(wrong)
    await told.has(2)

    assert told.ends == [("good", "done", None), ("bad", None, wrong)]
    assert in_flight.count == 0


async def test_the_oldest_is_given_up_first_and_what_has_ended_is_passed_over() -> None:
    in_flight, told = InFlight(limit=9, timeout_s=SHORT_S), Told()
    futures = [new_future() for _ in range(4)]
    for number, future in enumerate(futures):
        in_flight.start(wait_for(future), told.of(str(number)))

    futures[1].set_result("in time")
    await told.has(4)

    assert told.names == ["1", "0", "2", "3"]
    assert in_flight.count == 3


async def test_who_is_given_up_hears_of_it_as_the_request_it_was() -> None:
    """One timer serves all: what is logged then must not be told of whoever set it."""
    request_id: contextvars.ContextVar[str] = contextvars.ContextVar("request_id", default="none")
    in_flight, heard = InFlight(limit=9, timeout_s=SHORT_S), list[str]()

    for name in ("first", "second"):
        request_id.set(name)
        in_flight.start(wait_for(new_future()), lambda *_: heard.append(request_id.get()))
    request_id.set("another")

    async def have_heard() -> bool:
        return len(heard) == 2

    await eventually(have_heard)
    assert heard == ["first", "second"]


async def test_one_too_many_is_refused_and_never_begins() -> None:
    in_flight, told = InFlight(limit=1, timeout_s=LONG_S), Told()
    future = new_future()
    in_flight.start(wait_for(future), told.of("first"))

    with pytest.raises(Overloaded):
        in_flight.start(wait_for(new_future()), told.of("second"))
    future.set_result("done")
    await told.has(1)

    assert told.ends == [("first", "done", None)]


async def test_draining_waits_for_those_at_work_and_counts_who_is_left() -> None:
    in_flight, told = InFlight(limit=9, timeout_s=LONG_S), Told()
    futures = [new_future() for _ in range(2)]
    for number, future in enumerate(futures):
        in_flight.start(wait_for(future), told.of(str(number)))

    futures[0].set_result("done")
    await comes_to(in_flight, 1)
    left = await in_flight.drain(SHORT_S)
    draining = asyncio.create_task(in_flight.drain(LONG_S))
    futures[1].set_result("done")
    async with asyncio.timeout(LIMIT_S):
        left_at_last = await draining

    assert (left, left_at_last) == (1, 0)
    assert await in_flight.drain(LONG_S) == 0
    assert sorted(told.names) == ["0", "1"]
