"""Asking servers that all tell the same: who is waited for, and for how long."""

import asyncio

from quota_service.domain.errors import SeatsUnavailable
from quota_service.seats.majority import ask_majority
from tests.support.patience import LIMIT_S


async def says(answer: int | Exception) -> int | Exception:
    return answer


async def silent(left: list[str]) -> int | Exception:
    try:
        await asyncio.Event().wait()
    finally:
        left.append("left")
    return 0


async def test_a_silent_server_does_not_hold_up_a_majority_and_is_left() -> None:
    left: list[str] = []

    async with asyncio.timeout(LIMIT_S):
        answers, errors = await ask_majority([says(1), silent(left), says(2)], 10 * LIMIT_S)

    assert sorted(answers) == [1, 2]
    assert [str(error) for error in errors] == ["1 did not answer in time"]
    assert left == ["left"]


async def test_without_a_majority_the_others_are_waited_for_until_the_time_is_over() -> None:
    refused, left = SeatsUnavailable("refused"), list[str]()

    answers, errors = await ask_majority([says(1), says(refused), silent(left)], 0.01)

    assert answers == [1]
    assert errors[0] is refused
    assert str(errors[1]) == "1 did not answer in time"
    assert left == ["left"]


async def test_where_all_have_an_error_they_are_all_told() -> None:
    answers, errors = await ask_majority([says(OSError(str(n))) for n in range(3)], LIMIT_S)

    assert answers == []
    assert sorted(str(error) for error in errors) == ["0", "1", "2"]
