"""Calls scripts on shards: with the keys that a script declares, and its first refusals raised."""

from collections.abc import Sequence
from typing import Any

from quota_service.domain.errors import NotReady, StaleDefinition
from quota_service.seats.codes import Code
from quota_service.seats.connection import ScriptCall
from quota_service.seats.keys import Shard
from quota_service.seats.servers import Runners

_NOT_READY = (Code.NOT_READY, Code.STALE)


class ShardScripts:
    """The scripts of one Redis, called by name."""

    def __init__(self, runners: Runners) -> None:
        self.runners = runners
        self._keys: dict[tuple[str, str], tuple[str, ...]] = {}

    async def call(
        self,
        name: str,
        shard: Shard,
        args: Sequence[str | int],
        *,
        records: Sequence[str] = (),
        chosen: Sequence[str] = (),
    ) -> list[Any]:
        """Call a script on a shard, its records of these serials and `chosen` keys of it.

        Raises NotReady, StaleDefinition and SeatsUnavailable.
        """
        answer = await self.runners.of(shard).call(
            self.prepared(name, shard, args, records, chosen)
        )
        if answer[0] in _NOT_READY:
            raise not_ready(shard, answer[0])
        return answer

    def prepared(
        self,
        name: str,
        shard: Shard,
        args: Sequence[str | int],
        records: Sequence[str] = (),
        chosen: Sequence[str] = (),
    ) -> ScriptCall:
        """Return such a call, for callers that take any answer."""
        keys = [*self.keys(shard, name), *chosen]
        keys += [shard.record_key(serial) for serial in records]
        return ScriptCall(self.runners.scripts[name], keys, args)

    def keys(self, shard: Shard, name: str) -> tuple[str, ...]:
        """Return the shard's keys that a script wants, made once."""
        keys = self._keys.get((shard.tag, name))
        if keys is None:
            keys = tuple(shard.keys_for(self.runners.scripts[name].shard_keys))
            self._keys[shard.tag, name] = keys
        return keys


def not_ready(shard: Shard, code: int) -> NotReady:
    """Return the error that a script's first refusals stand for."""
    if code == Code.STALE:
        return StaleDefinition(f"another definition of exam {shard.exam} is in force now")
    if shard.is_recovered:
        return NotReady(f"another recovery of shard {shard.tag} has taken over")
    return NotReady(f"shard {shard.tag} is not open under epoch {shard.epoch}")
