"""Revoke the candidate tokens of a candidate: those that were issued until now, or one of them.

    1. the time by Redis's clock, which tokens are issued by
    2. in one transaction: note who revokes and why, where there is a reason, and the revocation
    3. this process refuses them; each other one as soon as it has read the row, with the keys

A crash before 2 leaves nothing, one behind it what is revoked. A repeat revokes also what was
issued since.
"""

from quota_service.ledger.revoked_tokens import Revocation
from quota_service.observability.caller import caller
from quota_service.registration.stores import MaintenanceStores

_LIFE_MAX_MS = 90_000_000
"""A day, the longest life of a token, and an hour for clocks that differ."""


async def revoke_tokens(
    stores: MaintenanceStores, exam_id: str, candidate: str, token: str, reason: str
) -> Revocation:
    """Revoke; `token` is "" for all of the candidate. Raises UnknownExam."""
    stores.registry.check_known(exam_id)
    now_ms = stores.clock.estimate_ms()
    revocation = Revocation(exam_id, candidate, token, now_ms, now_ms + _LIFE_MAX_MS)
    async with stores.ledger.transaction() as connection:
        if reason:
            await stores.ops_actions.note(
                connection, exam_id, caller(), "revoke-tokens", candidate, reason, {"token": token}
            )
        await stores.revoked_tokens.insert(connection, revocation, caller())
    return revocation
