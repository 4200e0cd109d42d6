"""What a round leaves for the checks: its history, both stores at its end, and what was done."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.faults.history import Call, Kind
from tests.faults.seen import Seen

MACHINE_MS = 1_500


@dataclass(frozen=True, slots=True)
class Violation:
    """A promise that was not kept, and the evidence in a line."""

    promise: str
    evidence: str


@dataclass(slots=True)
class Evidence:
    """What the checks look at.

    `may_lose` when the fault makes Redis lose what it acknowledged, `restarts_redis` when Redis is
    another run of a server afterwards, `is_calm` when nothing happens at all. `poisoned` counts
    journal entries that can never be stored, `has_gap` tells that Postgres lost some. `machine_ms`
    is what a busy machine may add to the time that anything takes.
    """

    calls: list[Call]
    seen: Seen
    may_lose: bool = False
    restarts_redis: bool = False
    is_calm: bool = False
    poisoned: int = 0
    has_gap: bool = False
    machine_ms: int = MACHINE_MS
    lost: dict[str, str] = field(default_factory=dict)

    def of(self, op: str, *kinds: Kind) -> Iterator[Call]:
        return (call for call in self.calls if call.op == op and call.answer.kind in kinds)

    def reservations(self, op: str, *kinds: Kind) -> set[str]:
        return {str(call.args["reservation"]) for call in self.of(op, *kinds)}
