"""Every setting of the service: its `QUOTA_*` environment variable, meaning, unit and default.

The dataclass is the one list. Reading the environment, checking the limits and printing the table
of `quota-service settings` all walk over its fields, so none of them can know less than another.
Over 400 lines because it is that list.
"""

import dataclasses
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from quota_service.service_links import without_service_links

_SECRET_MAX_BYTES = 64 * 1024
_LOG_LEVELS = ("debug", "info", "warning", "error")


class SettingsError(ValueError):
    """A setting that is missing, malformed, out of its limits or of no use; the text names it."""


def _setting(
    default: Any,
    meaning: str,
    *,
    secret: bool = False,
    low: float | None = None,
    high: float | None = None,
    one_of: tuple[str, ...] = (),
) -> Any:
    limits = {"meaning": meaning, "secret": secret, "low": low, "high": high, "one_of": one_of}
    return field(default=default, metadata=limits, repr=not secret)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of one process; units stand last in each name."""

    redis_url: str = _setting(
        "redis://127.0.0.1:6379/0", "Redis that holds the seat counters", secret=True
    )
    postgres_dsn: str = _setting(
        "postgresql://quota@127.0.0.1:5432/quota",
        "Postgres that holds the bookings; several hosts may be listed",
        secret=True,
    )
    payment_secrets: str = _setting(
        "",
        "payment callback secrets in the form whsec_<base64>, comma-separated while rotating",
        secret=True,
    )
    host: str = _setting("127.0.0.1", "address of the API")
    port: int = _setting(8080, "port of the API", low=0, high=65535)
    admin_host: str = _setting("127.0.0.1", "address of /metrics and health; not for the public")
    admin_port: int = _setting(
        9090,
        "port of /metrics and health; each process on one host needs its own, those of `serve "
        "--workers` take this one and the next ones",
        low=0,
        high=65535,
    )
    log_level: str = _setting("info", "debug, info, warning or error", one_of=_LOG_LEVELS)

    request_timeout_s: float = _setting(
        5.0,
        "a request that waits longer for the stores is answered 503; a body that takes longer, 408",
        low=0.1,
        high=60,
    )
    connections_max: int = _setting(
        25_000,
        "connections at once in each process, fewer where its file descriptors end before; those "
        "beyond wait to be accepted",
        low=16,
    )
    connections_address_share: float = _setting(
        0.5,
        "the part of them that one address may have; 1 behind a proxy that bounds its clients",
        low=0.001,
        high=1,
    )
    head_timeout_s: float = _setting(
        5.0,
        "a connection on which the head of a request takes longer is closed",
        low=0.1,
        high=60,
    )
    idle_timeout_s: float = _setting(
        30.0,
        "a connection without a request, or whose client reads nothing, is closed then; a proxy "
        "has to close its idle ones before",
        low=0.1,
        high=3600,
    )
    body_max_bytes: int = _setting(16_384, "larger request bodies are answered 413", low=1024)
    protocols_max: int = _setting(
        10_000, "requests at work on the stores at once; more are answered 503", low=1
    )
    work_limit: int = _setting(
        2048, "requests at work at once, at the start; it adapts to latency", low=16
    )
    work_limit_min: int = _setting(512, "the least the limit adapts to", low=16)
    work_limit_max: int = _setting(8192, "the most the limit adapts to", low=16)
    work_window_ms: int = _setting(
        100, "how often the limit is moved, at most", low=10, high=60_000
    )
    work_limit_smoothing: float = _setting(
        0.2, "how far one window moves the limit towards what it has shown", low=0.01, high=1
    )
    work_latency_tolerance: float = _setting(
        1.5,
        "how many times its usual latency a request may take before the limit shrinks",
        low=1,
        high=10,
    )
    work_latency_floor_ms: float = _setting(
        200.0, "a latency that is never taken for overload", low=0.1, high=10_000
    )
    queue_max: int = _setting(
        500,
        "whole requests that may wait to be begun; while so many wait, reservations, reads and "
        "joins are answered 503, and all else still waits",
        low=1,
    )
    exports_max: int = _setting(2, "exports of bookings at once; more are answered 503", low=1)
    export_timeout_s: float = _setting(
        900.0, "an export that takes longer is broken off", low=1, high=86_400
    )
    shutdown_notice_s: float = _setting(
        0.0, "time between readiness going and the port closing at shutdown", low=0, high=600
    )
    shutdown_drain_s: float = _setting(
        10.0, "time for requests under way to finish at shutdown", low=0, high=600
    )

    worker_settled_s: float = _setting(
        10.0,
        "a process of `serve --workers` that lived this long did not die of its start",
        low=0.1,
        high=3600,
    )
    worker_restarts_max: int = _setting(
        5,
        "deaths of such a process soon after its start, in a row; one more ends the service",
        low=0,
        high=1000,
    )
    worker_backoff_max_s: float = _setting(
        5.0, "longest pause before such a process is started again", low=0.1, high=600
    )

    redis_connect_timeout_s: float = _setting(1.0, "time to connect to Redis", low=0.01, high=30)
    redis_command_timeout_s: float = _setting(
        2.0, "time for Redis to answer a batch of commands", low=0.01, high=30
    )
    redis_wait_replicas: int = _setting(
        0,
        "replicas that must have a write before it is acknowledged; fewer: 503. 0 waits for none",
        low=0,
        high=16,
    )
    redis_batch_max: int = _setting(64, "script calls sent to Redis at once", low=1, high=1000)
    redis_batches_in_flight_max: int = _setting(4, "batches under way to Redis", low=1, high=64)
    redis_queue_max: int = _setting(
        20_000, "script calls that may wait for a batch; more are answered 503", low=1000
    )

    postgres_pool_max: int = _setting(
        8, "connections to Postgres; a recovery holds two at a time", low=4, high=1000
    )
    postgres_connect_timeout_s: float = _setting(
        2.0, "time to connect to Postgres", low=0.01, high=60
    )
    postgres_acquire_timeout_s: float = _setting(
        2.0, "time to wait for a connection of the pool", low=0.01, high=60
    )
    postgres_command_timeout_s: float = _setting(
        5.0, "time for Postgres to answer a command", low=0.01, high=600
    )
    postgres_idle_transaction_timeout_s: float = _setting(
        10.0, "after how long without a word Postgres ends our transaction", low=1, high=600
    )
    postgres_statement_cache: bool = _setting(
        True, "prepared statements; off behind PgBouncer in transaction mode"
    )
    group_commit_max: int = _setting(
        128, "payment events recorded in one transaction", low=1, high=1000
    )
    group_commits_in_flight_max: int = _setting(2, "transactions of them at once", low=1, high=64)
    group_commit_queue_max: int = _setting(
        5_000, "payment events that may wait; more are answered 503", low=1
    )

    pins_max: int = _setting(
        5_000, "payments of a shard that may wait for Postgres; beyond, no new holds", low=0
    )
    journal_backlog_max: int = _setting(
        500_000, "journal entries of a shard that may wait; beyond, no new holds", low=0
    )
    registry_refresh_s: float = _setting(
        0.5, "how often exams and API keys are read again from Postgres", low=0.05, high=60
    )
    availability_refresh_ms: int = _setting(
        200, "how old an availability answer may be", low=10, high=10_000
    )
    waiting_room_refresh_s: float = _setting(
        1.0, "how often the public documents of waiting rooms are made anew", low=0.05, high=10
    )
    waiting_room_poll_min_s: float = _setting(
        1.0, "the shortest time after which a waiting client asks again", low=0.1, high=60
    )
    waiting_room_poll_max_s: float = _setting(
        15.0, "the longest time after which a waiting client asks again", low=1, high=600
    )
    waiting_room_block: int = _setting(
        500, "numbers of a queue set aside in Postgres at a time", low=1, high=100_000
    )
    waiting_room_numbers_max: int = _setting(
        1_000_000, "candidates in one queue whose turn has not passed; more are answered 503", low=1
    )
    streams_max: int = _setting(
        20_000, "availability streams open at once; more are answered 503", low=1
    )
    streams_of_address_max: int = _setting(
        10_000, "the same for each address; a proxy in front is one address", low=1
    )
    stream_filters_max: int = _setting(
        256, "different ?subjects= of the streams of an exam; further ones get all subjects", low=1
    )
    stream_interval_ms: int = _setting(
        2000, "how often the streams of an exam are told what changed", low=10, high=10_000
    )
    stream_heartbeat_s: float = _setting(
        15.0, "a stream that was told nothing for so long gets a comment", low=1, high=300
    )
    stream_life_s: float = _setting(
        3600.0, "a stream is ended after this time at most, to be opened again", low=1, high=86_400
    )
    stream_retry_ms: int = _setting(
        3000, "about when a stream that ended is to be opened again", low=100, high=60_000
    )
    stream_changes_max: int = _setting(
        300, "changes of an exam that are kept for streams that resume", low=1, high=10_000
    )
    stream_buffer_max_bytes: int = _setting(
        65_536, "what may wait for the reader of a stream before it misses changes", low=1024
    )
    stream_stall_timeout_s: float = _setting(
        30.0, "a stream whose full buffer is not read in this time is cut off", low=1, high=600
    )
    stream_writes_per_turn_max: int = _setting(
        200, "streams written to before other requests get their turn", low=1, high=10_000
    )
    metrics_quotas_max: int = _setting(
        2_000, "quotas with seat gauges of their own; further ones are summed up", low=0
    )

    admission_interval_s: float = _setting(
        1.0, "pause between two steps of admission from the waiting room", low=0.05, high=10
    )
    admission_lease_s: float = _setting(
        5.0, "how long admission waits for a leader that is gone", low=1, high=60
    )
    admission_rise_max: float = _setting(
        0.02, "largest share by which admission gets faster in a second", low=0, high=1
    )
    admission_settle_s: float = _setting(
        15.0, "time a slower admission gets to show before the next fall", low=0, high=600
    )
    admission_claim_window_s: float = _setting(
        20.0, "how long a place is kept free for one who was admitted", low=0, high=600
    )
    admission_reserve_p99_target_ms: float = _setting(
        250.0, "p99 of reserve above which admission gets slower", low=1, high=60_000
    )
    admission_redis_p99_target_ms: float = _setting(
        50.0, "p99 of Redis above which admission gets slower", low=0.1, high=60_000
    )
    admission_pool_wait_p99_target_ms: float = _setting(
        100.0,
        "p99 of the wait for Postgres above which admission gets slower",
        low=0.1,
        high=60_000,
    )
    admission_failure_rate_target: float = _setting(
        0.02, "share of answers 5xx above which admission gets slower", low=0.0001, high=1
    )
    admission_backlog_target: int = _setting(
        500, "payments waiting for a transaction above which admission gets slower", low=1
    )
    admission_hold_after_s: float = _setting(
        2.5, "age from which a process's report of its load counts as missing", low=0.5, high=60
    )
    admission_stop_after_s: float = _setting(
        5.0, "without any report for so long, nobody is admitted", low=1, high=60
    )
    worker_nice: int = _setting(
        10,
        "how far `worker` steps back behind the API on the same machine (niceness); what it drains "
        "can wait in a rush, the candidates cannot",
        low=0,
        high=19,
    )
    audit_interval_s: float = _setting(
        60.0, "pause of the worker that compares both stores", low=1, high=86_400
    )
    capacity_interval_s: float = _setting(
        5.0, "pause of the worker that finishes imports that died", low=0.05, high=3600
    )
    expiry_interval_ms: int = _setting(
        200, "pause of the expiry worker when nothing is due", low=10, high=1000
    )
    expiry_batch_max: int = _setting(200, "holds expired in one call", low=1, high=1000)
    shard_recovery_interval_s: float = _setting(
        0.25, "pause of the worker that looks for shards to recover", low=0.05, high=60
    )
    recovery_interval_s: float = _setting(
        1.0, "pause of the recovery worker when nothing is overdue", low=0.05, high=60
    )
    recovery_age_s: float = _setting(
        15.0, "a payment pinned this long is taken over by recovery", low=0, high=3600
    )
    payment_retry_grace_s: float = _setting(
        600.0,
        "a hold whose payment could not be recorded is kept this long for the provider to send "
        "the payment again",
        low=0,
        high=86_400,
    )
    recovery_batch_max: int = _setting(500, "pins recovered in one go", low=1, high=5000)
    journal_interval_ms: int = _setting(
        250, "pause of the journal worker between its rounds", low=10, high=60_000
    )
    journal_batch_max: int = _setting(
        500, "journal entries drained in one transaction", low=1, high=10_000
    )
    journal_retention_days: int = _setting(
        365,
        "how long after the end of an exam its journal is kept; 0 keeps it for good",
        low=0,
        high=36_500,
    )
    journal_tries_max: int = _setting(
        3, "tries before an entry that cannot be stored is quarantined", low=1, high=100
    )


def read_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Read the settings from `QUOTA_*` variables; secrets also from the file `QUOTA_*_FILE` names.

    Raises SettingsError naming the variable when a value is malformed or out of its limits, or when
    a variable that starts with `QUOTA_` is not a setting. Variables of Kubernetes Services are left
    alone.
    """
    environ = without_service_links(os.environ if environ is None else environ)
    values: dict[str, Any] = {}
    known = set()
    for item in dataclasses.fields(Settings):
        name = variable(item.name)
        known.add(name)
        text, file = environ.get(name), None
        if item.metadata["secret"]:
            known.add(f"{name}_FILE")
            file = environ.get(f"{name}_FILE")
        if text is not None and file is not None:
            raise SettingsError(f"{name} and {name}_FILE are both set; set one")
        if file is not None:
            text = _read_secret(name, Path(file))
        if text is not None:
            values[item.name] = _parse(name, item, text)
    unknown = sorted(
        name for name in environ if name.startswith("QUOTA_") and name not in known | _NOT_OURS
    )
    if unknown:
        raise SettingsError(f"unknown setting {', '.join(unknown)}; see `quota-service settings`")
    return Settings(**values)


_NOT_OURS = frozenset(
    {"QUOTA_URL", "QUOTA_ADMIN_URL", "QUOTA_FRONTEND_KEY", "QUOTA_OPS_KEY", "QUOTA_PAYMENT_SECRET"}
)
"""Variables of `demo.env`, which a shell may hold: they are for clients of the service."""


def variable(name: str) -> str:
    """Return the environment variable of a setting."""
    return f"QUOTA_{name.upper()}"


@contextmanager
def address_of_setting(prefix: str, host: str, port: int) -> Iterator[None]:
    """Turn an OSError of listening into a SettingsError that names the settings of the address.

    `prefix` is what the two settings start with: empty for the API, `admin_` for the admin port.
    """
    try:
        yield
    except OSError as error:
        own_text = error.strerror or str(error)
        # asyncio puts a sentence of its own, with the address in it, in place of the system's.
        cause = os.strerror(error.errno) if error.errno and error.errno > 0 else own_text
        at, number = variable(f"{prefix}host"), variable(f"{prefix}port")
        option = f"--{prefix.replace('_', '-')}port"
        raise SettingsError(
            f"cannot listen on {host}:{port}: {cause}; choose another address with {number} and "
            f"{at} (the demo takes {option} and --host)"
        ) from error


def describe(settings: Settings) -> Iterator[tuple[str, str, str, str]]:
    """Yield (variable, value now, default, meaning) for each setting, secrets masked."""
    for item in dataclasses.fields(Settings):
        now, default = getattr(settings, item.name), item.default
        if item.metadata["secret"] and now != default:
            now = "********"
        yield variable(item.name), _show(now), _show(default), item.metadata["meaning"]


def _show(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(value)


def _read_secret(name: str, path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as stream:
            return stream.read(_SECRET_MAX_BYTES).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{name}_FILE cannot be read: {error}") from error


def _parse(name: str, item: "dataclasses.Field[Any]", text: str) -> Any:
    if item.type in (bool, "bool"):
        try:
            return {"on": True, "true": True, "1": True, "off": False, "false": False, "0": False}[
                text.lower()
            ]
        except KeyError:
            raise SettingsError(f"{name} is {text!r}; it takes on or off") from None
    if item.type not in (int, float, "int", "float"):
        one_of = item.metadata["one_of"]
        if one_of and text.lower() not in one_of:
            raise SettingsError(f"{name} is {text!r}; it takes one of {', '.join(one_of)}")
        return text
    number = int if item.type in (int, "int") else float
    try:
        value = number(text)
    except ValueError:
        raise SettingsError(f"{name} is {text!r}; it takes a number") from None
    low, high = item.metadata["low"], item.metadata["high"]
    if (low is not None and not value >= low) or (high is not None and not value <= high):
        between = f"from {low if low is not None else '-∞'} to {high if high is not None else '∞'}"
        raise SettingsError(f"{name} is {text}; it takes a number {between}")
    return value
