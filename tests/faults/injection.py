"""What a fault is, and what it may touch."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from tests.faults.cluster import Cluster
from tests.faults.frontend import Frontend

ALL = ("rush", "churn", "pay", "mixed")


@dataclass(slots=True)
class Injection:
    """The cluster under load, a fault's own dice, and what it tells the checkers.

    `poisoned` names the exam of each journal entry the fault poisoned, `fell_back` the exams whose
    journal entries Postgres has lost.
    """

    cluster: Cluster
    rng: random.Random
    frontends: list[Frontend]
    poisoned: list[str] = field(default_factory=list)
    fell_back: list[str] = field(default_factory=list)

    async def last(self, low_s: float, high_s: float | None = None) -> None:
        """Let the load go on for a while drawn between two bounds."""
        await asyncio.sleep(self.rng.uniform(low_s, low_s if high_s is None else high_s))


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault by its name, the workloads it concerns, and how it is injected and healed.

    `inject` returns when the fault is healed. `restarts_redis` marks a fault after which Redis is
    another run of a server, so that shards are recovered; `may_lose` one after which it has lost
    writes it had acknowledged; `is_calm` that nothing happens at all.
    """

    name: str
    inject: Callable[[Injection], Awaitable[None]]
    workloads: tuple[str, ...] = ALL
    may_lose: bool = False
    restarts_redis: bool = False
    is_calm: bool = False
    is_quick: bool = False
