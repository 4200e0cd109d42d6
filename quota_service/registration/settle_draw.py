"""Settle a draw that has a source: freeze its entries, then note what its source has come to.

    1. the instant at which entries close comes by Redis's clock: the draw is closed there, and then
       in Postgres (`room_cache`), which waits for the entries on their way and takes none after;
       where Redis is away, Postgres closes it by its own clock 5 s later, and Redis learns of it
    2. read all entries in order, and note the roots of their subtrees
    3. note their count and root in Postgres: published from then on              <- the freeze
    4. the source comes: fetch the beacon of the round; the outcome of an event is put in by ops
    5. note it in Postgres, once and for good: the ranks are known from then on   <- the draw

A process that dies before 3 leaves entries that nobody can change any more; the next look does 2
and 3 again, with the same result. One that dies before 5 has published nothing of the source; the
next one fetches it again. A Redis that is lost at any time has no part in who is in the draw: it
only says when entries close, which Postgres decides for good in 1.

A source that is not there is waited for, and no candidate of the draw is admitted before it: a
constraint in Postgres holds the threshold back. Only ops can decide to open without it, and only
once it is late (`decide_source`); then the ranks are made with the root of the entries in its
place. Both are final, and Postgres takes one of them, once.
"""

import hashlib
import logging
from contextlib import aclosing

from quota_service.registration.stores import WaitingRoomStores
from quota_service.waiting_room.entries import root_of

log = logging.getLogger(__name__)


async def freeze_entries(stores: WaitingRoomStores, exam: str) -> int:
    """Note count and root of a draw that is closed in Postgres; return the count."""
    count, number = 0, 0
    roots: list[bytes] = []
    async with aclosing(stores.draws.subtrees(exam)) as pages:
        async for subtrees in pages:
            page = [root_of(leaves) for leaves in subtrees]
            first_leaves = [leaves[0] for leaves in subtrees]
            await stores.draws.note_subtrees(exam, number, first_leaves, page)
            stores.failpoint("freeze: some subtrees noted")
            roots += page
            number += len(page)
            count += sum(map(len, subtrees))
    root = root_of(roots)
    stores.failpoint("freeze: before root")
    if await stores.draws.freeze(exam, count, root):
        extra = {"exam": exam, "entries": count, "root": root.hex()}
        log.info("entries of a draw frozen", extra=extra)
    stores.failpoint("freeze: after root")
    return count


async def note_beacon(stores: WaitingRoomStores, exam: str, signature: bytes) -> bool:
    """Note the signature of the round of a draw; False where none is waited for any more."""
    randomness = hashlib.sha256(signature).digest()
    stores.failpoint("source: before note")
    async with stores.ledger.transaction() as connection:
        is_noted = await stores.draws.note_source(connection, exam, signature.hex(), randomness)
    stores.failpoint("source: after note")
    if is_noted:
        log.info("source of a draw noted", extra={"exam": exam, "evidence": signature.hex()})
    return is_noted
