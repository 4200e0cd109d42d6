"""Brings the ceilings in Redis level with those of Postgres.

A ceiling that is new or lower is put before the commit of an import, one that is raised or gone
after it: Redis never has more seats than Postgres.
"""

from collections.abc import Sequence

from quota_service.domain.errors import DefinitionRefused
from quota_service.domain.exam import Ceiling
from quota_service.registration.stores import ExamStores
from quota_service.seats.codes import Code
from quota_service.seats.keys import Shard


async def level_ceilings(stores: ExamStores, shard: Shard) -> None:
    """Give Redis the ceilings that Postgres has; raises DefinitionRefused as `put_level` does."""
    await put_level(stores, shard, await _stored(stores, shard.exam))


async def put_level(stores: ExamStores, shard: Shard, ceilings: Sequence[Ceiling]) -> None:
    """Give Redis these ceilings, and none beside them.

    Raises DefinitionRefused where more seats are taken than one has.
    """
    await put_ceilings(stores, shard, ceilings)
    named = {str(ceiling) for ceiling in ceilings}
    if more := [name for name in await stores.ceilings.names(shard) if name not in named]:
        await stores.ceilings.remove(shard, more)


async def put_ceilings(stores: ExamStores, shard: Shard, ceilings: Sequence[Ceiling]) -> None:
    """Give Redis some ceilings; DefinitionRefused for those below what is taken."""
    answer = await stores.ceilings.set(shard, ceilings)
    if answer.code is Code.BELOW_TAKEN:
        pairs = zip(answer.detail[::2], answer.detail[1::2], strict=True)
        raise DefinitionRefused(
            [
                (f"rooms.{name.replace('/', '.')}", f"cannot go below the {taken} seats taken")
                for name, taken in pairs
            ]
        )


async def ceilings_are_level(stores: ExamStores, shard: Shard) -> bool:
    """Return whether Redis has the ceilings that Postgres has, and the right seats left of each."""
    wanted = await _stored(stores, shard.exam)
    if await stores.ceilings.names(shard) != sorted(str(ceiling) for ceiling in wanted):
        return False
    found = await stores.ceilings.read(shard, wanted)
    return all(seen.left == ceiling.seats - seen.taken for ceiling, seen in found.items())


async def _stored(stores: ExamStores, exam_id: str) -> list[Ceiling]:
    async with stores.ledger.connection() as connection:
        return await stores.exams.ceilings(connection, exam_id)
