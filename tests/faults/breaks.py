"""What can be taken out of the service, so that a run shows the checkers go red.

A break is applied in each process of the service, in the memory of that process alone: a function
is replaced, or the scripts are read from a copy with a part cut out. It raises BreakError when the
service is no longer as the break knows it, so that none of them quietly breaks nothing.
"""

import shutil
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from redis.exceptions import RedisError

from quota_service.domain.payment import PaymentEvent
from quota_service.ledger import changes, pool, refunds
from quota_service.ledger.confirmations import ConfirmationLedger
from quota_service.ledger.fence import FencedTransaction, ShardEpoch
from quota_service.ledger.pool import Ledger, load_queries
from quota_service.ledger.recoveries import Records, RecoveryLedger, Step
from quota_service.registration import deal_round, drain_journal, recover_shard
from quota_service.registration.recover_shard import Recovery
from quota_service.registration.registry import UsedShard
from quota_service.registration.stores import MaintenanceStores
from quota_service.seats import pipelined, scripts
from quota_service.seats.pipelined import PipelinedConnection
from quota_service.waiting_list.entry import Entry
from quota_service.waiting_list.plan import Plan
from quota_service.workers import shard_recovery
from quota_service.workers.shard_recovery import ShardRecoveryWorker

_NO_SHARDS = "(SELECT NULL::integer[] WHERE $14::integer[] IS NULL)"
"""What takes an argument and knows no shard that a fence could hold up."""

LUA = Path(scripts.__file__).parents[2] / "lua"


class BreakError(Exception):
    """The service is not as a break knows it."""


def without_fence(_folder: Path) -> None:
    """Every run of every server is called the same, and no worker looks for losses."""
    about = pipelined._about  # noqa: SLF001

    def always_the_same(texts: Sequence[Any]) -> Any:
        return about(texts)._replace(run="the same")  # one that cannot serve is still refused

    async def look_away(_worker: ShardRecoveryWorker) -> Mapping[str, int]:
        return {}

    _replace(pipelined, "_about", always_the_same)
    _replace(ShardRecoveryWorker, "run_once", look_away)


def without_release_guard(folder: Path) -> None:
    """A release gives seats back in whatever state the reservation is."""
    _cut(folder, "release.lua", "if state == 'released'", "\nlocal now_ms")


def without_order_of_looking(_folder: Path) -> None:
    """A shard's version is read before what was drained: a drain between looks like a loss."""
    problem = recover_shard._problem  # noqa: SLF001

    async def lost_shards(stores: MaintenanceStores, used: Sequence[UsedShard]) -> list[UsedShard]:
        found = [await stores.recovery.status(each.shard) for each in used]
        drained = await stores.recoveries.positions({each.shard.exam for each in used})
        return [
            each
            for each, standing in zip(used, found, strict=True)
            if problem(each, drained.get(each.shard.exam, 0), standing)
        ]

    async def recover_if_lost(stores: MaintenanceStores, exam: str) -> Recovery | None:
        async with stores.recoveries.alone(exam) as alone:
            await stores.registry.refresh()
            used = stores.registry.used_shard(exam)
            standing = await stores.recovery.status(used.shard)
            _, drained = await stores.recoveries.position(exam)
            reason = problem(used, drained, standing)
            if not alone or not reason:
                return None
            shard = used.shard
            return await recover_shard._recover(stores, shard, standing, reason)  # noqa: SLF001

    _replace(shard_recovery, "lost_shards", lost_shards)
    _replace(shard_recovery, "recover_if_lost", recover_if_lost)


def without_leaving_replicas(_folder: Path) -> None:
    """A connection whose server has become a replica is kept, and nobody asks the server."""

    class NeverRaisedError(RedisError):
        """What no reply is."""

    async def look_away(_connection: PipelinedConnection) -> None:
        """Find no end."""

    for name in ("ReadOnlyError", "MasterDownError"):
        _replace(pipelined, name, NeverRaisedError)
    _replace(PipelinedConnection, "check", look_away)


def without_epochs(_folder: Path) -> None:
    """No transaction holds the epoch of its shard: each is committed, recovery or not."""

    @asynccontextmanager
    async def unfenced(
        ledger: Ledger, wanted: Iterable[ShardEpoch]
    ) -> AsyncIterator[FencedTransaction]:
        async with ledger.transaction() as connection:
            yield FencedTransaction(connection, frozenset(wanted))

    for module in (changes, refunds):
        _replace(module, "fenced_transaction", unfenced)
    queries = dict(load_queries())
    fenced = queries["settle_payments"]
    queries["settle_payments"] = fenced.replace("$14,", f"{_NO_SHARDS},")
    if queries["settle_payments"] == fenced:
        raise BreakError("settle_payments is not told shards as its argument 14 any more")
    _replace(pool, "load_queries", lambda: queries)


def without_lineage(_folder: Path) -> None:
    """A recovery goes on from wherever Redis stands, as if there were one history only."""

    async def never_left(_ledger: RecoveryLedger, _exam: str, _epoch: int) -> None:
        return None

    async def whole(_ledger: RecoveryLedger, _exam: str, after: Step, through: Step) -> int:
        return through[1] - after[1]

    _replace(RecoveryLedger, "branch", never_left)
    _replace(RecoveryLedger, "entries_between", whole)


def without_lost_holds(_folder: Path) -> None:
    """A recovery that goes on from where Redis stands does not write the holds that it lacks."""

    async def none(*_: object) -> AsyncIterator[Records]:
        for page in ():
            yield page

    _replace(RecoveryLedger, "holds_after", none)


def without_end_of_events(folder: Path) -> None:
    """A payment takes an expired hold's seats again before it asks whether its event has ended.

    And the hold is kept for its provider, whatever became of the event.
    """

    async def not_recorded(_ledger: ConfirmationLedger, _event: PaymentEvent) -> None:
        return None

    async def no_events(
        _ledger: ConfirmationLedger, _reservations: Sequence[str]
    ) -> Mapping[str, list[str]]:
        return {}

    _replace(ConfirmationLedger, "recorded", not_recorded)
    _replace(ConfirmationLedger, "events_of", no_events)
    _cut(
        folder, "begin_payment.lua", "  record[DUE_MS] = '0'\n", "end\nrecord[STATE] = 'confirming'"
    )


def without_standby(_folder: Path) -> None:
    """What is found in Postgres is answered, whether a standby has it or not."""

    async def no_wait(_ledger: Ledger) -> None:
        """Ask nothing."""

    _replace(Ledger, "sync", no_wait)


def without_gaps(_folder: Path) -> None:
    """Whatever a journal begins with is taken for what comes next."""

    async def no_gap(*_: object) -> drain_journal.Drained:
        return drain_journal.Drained()

    _replace(drain_journal, "_contiguous", lambda _position, entries: len(entries))
    _replace(drain_journal, "_close_gap", no_gap)


def without_order(_folder: Path) -> None:
    """Who waits first is looked at last: the second entry is dealt to before it."""
    by_the_rule = deal_round.plan

    def second_first(entries: Iterable[Entry], *pool: Any) -> Plan:
        first, *others = [*entries] or [None]
        return by_the_rule([*others, *([first] if first else [])], *pool)

    _replace(deal_round, "plan", second_first)


BREAKS: Mapping[str, Callable[[Path], None]] = {
    "fence": without_fence,
    "release": without_release_guard,
    "position": without_order_of_looking,
    "connections": without_leaving_replicas,
    "epoch": without_epochs,
    "lineage": without_lineage,
    "holds": without_lost_holds,
    "again": without_end_of_events,
    "gap": without_gaps,
    "standby": without_standby,
    "order": without_order,
}
"""The breaks of a process by name; each is told a folder of its own for scripts that it changes."""


def apply(names: Iterable[str], folder: Path) -> None:
    """Take out what is named, in this process."""
    for name in names:
        BREAKS[name](folder)


def _replace(owner: Any, name: str, replacement: object) -> None:
    if not hasattr(owner, name):
        raise BreakError(f"{owner.__name__} has no {name} any more")
    setattr(owner, name, replacement)


def _cut(folder: Path, script: str, begins: str, ends: str) -> None:
    """Let scripts be read from the folder, with one cut from where a part begins to another."""
    if scripts._folder() != folder:  # noqa: SLF001
        shutil.copytree(LUA, folder, dirs_exist_ok=True)
        scripts._folder = lambda: folder  # noqa: SLF001
    before, found, guarded = (folder / script).read_text(encoding="utf-8").partition(begins)
    _, has_end, after = guarded.partition(ends)
    if not (found and has_end):
        raise BreakError(f"{script} is not as this break knows it")
    (folder / script).write_text(before + ends + after, encoding="utf-8")
