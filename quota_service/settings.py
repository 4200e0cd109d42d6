"""Every setting of the service: its `QUOTA_*` environment variable, meaning, unit and default.

The dataclass is the one list. Pydantic reads the environment by it, and the table that
`quota-service settings` prints is made from it; a setting without a `repr` is a secret.
"""

import dataclasses
import functools
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError, with_config

from quota_service.service_links import without_service_links

_SECRET_MAX_BYTES = 64 * 1024


class SettingsError(ValueError):
    """A setting that is missing, malformed, out of its limits or of no use; the text names it."""


@with_config(ConfigDict(use_attribute_docstrings=True, allow_inf_nan=False))
@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of one process; units stand last in each name."""

    redis_url: str = field(default="redis://127.0.0.1:6379/0", repr=False)
    """Redis that holds the seat counters"""
    postgres_dsn: str = field(default="postgresql://quota@127.0.0.1:5432/quota", repr=False)
    """Postgres that holds the bookings; several hosts may be listed"""
    payment_secrets: str = field(default="", repr=False)
    """payment callback secrets in the form whsec_<base64>, comma-separated while rotating"""
    host: str = "127.0.0.1"
    """address of the API"""
    port: Annotated[int, Field(ge=0, le=65_535)] = 8080
    """port of the API"""
    admin_host: str = "127.0.0.1"
    """address of /metrics and health; not for the public"""
    admin_port: Annotated[int, Field(ge=0, le=65_535)] = 9090
    """port of /metrics and health; each process on one host needs its own, those of `serve
    --workers` take this one and the next ones"""
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], BeforeValidator(str.lower)
    ] = "info"
    """debug, info, warning or error"""

    request_timeout_s: Annotated[float, Field(ge=0.1, le=60)] = 5.0
    """a request that waits longer for the stores is answered 503; a body that takes longer, 408"""
    connections_max: Annotated[int, Field(ge=16)] = 25_000
    """connections at once in each process, fewer where its file descriptors end before; those
    beyond wait to be accepted"""
    connections_address_share: Annotated[float, Field(ge=0.001, le=1)] = 0.5
    """the part of them that one address may have; 1 behind a proxy that bounds its clients"""
    head_timeout_s: Annotated[float, Field(ge=0.1, le=60)] = 5.0
    """a connection on which the head of a request takes longer is closed"""
    idle_timeout_s: Annotated[float, Field(ge=0.1, le=3600)] = 30.0
    """a connection without a request, or whose client reads nothing, is closed then; a proxy has
    to close its idle ones before"""
    body_max_bytes: Annotated[int, Field(ge=1024)] = 16_384
    """larger request bodies are answered 413"""
    protocols_max: Annotated[int, Field(ge=1)] = 10_000
    """requests at work on the stores at once; more are answered 503"""
    work_limit: Annotated[int, Field(ge=16)] = 2048
    """requests at work at once, at the start; it adapts to latency"""
    work_limit_min: Annotated[int, Field(ge=16)] = 512
    """the least the limit adapts to"""
    work_limit_max: Annotated[int, Field(ge=16)] = 8192
    """the most the limit adapts to"""
    work_window_ms: Annotated[int, Field(ge=10, le=60_000)] = 100
    """how often the limit is moved, at most"""
    work_limit_smoothing: Annotated[float, Field(ge=0.01, le=1)] = 0.2
    """how far one window moves the limit towards what it has shown"""
    work_latency_tolerance: Annotated[float, Field(ge=1, le=10)] = 1.5
    """how many times its usual latency a request may take before the limit shrinks"""
    work_latency_floor_ms: Annotated[float, Field(ge=0.1, le=10_000)] = 200.0
    """a latency that is never taken for overload"""
    queue_max: Annotated[int, Field(ge=1)] = 500
    """whole requests that may wait to be begun; while so many wait, reservations, reads and joins
    are answered 503, and all else still waits"""
    exports_max: Annotated[int, Field(ge=1)] = 2
    """exports of bookings at once; more are answered 503"""
    export_timeout_s: Annotated[float, Field(ge=1, le=86_400)] = 900.0
    """an export that takes longer is broken off"""
    shutdown_notice_s: Annotated[float, Field(ge=0, le=600)] = 0.0
    """time between readiness going and the port closing at shutdown"""
    shutdown_drain_s: Annotated[float, Field(ge=0, le=600)] = 10.0
    """time for requests under way to finish at shutdown"""

    worker_settled_s: Annotated[float, Field(ge=0.1, le=3600)] = 10.0
    """a process of `serve --workers` that lived this long did not die of its start"""
    worker_restarts_max: Annotated[int, Field(ge=0, le=1000)] = 5
    """deaths of such a process soon after its start, in a row; one more ends the service"""
    worker_backoff_max_s: Annotated[float, Field(ge=0.1, le=600)] = 5.0
    """longest pause before such a process is started again"""

    redis_connect_timeout_s: Annotated[float, Field(ge=0.01, le=30)] = 1.0
    """time to connect to Redis"""
    redis_command_timeout_s: Annotated[float, Field(ge=0.01, le=30)] = 2.0
    """time for Redis to answer a batch of commands"""
    redis_wait_replicas: Annotated[int, Field(ge=0, le=16)] = 0
    """replicas that must have a write before it is acknowledged; fewer: 503. 0 waits for none"""
    redis_batch_max: Annotated[int, Field(ge=1, le=1000)] = 64
    """script calls sent to Redis at once"""
    redis_batches_in_flight_max: Annotated[int, Field(ge=1, le=64)] = 4
    """batches under way to Redis"""
    redis_queue_max: Annotated[int, Field(ge=1000)] = 20_000
    """script calls that may wait for a batch; more are answered 503"""

    postgres_pool_max: Annotated[int, Field(ge=4, le=1000)] = 8
    """connections to Postgres; a recovery holds two at a time"""
    postgres_connect_timeout_s: Annotated[float, Field(ge=0.01, le=60)] = 2.0
    """time to connect to Postgres"""
    postgres_acquire_timeout_s: Annotated[float, Field(ge=0.01, le=60)] = 2.0
    """time to wait for a connection of the pool"""
    postgres_command_timeout_s: Annotated[float, Field(ge=0.01, le=600)] = 5.0
    """time for Postgres to answer a command"""
    postgres_idle_transaction_timeout_s: Annotated[float, Field(ge=1, le=600)] = 10.0
    """after how long without a word Postgres ends our transaction"""
    postgres_statement_cache: bool = True
    """prepared statements; off behind PgBouncer in transaction mode"""
    group_commit_max: Annotated[int, Field(ge=1, le=1000)] = 128
    """payment events recorded in one transaction"""
    group_commits_in_flight_max: Annotated[int, Field(ge=1, le=64)] = 2
    """transactions of them at once"""
    group_commit_queue_max: Annotated[int, Field(ge=1)] = 5000
    """payment events that may wait; more are answered 503"""

    pins_max: Annotated[int, Field(ge=0)] = 5000
    """payments of a shard that may wait for Postgres; beyond, no new holds"""
    journal_backlog_max: Annotated[int, Field(ge=0)] = 500_000
    """journal entries of a shard that may wait; beyond, no new holds"""
    registry_refresh_s: Annotated[float, Field(ge=0.05, le=60)] = 0.5
    """how often exams and API keys are read again from Postgres"""
    availability_refresh_ms: Annotated[int, Field(ge=10, le=10_000)] = 200
    """how old an availability answer may be"""
    waiting_room_refresh_s: Annotated[float, Field(ge=0.05, le=10)] = 1.0
    """how often the public documents of waiting rooms are made anew"""
    waiting_room_poll_min_s: Annotated[float, Field(ge=0.1, le=60)] = 1.0
    """the shortest time after which a waiting client asks again"""
    waiting_room_poll_max_s: Annotated[float, Field(ge=1, le=600)] = 15.0
    """the longest time after which a waiting client asks again"""
    waiting_room_block: Annotated[int, Field(ge=1, le=100_000)] = 500
    """numbers of a queue set aside in Postgres at a time"""
    waiting_room_numbers_max: Annotated[int, Field(ge=1)] = 1_000_000
    """candidates in one queue whose turn has not passed; more are answered 503"""
    streams_max: Annotated[int, Field(ge=1)] = 20_000
    """availability streams open at once; more are answered 503"""
    streams_of_address_max: Annotated[int, Field(ge=1)] = 10_000
    """the same for each address; a proxy in front is one address"""
    stream_filters_max: Annotated[int, Field(ge=1)] = 256
    """different ?subjects= of the streams of an exam; further ones get all subjects"""
    stream_interval_ms: Annotated[int, Field(ge=10, le=10_000)] = 2000
    """how often the streams of an exam are told what changed"""
    stream_heartbeat_s: Annotated[float, Field(ge=1, le=300)] = 15.0
    """a stream that was told nothing for so long gets a comment"""
    stream_life_s: Annotated[float, Field(ge=1, le=86_400)] = 3600.0
    """a stream is ended after this time at most, to be opened again"""
    stream_retry_ms: Annotated[int, Field(ge=100, le=60_000)] = 3000
    """about when a stream that ended is to be opened again"""
    stream_changes_max: Annotated[int, Field(ge=1, le=10_000)] = 300
    """changes of an exam that are kept for streams that resume"""
    stream_buffer_max_bytes: Annotated[int, Field(ge=1024)] = 65_536
    """what may wait for the reader of a stream before it misses changes"""
    stream_stall_timeout_s: Annotated[float, Field(ge=1, le=600)] = 30.0
    """a stream whose full buffer is not read in this time is cut off"""
    stream_writes_per_turn_max: Annotated[int, Field(ge=1, le=10_000)] = 200
    """streams written to before other requests get their turn"""
    metrics_quotas_max: Annotated[int, Field(ge=0)] = 2000
    """quotas with seat gauges of their own; further ones are summed up"""

    admission_interval_s: Annotated[float, Field(ge=0.05, le=10)] = 1.0
    """pause between two steps of admission from the waiting room"""
    admission_lease_s: Annotated[float, Field(ge=1, le=60)] = 5.0
    """how long admission waits for a leader that is gone"""
    admission_rise_max: Annotated[float, Field(ge=0, le=1)] = 0.02
    """largest share by which admission gets faster in a second"""
    admission_settle_s: Annotated[float, Field(ge=0, le=600)] = 15.0
    """time a slower admission gets to show before the next fall"""
    admission_claim_window_s: Annotated[float, Field(ge=0, le=600)] = 20.0
    """how long a place is kept free for one who was admitted"""
    admission_reserve_p99_target_ms: Annotated[float, Field(ge=1, le=60_000)] = 250.0
    """p99 of reserve above which admission gets slower"""
    admission_redis_p99_target_ms: Annotated[float, Field(ge=0.1, le=60_000)] = 50.0
    """p99 of Redis above which admission gets slower"""
    admission_pool_wait_p99_target_ms: Annotated[float, Field(ge=0.1, le=60_000)] = 100.0
    """p99 of the wait for Postgres above which admission gets slower"""
    admission_failure_rate_target: Annotated[float, Field(ge=0.0001, le=1)] = 0.02
    """share of answers 5xx above which admission gets slower"""
    admission_backlog_target: Annotated[int, Field(ge=1)] = 500
    """payments waiting for a transaction above which admission gets slower"""
    admission_hold_after_s: Annotated[float, Field(ge=0.5, le=60)] = 2.5
    """age from which a process's report of its load counts as missing"""
    admission_stop_after_s: Annotated[float, Field(ge=1, le=60)] = 5.0
    """without any report for so long, nobody is admitted"""
    worker_nice: Annotated[int, Field(ge=0, le=19)] = 10
    """how far `worker` steps back behind the API on the same machine (niceness); what it drains
    can wait in a rush, the candidates cannot"""
    audit_interval_s: Annotated[float, Field(ge=1, le=86_400)] = 60.0
    """pause of the worker that compares both stores"""
    capacity_interval_s: Annotated[float, Field(ge=0.05, le=3600)] = 5.0
    """pause of the worker that finishes imports that died"""
    expiry_interval_ms: Annotated[int, Field(ge=10, le=1000)] = 200
    """pause of the expiry worker when nothing is due"""
    expiry_batch_max: Annotated[int, Field(ge=1, le=1000)] = 200
    """holds expired in one call"""
    shard_recovery_interval_s: Annotated[float, Field(ge=0.05, le=60)] = 0.25
    """pause of the worker that looks for shards to recover"""
    recovery_interval_s: Annotated[float, Field(ge=0.05, le=60)] = 1.0
    """pause of the recovery worker when nothing is overdue"""
    recovery_age_s: Annotated[float, Field(ge=0, le=3600)] = 15.0
    """a payment pinned this long is taken over by recovery"""
    payment_retry_grace_s: Annotated[float, Field(ge=0, le=86_400)] = 600.0
    """a hold whose payment could not be recorded is kept this long for the provider to send the
    payment again"""
    recovery_batch_max: Annotated[int, Field(ge=1, le=5000)] = 500
    """pins recovered in one go"""
    journal_interval_ms: Annotated[int, Field(ge=10, le=60_000)] = 250
    """pause of the journal worker between its rounds"""
    journal_batch_max: Annotated[int, Field(ge=1, le=10_000)] = 500
    """journal entries drained in one transaction"""
    journal_retention_days: Annotated[int, Field(ge=0, le=36_500)] = 365
    """how long after the end of an exam its journal is kept; 0 keeps it for good"""
    journal_tries_max: Annotated[int, Field(ge=1, le=100)] = 3
    """tries before an entry that cannot be stored is quarantined"""


def read_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Read the settings from `QUOTA_*` variables; secrets also from the file `QUOTA_*_FILE` names.

    Raises SettingsError naming each variable whose value is malformed or out of its limits, or when
    a variable that starts with `QUOTA_` is not a setting. Variables of Kubernetes Services are left
    alone.
    """
    environ = without_service_links(os.environ if environ is None else environ)
    values: dict[str, str] = {}
    known = set(_NOT_OURS)
    for item in dataclasses.fields(Settings):
        name = variable(item.name)
        known.add(name)
        text, file = environ.get(name), None
        if _is_secret(item):
            known.add(f"{name}_FILE")
            file = environ.get(f"{name}_FILE")
        if text is not None and file is not None:
            raise SettingsError(f"{name} and {name}_FILE are both set; set one")
        if file is not None:
            text = _read_secret(name, Path(file))
        if text is not None:
            values[item.name] = text
    unknown = sorted(name for name in environ if name.startswith("QUOTA_") and name not in known)
    if unknown:
        raise SettingsError(f"unknown setting {', '.join(unknown)}; see `quota-service settings`")
    try:
        return _model().validate_python(values)
    except ValidationError as error:
        names = dict.fromkeys(str(fault["loc"][0]) for fault in error.errors())
        members = _model().json_schema()["properties"]
        raise SettingsError(
            "\n".join(
                f"{variable(name)} is {values[name]!r}; it takes {_wanted(members[name])}"
                for name in names
            )
        ) from error


@functools.cache
def _model() -> TypeAdapter[Settings]:
    """Return what reads settings, which takes a moment to make."""
    return TypeAdapter(Settings)


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
    members = _model().json_schema()["properties"]
    for item in dataclasses.fields(Settings):
        now, default = getattr(settings, item.name), item.default
        if _is_secret(item) and now != default:
            now = "********"
        meaning = " ".join(members[item.name]["description"].split())
        yield variable(item.name), _show(now), _show(default), meaning


def _is_secret(item: "dataclasses.Field[Any]") -> bool:
    """Return whether a setting is kept out of all texts, and may come from a file."""
    return not item.repr


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


def _wanted(schema: Mapping[str, Any]) -> str:
    """Return which values a setting takes, for people."""
    if schema["type"] == "boolean":
        return "on or off"
    if "enum" in schema:
        return f"one of {', '.join(schema['enum'])}"
    kind = "whole number" if schema["type"] == "integer" else "number"
    return f"a {kind} from {schema.get('minimum', '-∞')} to {schema.get('maximum', '∞')}"
