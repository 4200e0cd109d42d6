"""Every setting of the service: its `QUOTA_*` environment variable, meaning, unit and default.

The dataclass is the one list. Pydantic reads the environment by it, and the table that
`quota-service settings` prints is made from it; a setting without a `repr` is a secret. Neither has
the internal fields of the class. Over 400 lines because the meanings of settings stand beside them.
"""

import dataclasses
import functools
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError, with_config

from quota_service.service_links import without_service_links

_SECRET_MAX_BYTES = 64 * 1024
_INTERNAL: Mapping[str, Any] = {"internal": True}


class SettingsError(ValueError):
    """A setting that is missing, malformed, out of its limits or of no use; the text names it."""


_Value = TypeVar("_Value")


def _internal(default: _Value) -> _Value:
    """Make a field of Settings that no environment variable sets."""
    return field(default=default, metadata=_INTERNAL)


@with_config(ConfigDict(use_attribute_docstrings=True, allow_inf_nan=False))
@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of one process; units stand last in each name.

    A field with a plain default is set by the environment, and its text says why a deployment
    would. The fields at the end, made by `_internal`, are constants of the service: only code, such
    as a test that needs a short wait, gives them another value.
    """

    redis_url: str = field(default="redis://127.0.0.1:6379/0", repr=False)
    """Redis that holds the seats; name the primary that all processes share"""
    postgres_dsn: str = field(default="postgresql://quota@127.0.0.1:5432/quota", repr=False)
    """Postgres that holds the bookings; several hosts may be listed, the primary among them is
    used"""
    payment_secrets: str = field(default="", repr=False)
    """secrets that sign payment callbacks, whsec_<base64> each; list the old one and the new one,
    with a comma between them, while the provider changes it"""
    host: str = "127.0.0.1"
    """address of the API; another one where the proxy runs on another host"""
    port: Annotated[int, Field(ge=0, le=65_535)] = 8080
    """port of the API; each process on a host needs its own, those of `serve --workers` share it"""
    admin_host: str = "127.0.0.1"
    """address of /metrics and health; open it to Prometheus and probes, never to the public"""
    admin_port: Annotated[int, Field(ge=0, le=65_535)] = 9090
    """port of /metrics and health; each process on one host needs its own, those of `serve
    --workers` take this one and the next ones"""
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], BeforeValidator(str.lower)
    ] = "info"
    """debug, info, warning or error; debug to find a fault"""

    request_timeout_s: Annotated[float, Field(ge=0.1, le=60)] = 5.0
    """seconds a request may wait for the stores before it is answered 503, and its body may take
    before 408; keep it below the timeout of the clients"""
    connections_max: Annotated[int, Field(ge=16)] = 25_000
    """connections at once in each process, fewer when it has fewer file descriptors; lower it
    where memory is short, those beyond wait to be accepted"""
    connections_address_share: Annotated[float, Field(ge=0.001, le=1)] = 0.5
    """the part of them that one address may have; 1 behind a proxy that bounds its clients"""
    head_timeout_s: Annotated[float, Field(ge=0.1, le=60)] = 5.0
    """seconds the head of a request may take before its connection is closed; raise it for clients
    on slow networks without a proxy before them"""
    idle_timeout_s: Annotated[float, Field(ge=0.1, le=3600)] = 30.0
    """seconds after which a connection without a request, or whose client reads nothing, is closed;
    a proxy in front has to close its idle ones before"""
    work_limit_max: Annotated[int, Field(ge=16)] = 8192
    """requests at work at once in one process, at most; the limit adapts below it, raise it when
    the limit stays there while latency is good"""
    queue_max: Annotated[int, Field(ge=1)] = 500
    """whole requests that may wait to be begun; while so many wait, reservations, reads and joins
    are answered 503, so lower it to refuse sooner and raise it to refuse less in a short burst"""
    shutdown_notice_s: Annotated[float, Field(ge=0, le=600)] = 0.0
    """seconds between readiness going and the port closing at shutdown; give the proxy the time to
    see it"""
    shutdown_drain_s: Annotated[float, Field(ge=0, le=600)] = 10.0
    """seconds for requests under way to finish at shutdown; keep it and the notice below the time
    after which the supervisor kills the process"""
    worker_nice: Annotated[int, Field(ge=0, le=19)] = 10
    """niceness of `worker`; it lets the API on the same machine go first, 0 where there is none"""
    metrics_quotas_max: Annotated[int, Field(ge=0)] = 2000
    """quotas with seat gauges of their own, further ones are summed up; lower it to spare
    Prometheus, raise it to watch a larger exam quota by quota"""

    redis_connect_timeout_s: Annotated[float, Field(ge=0.01, le=30)] = 1.0
    """seconds to connect to Redis; raise it when it is in another data centre"""
    redis_command_timeout_s: Annotated[float, Field(ge=0.01, le=30)] = 2.0
    """seconds for Redis to answer a batch of commands; raise it when its disk syncs more slowly"""
    redis_wait_replicas: Annotated[int, Field(ge=0, le=16)] = 0
    """replicas that must have a write before it is acknowledged, fewer: 503; 1 or more so that a
    failover loses nothing that was acknowledged, at the price of latency"""
    postgres_pool_max: Annotated[int, Field(ge=4, le=1000)] = 8
    """connections of one process to Postgres; a recovery holds two at a time, and all processes
    together must stay below its max_connections"""
    postgres_connect_timeout_s: Annotated[float, Field(ge=0.01, le=60)] = 2.0
    """seconds to connect to Postgres; raise it when it is in another data centre"""
    postgres_acquire_timeout_s: Annotated[float, Field(ge=0.01, le=60)] = 2.0
    """seconds to wait for a connection of the pool; lower it to refuse sooner while all are busy"""
    postgres_command_timeout_s: Annotated[float, Field(ge=0.01, le=600)] = 5.0
    """seconds for Postgres to answer a command; raise it when a synchronous standby is far away"""
    postgres_statement_cache: bool = True
    """prepared statements; off behind PgBouncer in transaction mode"""

    registry_refresh_s: Annotated[float, Field(ge=0.05, le=60)] = 0.5
    """seconds between two reads of exams and API keys from Postgres; raise it where many processes
    share a small Postgres, a new or revoked key takes that long to take effect"""
    availability_refresh_ms: Annotated[int, Field(ge=10, le=10_000)] = 200
    """milliseconds that an availability answer may be old; raise it to ask Redis less often"""
    streams_max: Annotated[int, Field(ge=1)] = 20_000
    """availability streams open at once in one process, more are answered 503; keep it below its
    file descriptors"""
    streams_of_address_max: Annotated[int, Field(ge=1)] = 10_000
    """the same for each address; raise it to streams_max behind a proxy, which is one address"""
    stream_interval_ms: Annotated[int, Field(ge=10, le=10_000)] = 2000
    """milliseconds between two rounds of changes to the streams of an exam; lower it for fresher
    pages, raise it to spare processor and network"""
    stream_heartbeat_s: Annotated[float, Field(ge=1, le=300)] = 15.0
    """seconds without a change after which a stream gets a comment; keep it below the idle timeout
    of every proxy on the way"""
    waiting_room_poll_max_s: Annotated[float, Field(ge=1, le=600)] = 15.0
    """seconds after which a waiting client asks again, at most; raise it for crowds whose polls are
    too many for the network"""
    waiting_room_numbers_max: Annotated[int, Field(ge=1)] = 1_000_000
    """candidates in one queue whose turn has not passed, more are answered 503; raise it for a
    larger crowd where Redis has the memory"""
    admission_reserve_p99_target_ms: Annotated[float, Field(ge=1, le=60_000)] = 250.0
    """milliseconds of the p99 of reserve above which fewer are admitted from the waiting room;
    raise it to admit faster at the price of slower answers"""

    payments_pending_max: Annotated[int, Field(ge=0)] = 5000
    """payments of a shard that may wait for Postgres, beyond it no new holds; lower it to stop
    selling sooner when Postgres is away"""
    recovery_age_s: Annotated[float, Field(ge=0, le=3600)] = 15.0
    """seconds after which a worker takes over a payment whose process died; keep it above the
    timeouts of a request"""
    payment_retry_grace_s: Annotated[float, Field(ge=0, le=86_400)] = 600.0
    """seconds that a hold whose payment could not be recorded is kept for the provider to send the
    payment again; fit it to how often the provider does"""
    journal_backlog_max: Annotated[int, Field(ge=0)] = 500_000
    """journal entries of a shard that may wait for Postgres, beyond it no new holds; fit it to the
    memory of Redis"""
    journal_interval_ms: Annotated[int, Field(ge=10, le=60_000)] = 250
    """milliseconds between two rounds of the journal worker; raise it to write to Postgres less
    often, candidates' histories lag by that much"""
    journal_retention_days: Annotated[int, Field(ge=0, le=36_500)] = 365
    """days that the journal of an exam is kept after its end; fit it to the law, 0 keeps it for
    good"""

    body_max_bytes: int = _internal(16_384)
    """larger request bodies are answered 413"""
    use_cases_max: int = _internal(10_000)
    """requests at work on the stores at once; more are answered 503"""
    work_limit: int = _internal(2048)
    """requests at work at once, at the start; it adapts to latency"""
    work_limit_min: int = _internal(512)
    """the least the limit adapts to"""
    work_window_ms: int = _internal(100)
    """how often the limit is moved, at most"""
    work_limit_smoothing: float = _internal(0.2)
    """how far one window moves the limit towards what it has shown"""
    work_latency_tolerance: float = _internal(1.5)
    """how many times its usual latency a request may take before the limit shrinks"""
    work_latency_floor_ms: float = _internal(200.0)
    """a latency that is never taken for overload"""
    exports_max: int = _internal(2)
    """exports of bookings at once; more are answered 503"""
    export_timeout_s: float = _internal(900.0)
    """an export that takes longer is broken off"""
    worker_settled_s: float = _internal(10.0)
    """a process of `serve --workers` that lived this long did not die of its start"""
    worker_restarts_max: int = _internal(5)
    """deaths of such a process soon after its start, in a row; one more ends the service"""
    worker_backoff_max_s: float = _internal(5.0)
    """longest pause before such a process is started again"""
    redis_batch_max: int = _internal(64)
    """script calls sent to Redis at once"""
    redis_batches_in_flight_max: int = _internal(4)
    """batches under way to Redis"""
    redis_queue_max: int = _internal(20_000)
    """script calls that may wait for a batch; more are answered 503"""
    postgres_idle_transaction_timeout_s: float = _internal(10.0)
    """after how long without a word Postgres ends our transaction"""
    group_commit_max: int = _internal(128)
    """payment events recorded in one transaction"""
    group_commits_in_flight_max: int = _internal(2)
    """transactions of them at once"""
    group_commit_queue_max: int = _internal(5000)
    """payment events that may wait; more are answered 503"""
    waiting_room_refresh_s: float = _internal(1.0)
    """how often the public documents of waiting rooms are made anew"""
    waiting_room_block: int = _internal(500)
    """numbers of a queue set aside in Postgres at a time"""
    stream_filters_max: int = _internal(256)
    """different ?subjects= of the streams of an exam; further ones get all subjects"""
    stream_life_s: float = _internal(3600.0)
    """a stream is ended after this time at most, to be opened again"""
    stream_retry_ms: int = _internal(3000)
    """about when a stream that ended is to be opened again"""
    stream_changes_max: int = _internal(300)
    """changes of an exam that are kept for streams that resume"""
    stream_buffer_max_bytes: int = _internal(65_536)
    """what may wait for the reader of a stream before it misses changes"""
    stream_stall_timeout_s: float = _internal(30.0)
    """a stream whose full buffer is not read in this time is cut off"""
    stream_writes_per_turn_max: int = _internal(200)
    """streams written to before other requests get their turn"""
    admission_interval_s: float = _internal(1.0)
    """pause between two steps of admission from the waiting room"""
    admission_lease_s: float = _internal(5.0)
    """how long admission waits for a leader that is gone"""
    admission_rise_max: float = _internal(0.02)
    """largest share by which admission gets faster in a second"""
    admission_claim_window_s: float = _internal(20.0)
    """how long a place is kept free for one who was admitted"""
    admission_hold_after_s: float = _internal(2.5)
    """age from which a process's report of its load counts as missing"""
    admission_stop_after_s: float = _internal(5.0)
    """without any report for so long, nobody is admitted"""
    expiry_interval_ms: int = _internal(200)
    """pause of the expiry worker when nothing is due"""
    expiry_batch_max: int = _internal(200)
    """holds expired in one call"""
    journal_tries_max: int = _internal(3)
    """tries before an entry that cannot be stored is quarantined"""


_CONSTANTS = frozenset(
    {
        "admission_backlog_target",
        "admission_failure_rate_target",
        "admission_pool_wait_p99_target_ms",
        "admission_redis_p99_target_ms",
        "admission_settle_s",
        "audit_interval_s",
        "capacity_interval_s",
        "journal_batch_max",
        "protocols_max",
        "recovery_batch_max",
        "recovery_interval_s",
        "shard_recovery_interval_s",
        "waiting_room_poll_min_s",
    }
)
"""What was a setting in earlier versions and is a constant or has another name in code now."""


def read_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Read the settings from `QUOTA_*` variables; secrets also from the file `QUOTA_*_FILE` names.

    Raises SettingsError naming each variable whose value is malformed or out of its limits, or when
    a variable that starts with `QUOTA_` is not a setting, or no longer one. Variables of Kubernetes
    Services are left alone.
    """
    environ = without_service_links(os.environ if environ is None else environ)
    values: dict[str, str] = {}
    known = set(_NOT_OURS)
    for item in settable():
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
    unknown = {name for name in environ if name.startswith("QUOTA_")} - known
    fixed, mistyped = sorted(unknown & _fixed()), sorted(unknown - _fixed())
    refusals = []
    if fixed:
        refusals.append(f"no longer a setting, unset it: {', '.join(fixed)}; see CHANGELOG.md")
    if mistyped:
        refusals.append(f"unknown setting {', '.join(mistyped)}; see `quota-service settings`")
    if refusals:
        raise SettingsError("\n".join(refusals))
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


def environment_of(settings: Settings) -> dict[str, str]:
    """Return the variables from which a process reads these settings, but for internal ones."""
    return {
        variable(item.name): str(getattr(settings, item.name))
        for item in settable()
        if getattr(settings, item.name) != item.default
    }


def settable() -> Iterator["dataclasses.Field[Any]"]:
    """Yield the fields of Settings that an environment variable sets."""
    return (item for item in dataclasses.fields(Settings) if item.metadata != _INTERNAL)


def _fixed() -> set[str]:
    """Return the variables that were settings once and are no more."""
    internal = {item.name for item in dataclasses.fields(Settings)}
    internal -= {item.name for item in settable()}
    return {variable(name) for name in internal | _CONSTANTS}


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
    for item in settable():
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
