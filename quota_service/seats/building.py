"""Rebuilding a shard: everything of it is removed, then written anew under a new epoch.

Only one rebuild of a shard is at work at a time, under a lock in Postgres. The epoch in the key
`building` holds back one that lost its lock and does not know it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from quota_service.domain.errors import NotReady
from quota_service.domain.exam import Quota
from quota_service.seats.codes import Code
from quota_service.seats.connection import ScriptCall, ScriptRunner
from quota_service.seats.keys import Shard

_SCAN_COUNT = 2000


@dataclass(frozen=True, slots=True)
class Standing:
    """How Redis has a shard: the epoch it is open under, or None, and its version.

    `is_of_this_run` when it was opened in the run the server is in now.
    """

    epoch: int | None
    version: int
    is_of_this_run: bool


class ShardBuilder:
    """Builds shards in one Redis; each method takes the shard with the epoch it is to get."""

    def __init__(self, runner: ScriptRunner) -> None:
        self._runner = runner
        self._scripts = runner.scripts

    async def standing(self, shard: Shard) -> Standing:
        """Return how Redis has a shard now."""
        names = ("epoch", "version", "run")
        found = await self._runner.command("MGET", *shard.keys_for(names))
        epoch, version, run = found
        return Standing(
            None if epoch is None else int(epoch),
            int(version or 0),
            is_of_this_run=run == await self._runner.run_id(),
        )

    async def close(self, shard: Shard) -> None:
        """Let no script run on the shard any more, and claim it for the rebuild.

        This and all that follows raise NotReady when another rebuild has taken over.
        """
        await self._call("begin_build", shard, [shard.epoch])

    async def begin(self, shard: Shard, capacity: Mapping[Quota, int]) -> None:
        """Remove everything of the shard and start anew, with every seat free."""
        cursor = "0"
        while True:
            cursor, keys = await self._runner.command(
                "SCAN", cursor, "MATCH", f"{shard.record_key('')}*", "COUNT", _SCAN_COUNT
            )
            await self._call("clear", shard, [shard.epoch], keys)
            if int(cursor) == 0:
                break
        seats = [word for quota, n in capacity.items() for word in (str(quota), n)]
        await self._call("seed", shard, [shard.epoch, *seats])

    async def load(
        self, shard: Shard, records: Sequence[tuple[str, str]], grace_ms: int
    ) -> list[str]:
        """Write (serial, record) pairs; return the serials of holds that do not fit any more."""
        args: list[str | int] = [
            shard.epoch,
            grace_ms,
            *(word for pair in records for word in pair),
        ]
        keys = [shard.record_key(serial) for serial, _ in records]
        return [str(serial) for serial in await self._call("load", shard, args, keys)]

    async def open(self, shard: Shard) -> None:
        """Open the shard."""
        await self._call("open_built", shard, [shard.epoch, await self._runner.run_id()])

    async def _call(
        self, name: str, shard: Shard, args: Sequence[str | int], records: Sequence[str] = ()
    ) -> list[str]:
        script = self._scripts[name]
        keys = [*shard.keys_for(script.shard_keys), *records]
        code, *answer = await self._runner.call(ScriptCall(script, keys, args))
        if code == Code.NOT_READY:
            raise NotReady(f"another rebuild of shard {shard.tag} has taken over")
        return answer
