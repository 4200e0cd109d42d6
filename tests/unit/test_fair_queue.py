"""The fair queue: in order, a few in each turn of the loop, payments first, none starved."""

import asyncio

import pytest

from quota_service.http.fair_queue import FairQueue


@pytest.fixture
async def queue() -> FairQueue:
    return FairQueue(asyncio.get_running_loop(), limit=100)


async def next_turn() -> None:
    await asyncio.sleep(0)


async def test_what_was_put_first_is_begun_first_and_not_at_once(queue: FairQueue) -> None:
    begun: list[int] = []
    for number in range(3):
        queue.put(lambda number=number: begun.append(number))

    assert (begun, len(queue)) == ([], 3)
    await next_turn()
    assert (begun, len(queue)) == ([0, 1, 2], 0)


async def test_a_turn_begins_a_few_and_what_goes_first_before_all_others(queue: FairQueue) -> None:
    begun: list[str] = []
    for _ in range(100):
        queue.put(lambda: begun.append("other"))
    for _ in range(30):
        queue.put(lambda: begun.append("first"), goes_first=True)

    await next_turn()
    first_turn = list(begun)
    await next_turn()

    assert first_turn == ["first"] * 24 + ["other"] * 8
    assert begun[len(first_turn) :] == ["first"] * 6 + ["other"] * 26


async def test_it_is_full_of_others_and_never_of_what_goes_first(queue: FairQueue) -> None:
    for _ in range(150):
        queue.put(lambda: None, goes_first=True)
    is_full_of_first = queue.is_full
    for _ in range(100):
        queue.put(lambda: None)

    assert (is_full_of_first, queue.is_full) == (False, True)
    await next_turn()
    assert not queue.is_full


async def test_what_is_put_while_others_are_begun_waits_for_the_next_turn(queue: FairQueue) -> None:
    begun: list[str] = []

    def first() -> None:
        begun.append("first")
        queue.put(lambda: begun.append("second"))

    queue.put(first)
    await next_turn()
    after_one_turn = list(begun)
    await next_turn()

    assert (after_one_turn, begun) == (["first"], ["first", "second"])


async def test_one_that_fails_takes_no_other_of_its_turn_with_it(queue: FairQueue) -> None:
    begun: list[int] = []

    def broken() -> None:
        raise ZeroDivisionError

    queue.put(lambda: begun.append(1))
    queue.put(broken)
    queue.put(lambda: begun.append(2))
    await next_turn()

    assert begun == [1, 2]


async def test_a_turn_parses_a_few_connections_and_begins_requests_between(
    queue: FairQueue,
) -> None:
    done: list[str] = []
    for _ in range(300):
        queue.read(lambda: done.append("parsed"))
    at_once = list(done)
    queue.put(lambda: done.append("begun"))
    done.clear()
    await next_turn()
    second_turn = list(done)
    done.clear()
    await next_turn()

    assert at_once == ["parsed"] * 96
    assert second_turn == ["begun"] + ["parsed"] * 96
    assert done == ["parsed"] * 96


async def test_who_waits_to_be_parsed_comes_before_who_has_just_sent(queue: FairQueue) -> None:
    parsed: list[int] = []
    for number in range(400):
        queue.read(lambda number=number: parsed.append(number))
    await next_turn()
    queue.read(lambda: parsed.append(400))
    for _ in range(4):
        await next_turn()
    queue.read(lambda: parsed.append(401))

    assert parsed == list(range(402))
