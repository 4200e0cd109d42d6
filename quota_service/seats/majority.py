"""Asks several servers the same, and does without those that do not answer.

To wait for all is to wait for the one whose machine is down; to leave at once when a majority has
answered is to close the connections to all others each time. So the others have a little longer.
"""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from quota_service.domain.errors import SeatsUnavailable

_LATE_S = 0.1
"""How long the others are waited for once a majority has answered."""

_Answer = TypeVar("_Answer")


async def ask_majority(
    asks: Sequence[Coroutine[Any, Any, _Answer | Exception]], timeout_s: float
) -> tuple[list[_Answer], list[Exception]]:
    """Return the answers to the same question, and the errors of those that have none.

    It takes `timeout_s` at most, and little longer than the majority needs.
    """
    loop = asyncio.get_running_loop()
    end_s = loop.time() + timeout_s
    pending = {loop.create_task(ask) for ask in asks}
    answers: list[_Answer] = []
    errors: list[Exception] = []
    try:
        while pending:
            left_s = max(0.0, end_s - loop.time())
            done, pending = await asyncio.wait(
                pending, timeout=left_s, return_when=asyncio.FIRST_COMPLETED
            )
            if not done:
                break
            for answer in (task.result() for task in done):
                if isinstance(answer, Exception):
                    errors.append(answer)
                else:
                    answers.append(answer)
            if 2 * len(answers) > len(asks):
                end_s = min(end_s, loop.time() + _LATE_S)
    finally:
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
    if pending:
        errors.append(SeatsUnavailable(f"{len(pending)} did not answer in time"))
    return answers, errors
