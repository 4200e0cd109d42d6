"""Every setting of the service: its `QUOTA_*` environment variable, meaning, unit and default.

The dataclass is the one list. Pydantic reads the environment by it, and the table that
`quota-service settings` prints is made from it; a setting without a `repr` is a secret. What no
deployment has a reason to set is a constant beside the code that uses it.
"""

import dataclasses
import functools
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError, with_config

from quota_service.service_links import without_service_links

_SECRET_MAX_BYTES = 64 * 1024
_MASK = "********"
_ORIGIN = r"https?://([a-z0-9.-]+|\[[0-9a-f:]+\])(:[0-9]{1,5})?"
"""An origin as browsers write it."""


class SettingsError(ValueError):
    """A setting that is missing, malformed, out of its limits or unusable; the text names it."""


_Limits = TypeVar("_Limits")


@with_config(ConfigDict(use_attribute_docstrings=True, allow_inf_nan=False))
@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of one process; units stand last in each name.

    Every field but `limits` is set by the environment, and its text says why a deployment would.
    """

    redis_url: str = field(default="redis://127.0.0.1:6379/0", repr=False)
    """Redis that holds the seats; name the primary that all processes share"""
    postgres_dsn: str = field(default="postgresql://quota@127.0.0.1:5432/quota", repr=False)
    """Postgres that holds the bookings; several hosts may be listed, the primary among them is
    used"""
    payment_secrets: str = field(default="", repr=False)
    """secrets that sign payment callbacks, whsec_<base64> each; list the old one and the new one,
    with a comma between them, while the provider changes it"""
    candidate_token_secrets: str = field(default="", repr=False)
    """secrets that sign the tokens of candidates, whsec_<base64> each; the first one signs, so list
    a new one last in every process, then first, and take the old one out a day later; without any
    there are no tokens"""
    cors_origins: Annotated[
        str,
        Field(pattern=rf"^({_ORIGIN}(,{_ORIGIN})*)?$", examples=["https://exam.example"]),
    ] = ""
    """origins of the pages whose browsers may call the API, https://host or https://host:port each,
    with a comma between them; without any, pages of other origins are kept out"""
    drand_relays: Annotated[
        str,
        Field(pattern=r"^https?://[^\s,]+(,https?://[^\s,]+)*$", examples=["https://api.drand.sh"]),
    ] = "https://api.drand.sh,https://drand.cloudflare.com"
    """where workers fetch the drand rounds that waiting rooms name, with a comma between addresses;
    a relay of your own where hosts reach nothing outside"""
    webhook_private_addresses: bool = False
    """whether webhook endpoints may have private addresses, and plain http; on where receivers are
    in the same network and nobody but ops reaches it"""
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
    log_candidates: bool = True
    """ids of candidates in log lines of refusals and steps; off where logs may not have them"""

    request_timeout_s: Annotated[float, Field(ge=0.1, le=60)] = 5.0
    """seconds a request may wait for the stores before it is answered 503, and its body may take
    before 408; keep it below the timeout of the clients"""
    connections_max: Annotated[int, Field(ge=16)] = 25_000
    """connections at once in each process, fewer when it has fewer file descriptors; further ones
    wait to be accepted, lower it where memory is short"""
    connections_address_share: Annotated[float, Field(ge=0.001, le=1)] = 0.5
    """share of connections_max that one address may have; 1 behind a proxy that limits clients"""
    head_timeout_s: Annotated[float, Field(ge=0.1, le=60)] = 5.0
    """seconds the head of a request may take before its connection is closed; raise it for clients
    on slow networks without a proxy"""
    idle_timeout_s: Annotated[float, Field(ge=0.1, le=3600)] = 30.0
    """seconds after which a connection without a request, or whose client reads nothing, is closed;
    a proxy must close its idle connections earlier"""
    work_limit_max: Annotated[int, Field(ge=16)] = 8192
    """most requests in progress at once in one process; the limit adapts below it, raise it when
    the limit stays there while latency is good"""
    queue_max: Annotated[int, Field(ge=1)] = 500
    """complete requests that may wait to be started; beyond it reservations, reads and joins are
    answered 503, so lower it to refuse sooner and raise it to refuse less in a short burst"""
    shutdown_notice_s: Annotated[float, Field(ge=0, le=600)] = 0.0
    """seconds from failing readiness to closing the port at shutdown; set it to the time in which
    the proxy notices"""
    shutdown_drain_s: Annotated[float, Field(ge=0, le=600)] = 10.0
    """seconds for requests and background work in progress to finish at shutdown, all together;
    the supervisor must kill no process before the notice, this and 10 s more"""
    worker_nice: Annotated[int, Field(ge=0, le=19)] = 10
    """niceness of `worker`, lets the API on the same machine go first; 0 on a machine without it"""
    metrics_quotas_max: Annotated[int, Field(ge=0)] = 2000
    """quotas with seat gauges of their own, further ones are summed; lower it for less load on
    Prometheus, raise it to watch a larger exam quota by quota"""

    redis_connect_timeout_s: Annotated[float, Field(ge=0.01, le=30)] = 1.0
    """seconds to connect to Redis; raise it when it is in another data centre"""
    redis_command_timeout_s: Annotated[float, Field(ge=0.01, le=30)] = 2.0
    """seconds for Redis to answer a batch of commands; raise it when its disk syncs more slowly"""
    redis_wait_replicas: Annotated[int, Field(ge=0, le=16)] = 0
    """replicas that must have a write before it is acknowledged, with fewer the answer is 503; with
    1 or more a failover loses no acknowledged write, at the price of latency"""
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
    """maximum age of an availability answer in milliseconds; raise it to read Redis less often"""
    streams_max: Annotated[int, Field(ge=1)] = 20_000
    """availability streams open at once in one process, more are answered 503; keep it below its
    file descriptors"""
    streams_of_address_max: Annotated[int, Field(ge=1)] = 10_000
    """the same for each address; raise it to streams_max behind a proxy, which is one address"""
    stream_interval_ms: Annotated[int, Field(ge=10, le=10_000)] = 2000
    """milliseconds between two rounds of changes to the streams of an exam; lower it for fresher
    pages, raise it for less CPU and network use"""
    stream_heartbeat_s: Annotated[float, Field(ge=1, le=300)] = 15.0
    """seconds without a change after which a stream gets a comment; keep it below the idle timeout
    of every proxy on the way"""
    waiting_room_poll_max_s: Annotated[float, Field(ge=1, le=600)] = 15.0
    """maximum of seconds between two polls of a waiting client; raise it when polls are too many
    for the network"""
    waiting_room_numbers_max: Annotated[int, Field(ge=1)] = 1_000_000
    """candidates in one queue whose turn has not passed, more are answered 503; raise it for a
    larger crowd where Redis has the memory"""
    admission_reserve_p99_target_ms: Annotated[float, Field(ge=1, le=60_000)] = 250.0
    """p99 of reserve in milliseconds above which the waiting room admits fewer candidates; raise it
    to admit faster at the price of slower answers"""

    payments_pending_max: Annotated[int, Field(ge=0)] = 5000
    """payments of a shard that may wait for Postgres, beyond it no new holds are made; lower it to
    stop selling sooner when Postgres is unavailable"""
    recovery_age_s: Annotated[float, Field(ge=0, le=3600)] = 15.0
    """seconds after which a worker takes over a payment whose process died; keep it above the
    timeouts of a request"""
    payment_retry_grace_s: Annotated[float, Field(ge=0, le=86_400)] = 600.0
    """seconds that a hold whose payment could not be recorded is kept for the provider to send the
    payment again; set it above the provider's retry interval"""
    journal_backlog_max: Annotated[int, Field(ge=0)] = 500_000
    """journal entries of a shard that may wait for Postgres, beyond it no new holds are made;
    set it to what the memory of Redis allows"""
    journal_interval_ms: Annotated[int, Field(ge=10, le=60_000)] = 250
    """milliseconds between two rounds of the journal worker; candidates' histories lag by as
    much; raise it to write to Postgres less often"""
    journal_retention_days: Annotated[int, Field(ge=0, le=36_500)] = 365
    """days that the journal of an exam is kept after its end; set it to what the law
    requires, 0 keeps it forever"""

    limits: tuple[object, ...] = ()
    """what tests and the bench set in the place of constants; no environment variable does"""

    def limits_of(self, kind: type[_Limits]) -> _Limits:
        """Return the limits of one kind: those that were given, else the kind's own values."""
        return next((given for given in self.limits if isinstance(given, kind)), kind())

    @property
    def redis_patience_s(self) -> float:
        """Seconds that what is done for all exams together waits for one server of Redis."""
        return self.redis_command_timeout_s / 4

    def with_limits(self, *limits: object) -> "Settings":
        """Return these settings with other values of some limits."""
        return dataclasses.replace(self, limits=(*limits, *self.limits))


_CONSTANTS = frozenset(
    """
    admission_backlog_target admission_claim_window_s admission_failure_rate_target
    admission_hold_after_s admission_interval_s admission_lease_s
    admission_pool_wait_p99_target_ms admission_redis_p99_target_ms admission_rise_max
    admission_settle_s admission_stop_after_s audit_interval_s body_max_bytes
    capacity_interval_s expiry_batch_max expiry_interval_ms export_timeout_s exports_max
    group_commit_max group_commit_queue_max group_commits_in_flight_max journal_batch_max
    journal_tries_max postgres_idle_transaction_timeout_s protocols_max recovery_batch_max
    recovery_interval_s redis_batch_max redis_batches_in_flight_max redis_queue_max
    shard_recovery_interval_s stream_buffer_max_bytes stream_changes_max stream_filters_max
    stream_life_s stream_retry_ms stream_stall_timeout_s stream_writes_per_turn_max
    use_cases_max waiting_room_block waiting_room_poll_min_s waiting_room_refresh_s
    work_latency_floor_ms work_latency_tolerance work_limit work_limit_min work_limit_smoothing
    work_window_ms worker_backoff_max_s worker_restarts_max worker_settled_s
    """.split()  # noqa: SIM905 - a line for each is too long
)
"""Settings of earlier versions that are constants now, or have other names in code."""


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
    fixed = sorted(unknown & {variable(name) for name in _CONSTANTS})
    mistyped = sorted(unknown.difference(fixed))
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
    """Return the reader of settings; making it takes some milliseconds."""
    return TypeAdapter(Settings)


_NOT_OURS = frozenset(
    f"QUOTA_{name}"
    for name in ("URL", "ADMIN_URL", "FRONTEND_URL", "FRONTEND_KEY", "OPS_KEY", "PAYMENT_SECRET")
)
"""Variables of `demo.env` that may be set in a shell; they are for clients of the service."""


def environment_of(settings: Settings) -> dict[str, str]:
    """Return the variables from which a process reads these settings, but for `limits`."""
    return {
        variable(item.name): str(getattr(settings, item.name))
        for item in settable()
        if getattr(settings, item.name) != item.default
    }


def settable() -> Iterator["dataclasses.Field[Any]"]:
    """Yield the fields of Settings that an environment variable sets."""
    return (item for item in dataclasses.fields(Settings) if item.name != "limits")


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
            now = _masked(str(now))
        meaning = " ".join(members[item.name]["description"].split())
        yield variable(item.name), _show(now), _show(default), meaning


def _is_secret(item: "dataclasses.Field[Any]") -> bool:
    """Return whether a setting is kept out of all texts, and may come from a file."""
    return not item.repr


def _masked(secret: str) -> str:
    """Return a URL without its passwords, and nothing of a secret that is no URL."""
    if "://" not in secret:
        return _MASK
    # Up to the last @: a password that is not escaped may hold one.
    shown = re.sub(r"(?<=://)([^:@]*:).*(?=@)", rf"\1{_MASK}", secret, flags=re.DOTALL)
    return re.sub(r"(?i)(password=)[^&]*", rf"\1{_MASK}", shown)


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
    if "pattern" in schema:
        return f"a list such as {schema['examples'][0]}, with a comma between its parts"
    kind = "whole number" if schema["type"] == "integer" else "number"
    return f"a {kind} from {schema.get('minimum', '-∞')} to {schema.get('maximum', '∞')}"
