"""The table of faults, in the order of a run."""

from tests.faults import failover_faults as failovers
from tests.faults import process_faults as processes
from tests.faults import redis_faults as redis
from tests.faults import store_faults as stores
from tests.faults.injection import LINED, Fault, Injection

_PAYING = ("pay", "mixed")


async def nothing(injection: Injection) -> None:
    await injection.last(3)


# fmt: off
FAULTS = (
    Fault("none", nothing, is_calm=True, is_quick=True),
    Fault("none, with a list", nothing, ("line",), is_calm=True),
    Fault("api kill -9", processes.api_killed, LINED),
    Fault("api dies in reserve", processes.api_dies_at(*processes.RESERVE_LINES),
          ("rush", "churn")),
    Fault("api dies in confirm", processes.api_dies_at(*processes.CONFIRM_LINES),
          ("rush", "pay", "mixed")),
    Fault("api dies in change", processes.api_dies_at(*processes.CHANGE_LINES),
          ("churn", "mixed")),
    Fault("api dies in refund", processes.api_dies_at(*processes.REFUND_LINES),
          ("rush", "pay", "mixed")),
    Fault("rolling restart", processes.rolling_restart),
    Fault("clients leave", processes.clients_gone),
    Fault("worker kill -9", processes.workers_killed, LINED),
    Fault("worker stopped, continued", processes.worker_paused, LINED),
    Fault("worker dies dealing", processes.worker_dies_at(*processes.DEAL_LINES), ("line",)),
    Fault("worker dies in rebuild", processes.worker_dies_rebuilding, may_lose=True),
    Fault("worker dies in recovery", processes.worker_dies_reconciling, restarts_redis=True),
    Fault("callbacks again and again", processes.callbacks_repeated, ("pay", "late")),
    Fault("redis kill -9", redis.redis_killed, LINED, restarts_redis=True),
    Fault("redis kill -9, everysec", redis.redis_killed_everysec, may_lose=True),
    Fault("redis older copy", redis.redis_older, may_lose=True, is_quick=True),
    Fault("redis lost twice", redis.redis_older_twice, may_lose=True),
    Fault("redis late replica", redis.replica_promoted, LINED, may_lose=True),
    Fault("redis failover, connections stay", redis.handed_over, restarts_redis=True),
    Fault("redis fail-back", redis.failed_back, may_lose=True),
    Fault("redis fail-back, two histories", redis.failed_back_with_own_steps, may_lose=True),
    Fault("redis flushall", redis.redis_flushed, may_lose=True, is_quick=True),
    Fault("refunds during rebuilds", redis.rebuilt_again_and_again, ("rush", *_PAYING),
          may_lose=True),
    Fault("redis script flush", stores.redis_scripts_flushed),
    Fault("redis full", stores.redis_full),
    Fault("redis answers lost", stores.answers_dropped("redis")),
    Fault("redis resets", stores.connections_reset("redis")),
    Fault("redis slow", stores.network_slow("redis")),
    Fault("redis half-open", stores.half_open("redis")),
    Fault("journal poisoned", stores.journal_poisoned, ("churn", "pay", "mixed")),
    Fault("postgres kill -9", stores.postgres_killed(0.8, 1.2), is_quick=True),
    Fault("postgres kill -9, with a list", stores.postgres_killed(0.8, 1.2), ("line",)),
    Fault("postgres kill -9, 30 s", stores.postgres_killed(30, 30), ("churn", *_PAYING)),
    Fault("postgres stopped 1 s", stores.postgres_paused(1, 1)),
    Fault("postgres stopped 30 s", stores.postgres_paused(30, 30), ("churn", *_PAYING)),
    Fault("postgres answers lost", stores.answers_dropped("postgres"), ("rush", *_PAYING)),
    Fault("postgres resets", stores.connections_reset("postgres"), ("rush", *_PAYING)),
    Fault("postgres slow", stores.network_slow("postgres"), ("rush", *_PAYING)),
    Fault("postgres half-open", stores.half_open("postgres"), ("rush", *_PAYING)),
    Fault("postgres pool slow", stores.pool_busy),
    Fault("postgres falls back by a drain", stores.postgres_fell_back),
    Fault("cluster node killed", failovers.node_killed, layout="cluster", may_lose=True,
          is_quick=True),
    Fault("cluster late replica", failovers.late_node_promoted, layout="cluster", may_lose=True),
    Fault("cluster node stopped", failovers.node_stopped, layout="cluster", may_lose=True),
    Fault("cluster failover in order", failovers.node_failed_over, layout="cluster",
          restarts_redis=True),
    Fault("cluster slot moved", failovers.slot_moved, layout="cluster", restarts_redis=True),
    Fault("cluster node killed, replicas waited for", failovers.node_killed,
          layout="waiting cluster", restarts_redis=True),
    Fault("sentinels, primary killed", failovers.watched_killed, layout="sentinels",
          may_lose=True),
    Fault("sentinels, network cut", failovers.watched_cut_off, layout="sentinels",
          may_lose=True),
    Fault("standby lost", failovers.standby_lost, layout="pair"),
    Fault("standby promoted", failovers.standby_promoted, layout="pair"),
    Fault("standby late, promoted", failovers.late_standby_promoted, layout="pair"),
)
# fmt: on
