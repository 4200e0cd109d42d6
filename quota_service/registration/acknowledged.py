"""The holds this process has acknowledged last, in case Redis loses them.

A hold is journaled in Redis and reaches Postgres a moment later. When Redis loses both, nobody but
the process that answered the candidate knows of it. After the rebuild it puts such holds back as
far as their seats are still free, and reports how many were lost.
"""

import asyncio
import logging
from collections import defaultdict, deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from quota_service.domain.reservation import Reservation, ReservationId
from quota_service.seats.codes import Code
from quota_service.seats.keys import Shard
from quota_service.seats.record import record_text

if TYPE_CHECKING:
    from quota_service.registration.stores import Stores

log = logging.getLogger(__name__)

_REMEMBERED_MAX = 20_000


class _Acknowledged(NamedTuple):
    shard: Shard
    version: int
    reservation: Reservation


class AcknowledgedHolds:
    """The latest acknowledged holds, bounded in number."""

    def __init__(self) -> None:
        self._restoring = asyncio.Lock()
        self._holds: deque[_Acknowledged] = deque(maxlen=_REMEMBERED_MAX)

    def remember(self, shard: Shard, version: int, reservation: Reservation) -> None:
        """Remember a hold as it was acknowledged, at a version of its shard."""
        self._holds.append(_Acknowledged(shard, version, reservation))

    async def restore(self, stores: "Stores") -> None:
        """Put back what was lost of shards that were rebuilt since the holds were acknowledged.

        Raises Unavailable; the next look then does it again.
        """
        async with self._restoring:
            opened = {_place(shard): shard for shard in stores.registry.open_shards()}
            behind: defaultdict[Shard, list[_Acknowledged]] = defaultdict(list)
            for held in self._holds:
                now = opened.get(_place(held.shard))
                if now is not None and now.epoch > held.shard.epoch:
                    behind[held.shard].append(held)
            for shard, holds in behind.items():
                await self._restore_shard(stores, shard, opened[_place(shard)], holds)
                # Others were acknowledged, and the oldest forgotten, meanwhile.
                settled = {id(held) for held in holds}
                left = [held for held in self._holds if id(held) not in settled]
                self._holds.clear()
                self._holds.extend(left)

    async def _restore_shard(
        self, stores: "Stores", before: Shard, shard: Shard, holds: Sequence[_Acknowledged]
    ) -> None:
        """Restore what the journal of the epoch before does not have, each as it was told last."""
        recovered = await stores.rebuilding.recovered(before.exam, before.number, before.epoch)
        lost = {held.reservation.id: held.reservation for held in holds if held.version > recovered}
        restored = 0
        for reservation in lost.values():
            serial = _serial(reservation)
            answer = await stores.seats.restore(shard, serial, record_text(reservation))
            restored += answer.code >= Code.DONE
        if lost:
            log.warning(
                "holds were lost",
                extra={"shard": shard.tag, "lost": len(lost), "restored": restored},
            )
            rebuilt = (shard.exam, shard.number, shard.epoch)
            await stores.rebuilding.report_lost(rebuilt, len(lost), restored)
            stores.metrics.holds_lost.labels(exam=shard.exam).inc(len(lost))


def _place(shard: Shard) -> tuple[str, int]:
    return shard.exam, shard.number


def _serial(reservation: Reservation) -> str:
    parts = ReservationId.parse(reservation.id)
    if parts is None:
        raise AssertionError(f"{reservation.id!r} is no reservation id")
    return parts.serial
