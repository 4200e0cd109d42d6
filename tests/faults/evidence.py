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
    another run of a server afterwards, `is_calm` when nothing happens at all, `is_spared` when it
    hit another primary than the one that has the exam. `poisoned` counts journal entries that can
    never be stored, `has_gap` tells that Postgres lost some. `machine_ms` is what a busy machine
    may add to the time that anything takes.
    """

    calls: list[Call]
    seen: Seen
    may_lose: bool = False
    restarts_redis: bool = False
    is_calm: bool = False
    is_spared: bool = False
    poisoned: int = 0
    has_gap: bool = False
    machine_ms: int = MACHINE_MS
    lost: dict[str, str] = field(default_factory=dict)

    def of(self, op: str, *kinds: Kind) -> Iterator[Call]:
        return (call for call in self.calls if call.op == op and call.answer.kind in kinds)

    @property
    def longest_outage_ms(self) -> int:
        """The longest time in which no seat could be taken, no payment be told, or nothing done."""
        taking = [call for call in self.calls if call.op in {"reserve", "probe"}]
        telling = [call for call in self.calls if call.op == "pay"]
        return max(map(_longest_outage_ms, (taking, telling, self.calls)))

    def reservations(self, op: str, *kinds: Kind) -> set[str]:
        return {str(call.args["reservation"]) for call in self.of(op, *kinds)}


def _longest_outage_ms(calls: list[Call]) -> int:
    """Return the longest time from a call without an answer, or with a 5xx, to one that has one."""
    ended = [(call.ended_ms, call) for call in calls if call.ended_ms]
    longest_ms = served_ms = 0
    since_ms: int | None = None
    for ended_ms, call in sorted(ended, key=lambda pair: pair[0]):
        if call.answer.is_unknown:
            since_ms = max(call.invoked_ms, served_ms) if since_ms is None else since_ms
            continue
        if since_ms is not None:
            longest_ms, since_ms = max(longest_ms, ended_ms - since_ms), None
        served_ms = ended_ms
    return longest_ms
