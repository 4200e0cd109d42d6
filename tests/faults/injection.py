"""What a fault is, and what it may touch."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from tests.faults.deployment import Deployment
from tests.faults.frontend import Frontend
from tests.faults.postgres_servers import OnePostgres, PairOfPostgres
from tests.faults.redis_servers import ClusterRedis, OneRedis, SentinelRedis

ALL = ("rush", "churn", "pay", "mixed")
LINED = (*ALL, "line")


@dataclass(slots=True)
class Injection:
    """The deployment under load, a fault's own dice, and what it tells the checkers.

    `poisoned` names the exam of each journal entry the fault poisoned, `fell_back` the exams whose
    journal entries Postgres has lost, `hit` the exams on the primary that failed, None for all.
    """

    deployment: Deployment
    rng: random.Random
    frontends: list[Frontend]
    poisoned: list[str] = field(default_factory=list)
    fell_back: list[str] = field(default_factory=list)
    hit: set[str] | None = None

    @property
    def exams(self) -> list[str]:
        return [frontend.exam for frontend in self.frontends]

    @property
    def one_redis(self) -> OneRedis:
        assert isinstance(self.deployment.redis, OneRedis), self.deployment.layout
        return self.deployment.redis

    @property
    def cluster(self) -> ClusterRedis:
        assert isinstance(self.deployment.redis, ClusterRedis), self.deployment.layout
        return self.deployment.redis

    @property
    def sentinels(self) -> SentinelRedis:
        assert isinstance(self.deployment.redis, SentinelRedis), self.deployment.layout
        return self.deployment.redis

    @property
    def one_postgres(self) -> OnePostgres:
        assert isinstance(self.deployment.postgres, OnePostgres), self.deployment.layout
        return self.deployment.postgres

    @property
    def pair(self) -> PairOfPostgres:
        assert isinstance(self.deployment.postgres, PairOfPostgres), self.deployment.layout
        return self.deployment.postgres

    async def last(self, low_s: float, high_s: float | None = None) -> None:
        """Let the load go on for a while drawn between two bounds."""
        await asyncio.sleep(self.rng.uniform(low_s, low_s if high_s is None else high_s))


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault by its name, the workloads it concerns, and how it is injected and healed.

    `inject` returns when the fault is healed. `restarts_redis` marks a fault after which Redis is
    another run of a server, so that shards are recovered; `may_lose` one after which it has lost
    writes it had acknowledged; both concern the exams that it hits. `is_calm` that nothing happens
    at all. `layout` names the stores that it needs.
    """

    name: str
    inject: Callable[[Injection], Awaitable[None]]
    workloads: tuple[str, ...] = ALL
    layout: str = "one"
    may_lose: bool = False
    restarts_redis: bool = False
    is_calm: bool = False
    is_quick: bool = False
