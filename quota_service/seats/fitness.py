"""Whether the servers of Redis are fit for the promises: their version, rights and settings."""

import logging

from redis.exceptions import AuthenticationError, NoPermissionError, ResponseError

from quota_service.domain.errors import SeatsUnavailable
from quota_service.seats.connection import ScriptRunner
from quota_service.seats.pipelined import UnsupportedServerError
from quota_service.seats.servers import Runners
from quota_service.settings import SettingsError

log = logging.getLogger(__name__)

_WANTED_SETTINGS = {
    "maxmemory-policy": ("noeviction", "a seat that is evicted is a seat sold twice"),
    "appendonly": ("yes", "a restart loses every unpaid hold that is not in Postgres yet"),
    "appendfsync": (
        "always",
        "a crash may lose the unpaid holds of the last second, never a booking",
    ),
}
"""What the service wants of Redis, and what anything else may cost."""

_WANTED_OF_CLUSTERS = {
    "cluster-require-full-coverage": (
        "no",
        "when one primary is lost the exams of all others stop too",
    ),
}
"""The same of each server of a Cluster; others do not have these settings."""

_OF_CLUSTER = "cluster-enabled"

_REFUSED = ("maxmemory-policy", "appendonly", _OF_CLUSTER)
"""What keeps a process from starting; of the others a warning is enough."""

_LOSSY = (_OF_CLUSTER,)
"""The same where a server that keeps nothing will do."""

_UNFIT = (UnsupportedServerError, NoPermissionError, AuthenticationError)
"""Why a server will not do, now or later, until somebody changes a setting."""


async def refuse_unfit_servers(runners: Runners, *, takes_lossy: bool = False) -> None:
    """Raise SettingsError when a server cannot keep what it is given, or does not let us in.

    One that is away now is asked again later. With `takes_lossy` one that keeps nothing will do.
    """
    try:
        await runners.check()
    except SeatsUnavailable as error:
        _refuse_unfit(error)
        log.warning("redis does not answer", extra={"cause": str(error)})
    for runner in runners.each():
        try:
            await runner.check()
            wrong = await _wrong_settings(runner)
        except SeatsUnavailable as error:
            _refuse_unfit(error, runner.name)
            continue
        for name in _LOSSY if takes_lossy else _REFUSED:
            if wrong is not None and name in wrong:
                raise SettingsError(f"QUOTA_REDIS_URL: {runner.name}{wrong[name]}")


def _refuse_unfit(error: SeatsUnavailable, server: str = "") -> None:
    if isinstance(error.__cause__, _UNFIT):
        raise SettingsError(f"QUOTA_REDIS_URL: {server}{error.__cause__}") from error


async def server_warnings(runners: Runners) -> list[str]:
    """Return what is wrong with the settings of servers, in words; empty when all is well.

    A server that hides its configuration is reported too: the promises rest on these settings.
    """
    warnings: list[str] = []
    versions: set[str] = set()
    for runner in runners.each():
        wrong = await _wrong_settings(runner)
        if wrong is None:
            hidden = "it does not show its settings; check maxmemory-policy and AOF"
            warnings.append(f"{runner.name}{hidden}")
        else:
            warnings += [f"{runner.name}{text}" for text in wrong.values()]
        versions.add(runner.version)
    if len(versions) > 1:
        warnings.append(f"the primaries have different versions: {', '.join(sorted(versions))}")
    return warnings


async def _wrong_settings(runner: ScriptRunner) -> dict[str, str] | None:
    """Return what is wrong with each setting of a server, in words; None when it hides them."""
    wanted = {**_WANTED_SETTINGS, **_WANTED_OF_CLUSTERS}
    try:
        found = dict(await runner.command("CONFIG", "GET", *wanted))
        is_of_cluster = "cluster_enabled:1" in str(await runner.command("INFO", "cluster"))
    except (ResponseError, SeatsUnavailable) as error:
        if not isinstance(error.__cause__ or error, ResponseError):
            raise
        return None
    if not is_of_cluster:
        wanted = _WANTED_SETTINGS
    wrong = {
        name: f"{name} is {found.get(name)!r}, the service needs {value!r}: {cost}"
        for name, (value, cost) in wanted.items()
        if found.get(name) != value
    }
    if is_of_cluster and not runner.name:
        wrong[_OF_CLUSTER] = "it is a node of a Cluster, whose URL is redis+cluster://HOST:PORT,…"
    return wrong
