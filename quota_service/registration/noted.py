"""An act of ops is noted before it is done, and how it ended is noted after it.

    1. note in Postgres who does what to which reservation or venue, and why
    2. the act
    3. note its outcome: done, or the slug of the refusal

A crash between 1 and 2 leaves a note of what was not done, one between 2 and 3 of what was; both
are without an outcome, as is an act of which a store did not say how it ended. The journal tells
what was done under the same key and request. Nothing decides by an outcome.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress

from quota_service.domain.errors import QuotaError, Refused
from quota_service.ledger.ops_actions import DONE
from quota_service.observability.caller import caller
from quota_service.registration.stores import ExamStores


@asynccontextmanager
async def noted(  # noqa: PLR0917  a note has as many columns
    stores: ExamStores,
    exam_id: str | None,
    action: str,
    subject: str,
    reason: str,
    detail: Mapping[str, object],
) -> AsyncIterator[None]:
    """Note what the block does, such as to a reservation or a venue, or for a candidate.

    Without a reason, which some acts need not have, nothing is noted.
    """
    if not reason:
        yield
        return
    async with stores.ledger.transaction() as connection:
        number = await stores.ops_actions.note(
            connection, exam_id, caller(), action, subject, reason, detail, None
        )
    stores.failpoint("act: after note")
    try:
        yield
    except Refused as refusal:
        await _end(stores, number, refusal.slug)
        raise
    await _end(stores, number, DONE)


async def _end(stores: ExamStores, number: int, outcome: str) -> None:
    stores.failpoint("act: before outcome")
    with suppress(QuotaError):  # the act is what is answered
        await stores.ops_actions.end(number, outcome)
