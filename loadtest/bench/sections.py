"""The sections of the bench by name, in the order they run; each returns its rows."""

from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType

from loadtest.bench import latency, throughput
from loadtest.bench.stage import Stage
from loadtest.bench.table import Row

Section = Callable[[Stage], Awaitable[list[Row]]]

SECTIONS: Mapping[str, Section] = MappingProxyType(
    {
        "reserve": throughput.reserve_rows,
        "sold-out": throughput.sold_out_rows,
        "availability": throughput.availability_rows,
        "confirm": throughput.confirm_rows,
        "waiting-room": throughput.waiting_room_rows,
        "half-rate": latency.half_rate_rows,
        "expiry": latency.expiry_rows,
        "workers": throughput.workers_rows,
    }
)
