"""The service for one run, as production runs it: stores, `serve` and `worker` in own processes.

All of it is on loopback, in a temporary directory that goes with it; what the processes log stays
in the results folder.
"""

import base64
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from loadtest.rush.options import Options
from quota_service.embedded import EmbeddedPostgres, EmbeddedRedis
from quota_service.embedded.parent_death import die_with_parent
from quota_service.embedded.ports import LOOPBACK, free_loopback_port

START_LIMIT_S = 30.0
STOP_LIMIT_S = 20.0
_POLL_S = 0.1
_OK = 200
_KEYS = {"QUOTA_FRONTEND_KEY": ("frontend", "refunds"), "QUOTA_OPS_KEY": ("ops",)}
"""The scopes of the keys, by environment variable."""
_SECRET_BYTES = 32
_REQUEST_TIMEOUT_S = 2.0


class LocalServiceError(Exception):
    """The service did not start, or a command of it failed."""


@contextmanager
def local_service(options: Options) -> Iterator[tuple[str, dict[str, str]]]:
    """Run the service; yield its URL and the keys to call it with."""
    with tempfile.TemporaryDirectory(prefix="quota-rush-") as folder, ExitStack() as running:
        postgres = running.enter_context(EmbeddedPostgres(Path(folder) / "postgres"))
        redis = running.enter_context(EmbeddedRedis(Path(folder) / "redis"))
        port = free_loopback_port()
        secret = "whsec_" + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()
        environment = {
            **{name: text for name, text in os.environ.items() if not name.startswith("QUOTA_")},
            "QUOTA_REDIS_URL": redis.url,
            "QUOTA_POSTGRES_DSN": postgres.url,
            "QUOTA_PAYMENT_SECRETS": secret,
            "QUOTA_PORT": str(port),
            "QUOTA_ADMIN_PORT": "0",
            "QUOTA_LOG_LEVEL": "warning",
        }
        _command(environment, "migrate")
        keys = {
            name: _command(
                environment, "keys", "create", "rush", *(f"--scope={scope}" for scope in scopes)
            )
            for name, scopes in _KEYS.items()
        }
        more = ("--workers", str(options.api_processes)) if options.api_processes > 1 else ()
        for command in (("serve", *more), ("worker",)):
            process = _start(command, environment, options)
            running.callback(_stop, process)
        host = f"http://{LOOPBACK}:{port}"
        _await_ready(f"{host}/readyz")
        yield host, {**keys, "QUOTA_PAYMENT_SECRET": secret}


def _command(environment: Mapping[str, str], *arguments: str) -> str:
    """Run a command of the service and return what it printed."""
    command = [sys.executable, "-m", "quota_service.cli", *arguments]
    done = subprocess.run(  # noqa: S603  our own program
        command, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise LocalServiceError(f"quota-service {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout.strip()


def _start(
    command: Sequence[str], environment: Mapping[str, str], options: Options
) -> "subprocess.Popen[bytes]":
    with (options.results / f"rush-{command[0]}.log").open("wb") as log:
        return subprocess.Popen(  # noqa: S603  our own program
            [sys.executable, "-m", "quota_service.cli", *command],
            env=environment,
            stdout=log,
            stderr=log,
            preexec_fn=die_with_parent(signal.SIGKILL),  # noqa: PLW1509  one thread, two calls
        )


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(STOP_LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _await_ready(url: str) -> None:
    """Return when the service is ready; LocalServiceError when it is not in time."""
    deadline_s = time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline_s:
        try:
            with urllib.request.urlopen(url, timeout=_REQUEST_TIMEOUT_S) as answer:  # noqa: S310
                if answer.status == _OK:
                    return
        except OSError:
            pass  # not up yet, or not ready: urllib raises for a 503 as well
        time.sleep(_POLL_S)
    raise LocalServiceError(f"{url} is not answered 200 within {START_LIMIT_S:g} s")
