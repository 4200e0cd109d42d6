"""The programs of the system that the tests in `tests/system` need."""

import os
import shutil
from pathlib import Path

import pytest

PACKAGES = {
    "amtool": "prometheus-alertmanager",
    "chromium": "chromium",
    "curl": "curl",
    "git": "git",
    "haproxy": "haproxy",
    "openssl": "openssl",
    "pgbouncer": "pgbouncer",
    "prometheus": "prometheus",
    "prometheus-alertmanager": "prometheus-alertmanager",
    "prometheus-blackbox-exporter": "prometheus-blackbox-exporter",
    "prometheus-node-exporter": "prometheus-node-exporter",
    "prometheus-redis-exporter": "prometheus-redis-exporter",
    "promtool": "prometheus",
    "psql": "postgresql-client",
    "redis-cli": "redis-tools",
    "redis-server": "redis-server",
    "strace": "strace",
    "systemd-analyze": "systemd",
    "systemd-tmpfiles": "systemd",
    "wrk": "wrk",
}
"""The Debian package that has a program."""

_SERVERS = "/usr/sbin"
"""Where Debian puts servers; an ordinary user's PATH lacks it."""


def find_program(name: str) -> Path | None:
    """Find a program on PATH or among the servers of the system."""
    found = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), _SERVERS]))
    return None if found is None else Path(found)


def need_program(name: str) -> Path:
    """Return the path of a program; without it the test fails and names the package."""
    found = find_program(name)
    if found is None:
        pytest.fail(
            f"{name} is not installed; on Debian: apt-get install {PACKAGES[name]}", pytrace=False
        )
    return found
