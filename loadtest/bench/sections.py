"""The sections of the bench by name, in the order they run; each returns its rows."""

from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType

from loadtest.bench import (
    clustered,
    delivered,
    durability,
    group_commit,
    latency,
    listed,
    redis_cost,
    sizes,
    throughput,
    unit_costs,
    watched,
)
from loadtest.bench.table import Row, Spread, at_least, row_of_rounds
from loadtest.bench.testbed import Testbed

Section = Callable[[Testbed], Awaitable[list[Row]]]

_CONFIRMATIONS = 1_000
_IN_FLIGHT = 256


async def group_commit_rows(testbed: Testbed) -> list[Row]:
    """Return the row of the group commit, both sides through the confirm protocol itself."""
    async with testbed.own_stores(group_commit.bench_exam(throughput.SEATS)) as stores:
        rates = await group_commit.compare(
            stores.service.settings, testbed.plan.rounds, _CONFIRMATIONS, _IN_FLIGHT
        )
    grouped, alone = rates[group_commit.GROUPED], rates[group_commit.ALONE]
    figures = {name: {"per_s": Spread.of(measured)} for name, measured in rates.items()} | {
        "in_flight": _IN_FLIGHT,
        "confirmations": _CONFIRMATIONS,
    }
    name = "confirm, group-committed ÷ one transaction each"
    return [row_of_rounds(name, at_least(5), grouped, alone, figures)]


SECTIONS: Mapping[str, Section] = MappingProxyType(
    {
        "reserve": throughput.reserve_rows,
        "rules": throughput.rules_rows,
        "sold-out": throughput.sold_out_rows,
        "availability": throughput.availability_rows,
        "confirm": throughput.confirm_rows,
        "group-commit": group_commit_rows,
        "fsync": durability.fsync_rows,
        "replica": durability.replica_rows,
        "waiting-room": throughput.waiting_room_rows,
        "waiting-list": listed.waiting_list_rows,
        "webhooks": delivered.webhooks_rows,
        "redis-cpu": redis_cost.plain_commands_rows,
        "cluster": clustered.cluster_rows,
        "half-rate": latency.half_rate_rows,
        "live-holds": redis_cost.live_holds_rows,
        "expiry": latency.expiry_rows,
        "sizes": sizes.sizes_rows,
        "watchers": watched.watchers_rows,
        "workers": throughput.api_processes_rows,
        "unit-costs": unit_costs.unit_costs_rows,
    }
)
