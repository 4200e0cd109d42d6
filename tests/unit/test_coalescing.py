"""The coalescer: its bounds, and that every caller gets its own end."""

import asyncio
import itertools
from collections.abc import Sequence

import pytest

from quota_service.coalescing import Coalescer, NotAwaitedError, QueueFullError


class Gate:
    """A `send` that keeps what it got, and answers each batch when the test opens it."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.opened = asyncio.Event()
        self.in_flight = 0
        self.in_flight_most = 0

    async def __call__(self, batch: list[int]) -> Sequence[int | BaseException]:
        self.batches.append(batch)
        self.in_flight += 1
        self.in_flight_most = max(self.in_flight_most, self.in_flight)
        await self.opened.wait()
        self.in_flight -= 1
        return [item * 10 for item in batch]


def make(
    gate: Gate, *, batch_max: int = 3, in_flight_max: int = 2, queue_max: int = 100
) -> Coalescer[int, int]:
    return Coalescer(gate, batch_max=batch_max, in_flight_max=in_flight_max, queue_max=queue_max)


def submit(coalescer: Coalescer[int, int], items: range) -> list["asyncio.Task[int]"]:
    return [asyncio.create_task(coalescer.submit(item)) for item in items]


async def turns(count: int = 5) -> None:
    """Let everything that is ready run."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_calls_of_one_turn_leave_as_one_batch_and_each_gets_its_own_result() -> None:
    gate = Gate()
    gate.opened.set()

    results = await asyncio.gather(*submit(make(gate), range(3)))

    assert results == [0, 10, 20]
    assert gate.batches == [[0, 1, 2]]


async def test_a_batch_is_bounded_and_keeps_the_order() -> None:
    gate = Gate()
    gate.opened.set()

    await asyncio.gather(*submit(make(gate), range(7)))

    assert gate.batches == [[0, 1, 2], [3, 4, 5], [6]]


async def test_no_more_batches_are_in_flight_than_allowed_and_the_rest_follows() -> None:
    gate = Gate()
    coalescer = make(gate)

    calls = submit(coalescer, range(10))
    await turns()
    waiting_while_full = coalescer.waiting
    gate.opened.set()
    results = await asyncio.gather(*calls)

    assert waiting_while_full == 4
    assert gate.in_flight_most == 2
    assert results == [item * 10 for item in range(10)]


async def test_a_call_in_a_later_turn_does_not_wait_for_the_batch_in_flight() -> None:
    gate = Gate()
    coalescer = make(gate)
    first = submit(coalescer, range(1))
    await turns()

    second = submit(coalescer, range(1, 2))
    await turns()

    assert gate.batches == [[0], [1]]
    gate.opened.set()
    assert await asyncio.gather(*first, *second) == [0, 10]


async def test_the_queue_is_bounded_and_a_refused_call_is_never_sent() -> None:
    gate = Gate()
    coalescer = make(gate, in_flight_max=1, queue_max=4)

    calls = submit(coalescer, range(4))
    await turns(1)
    with pytest.raises(QueueFullError):
        await coalescer.submit(99)
    gate.opened.set()
    await asyncio.gather(*calls)

    assert list(itertools.chain(*gate.batches)) == [0, 1, 2, 3]


async def test_the_queue_takes_calls_again_once_a_batch_has_left() -> None:
    gate = Gate()
    coalescer = make(gate, in_flight_max=1, queue_max=3)
    calls = submit(coalescer, range(3))
    await turns()

    calls += submit(coalescer, range(3, 6))
    gate.opened.set()

    assert await asyncio.gather(*calls) == [0, 10, 20, 30, 40, 50]


async def test_an_error_in_the_place_of_a_result_reaches_its_caller_alone() -> None:
    async def send(batch: list[int]) -> Sequence[int | BaseException]:
        return [ValueError(item) if item == 1 else item for item in batch]

    coalescer: Coalescer[int, int] = Coalescer(send, batch_max=3, in_flight_max=1, queue_max=9)

    results = await asyncio.gather(*submit(coalescer, range(3)), return_exceptions=True)

    assert (results[0], results[2]) == (0, 2)
    assert isinstance(results[1], ValueError)


@pytest.mark.parametrize("error", [RuntimeError("lost"), asyncio.CancelledError()])
async def test_a_failing_send_reaches_every_caller_of_its_batch_and_no_other(
    error: BaseException,
) -> None:
    async def send(batch: list[int]) -> Sequence[int | BaseException]:
        if 0 in batch:
            raise error
        return batch

    coalescer: Coalescer[int, int] = Coalescer(send, batch_max=2, in_flight_max=1, queue_max=9)

    results = await asyncio.gather(*submit(coalescer, range(4)), return_exceptions=True)

    assert [type(result) for result in results] == [type(error), type(error), int, int]


async def test_a_send_that_answers_too_few_fails_every_caller_instead_of_mixing_them_up() -> None:
    async def send(batch: list[int]) -> Sequence[int | BaseException]:
        return batch[1:]

    coalescer: Coalescer[int, int] = Coalescer(send, batch_max=3, in_flight_max=1, queue_max=9)

    results = await asyncio.gather(*submit(coalescer, range(3)), return_exceptions=True)

    assert [type(result) for result in results] == [AssertionError] * 3


async def test_a_cancelled_caller_is_not_sent_while_it_still_waits() -> None:
    gate = Gate()
    coalescer = make(gate, batch_max=1, in_flight_max=1)
    first, second, third = submit(coalescer, range(3))
    await turns()

    second.cancel()
    await turns()
    gate.opened.set()

    assert await asyncio.gather(first, third) == [0, 20]
    assert gate.batches == [[0], [2]]


async def test_cancelled_callers_take_no_place_in_a_batch() -> None:
    gate = Gate()
    coalescer = make(gate, batch_max=2, in_flight_max=1)
    blocked = submit(coalescer, range(2))
    await turns()
    waiting = submit(coalescer, range(2, 6))
    await turns()

    waiting[0].cancel()
    waiting[2].cancel()
    gate.opened.set()
    await asyncio.gather(*blocked, waiting[1], waiting[3])

    assert gate.batches == [[0, 1], [3, 5]]


async def test_a_caller_that_leaves_while_its_batch_is_in_flight_harms_nobody() -> None:
    gate = Gate()
    coalescer = make(gate)
    first, second = submit(coalescer, range(2))
    await turns()

    first.cancel()
    gate.opened.set()

    assert await second == 10
    assert first.cancelled()


async def test_a_queue_of_cancelled_callers_only_sends_nothing_and_goes_on_working() -> None:
    gate = Gate()
    gate.opened.set()
    coalescer = make(gate)
    calls = submit(coalescer, range(3))
    await turns(1)
    for call in calls:
        call.cancel()
    await turns()

    result = await coalescer.submit(7)

    assert result == 70
    assert gate.batches == [[7]]


async def test_what_nobody_awaits_when_its_batch_leaves_is_not_sent_and_harms_no_other() -> None:
    gate = Gate()
    gate.opened.set()
    coalescer: Coalescer[int, int] = Coalescer(
        gate, batch_max=3, in_flight_max=2, queue_max=100, is_awaited=lambda item: item % 2 == 0
    )

    results = await asyncio.gather(*submit(coalescer, range(5)), return_exceptions=True)

    assert results[::2] == [0, 20, 40]
    assert all(isinstance(result, NotAwaitedError) for result in results[1::2])
    assert gate.batches == [[0, 2, 4]]
