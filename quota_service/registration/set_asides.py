"""Set-asides as ops have them: look, make and revoke codes, hand a seat out.

Codes are made in Postgres alone:

    1. note who makes codes, for which set-aside and why (`noted`)
    2. one statement stores their hashes                                           <- the decision
    3. note how it ended; codes that were made here are answered, this once

A crash after 2 leaves codes that nobody has seen: they are in the list, and can be revoked. Given
codes and hashes can be sent again; those that are there stay as they are.

A code that is revoked is refused from the answer on in every process, as each order asks Postgres.
Seats that were reserved with it stay. `hand_out` is `reserve` without a code.
"""

import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from quota_service.domain.errors import SetAsideOver, UnknownCode, UnknownSetAside
from quota_service.domain.exam import Quota, Text
from quota_service.domain.set_aside_code import hash_code, new_code
from quota_service.ledger.set_asides import StoredCode
from quota_service.registration.noted import noted
from quota_service.registration.reserve import Order, Reserved, reserve
from quota_service.registration.stores import ExamStores, ReservationStores
from quota_service.seats.set_asides import KeptSeats

_ID_BYTES = 6
_ID = re.compile(rf"[0-9a-f]{{{2 * _ID_BYTES}}}", re.ASCII)


@dataclass(frozen=True, slots=True)
class SetAsideView:
    """A set-aside as it is now.

    `seats` are those of the definition, `left` those that Redis has left; none once it is over.
    """

    id: str
    title: Text | None
    until_ms: int
    is_over: bool
    seats: Mapping[Quota, int]
    left: Mapping[Quota, KeptSeats]


@dataclass(frozen=True, slots=True)
class MadeCode:
    """A code that is stored now; `code` where it was made here, for the only time."""

    id: str
    code: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class CodeView:
    """A code as it is listed, and how many live reservations use it."""

    code: StoredCode
    uses: int


async def view_set_asides(stores: ExamStores, exam_id: str) -> list[SetAsideView]:
    """Return the set-asides that an exam has or had; raises UnknownExam and Unavailable."""
    exam, shard = stores.registry.find(exam_id), stores.registry.shard(exam_id)
    async with stores.ledger.connection() as connection:
        stored = await stores.set_asides.all(connection, exam_id)
    kept = await stores.set_aside_store.read(shard) if stored else {}
    titles = {each.id: each.title for each in exam.set_asides}
    return [
        SetAsideView(
            each.id,
            titles.get(each.id),
            each.until_ms,
            each.is_over,
            each.seats,
            {} if each.is_over else kept.get(each.id, {}),
        )
        for each in stored
    ]


async def make_codes(  # noqa: PLR0917  codes have as many sides
    stores: ExamStores,
    exam_id: str,
    set_aside: str,
    codes: int | Sequence[bytes],
    uses_max: int,
    note: str,
    reason: str,
) -> list[MadeCode]:
    """Make so many new codes, or store those with the hashes given; return those that are new.

    Raises UnknownExam, UnknownSetAside and SetAsideOver.
    """
    await _check_on(stores, exam_id, set_aside)
    made: dict[str, str | None] = {}
    hashes: dict[str, bytes] = {}
    for given in codes if not isinstance(codes, int) else [None] * codes:
        code = new_code() if given is None else None
        hashed = given if code is None else hash_code(exam_id, code)
        if hashed is None:
            raise AssertionError("a new code has no hash")
        id_ = secrets.token_hex(_ID_BYTES)
        made[id_], hashes[id_] = code, hashed
    detail = {"codes": len(hashes), "uses_max": uses_max, "note": note}
    async with noted(stores, exam_id, "make-codes", set_aside, reason, detail):
        new = await stores.set_asides.add_codes(
            exam_id, set_aside, hashes, uses_max=uses_max, note=note
        )
    return [MadeCode(id_, code) for id_, code in made.items() if id_ in new]


async def list_codes(
    stores: ExamStores, exam_id: str, set_aside: str, after: int, limit: int
) -> list[CodeView]:
    """Return a page of codes with their uses; raises UnknownExam and UnknownSetAside."""
    shard = stores.registry.shard(exam_id)
    await _find(stores, exam_id, set_aside)
    page = await stores.set_asides.codes(exam_id, set_aside, after, limit)
    uses = await stores.set_aside_store.uses(shard, [code.id for code in page])
    return [CodeView(code, uses[code.id]) for code in page]


async def revoke_code(
    stores: ExamStores, exam_id: str, set_aside: str, code: str, reason: str
) -> CodeView:
    """Let nobody reserve with a code any more; doing it again changes nothing.

    Raises UnknownExam, UnknownSetAside and UnknownCode.
    """
    shard = stores.registry.shard(exam_id)
    await _find(stores, exam_id, set_aside)
    if _ID.fullmatch(code) is None:
        raise UnknownCode
    async with noted(stores, exam_id, "revoke-code", set_aside, reason, {"code": code}):
        revoked = await stores.set_asides.revoke_code(exam_id, set_aside, code)
        if revoked is None:
            raise UnknownCode
    uses = await stores.set_aside_store.uses(shard, [code])
    return CodeView(revoked, uses[code])


async def hand_out(  # noqa: PLR0917  an order of ops has as many sides
    stores: ReservationStores, exam_id: str, set_aside: str, order: Order, key: str, reason: str
) -> Reserved:
    """Reserve seats of a set-aside for a candidate, as `reserve_for` does those on sale.

    Raises what `reserve` does, UnknownSetAside and SetAsideOver.
    """
    await _find(stores, exam_id, set_aside)
    detail = {"idempotency_key": key, "set_aside": set_aside}
    async with noted(stores, exam_id, "hand-out", order.candidate, reason, detail):
        return await reserve(stores, exam_id, order, key, by_ops=True, set_aside=set_aside)


async def _check_on(stores: ExamStores, exam_id: str, set_aside: str) -> None:
    if await _find(stores, exam_id, set_aside):
        raise SetAsideOver(set_aside)


async def _find(stores: ExamStores, exam_id: str, set_aside: str) -> bool:
    """Return whether a set-aside is over; raises UnknownExam and UnknownSetAside."""
    stores.registry.find(exam_id)
    async with stores.ledger.connection() as connection:
        stored = await stores.set_asides.all(connection, exam_id)
    for each in stored:
        if each.id == set_aside:
            return each.is_over
    raise UnknownSetAside(set_aside)
