"""The service for one run, as production runs it: stores, `serve` and `worker` in own processes.

All of it is on loopback, in a temporary directory that goes with it; what the processes log stays
in the folder of the run.
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
def local_service(options: Options) -> Iterator[tuple[str, list[str], dict[str, str]]]:
    """Run the service; yield its URL, the admin URLs of its processes and the keys to call it."""
    with tempfile.TemporaryDirectory(prefix="quota-rush-") as folder, ExitStack() as running:
        postgres = running.enter_context(EmbeddedPostgres(Path(folder) / "postgres"))
        redis = running.enter_context(EmbeddedRedis(Path(folder) / "redis"))
        processes = options.api_processes + 1
        port, admin_port = free_loopback_port(), free_loopback_port(processes)
        secret = "whsec_" + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()
        environment = {
            **{name: text for name, text in os.environ.items() if not name.startswith("QUOTA_")},
            "QUOTA_REDIS_URL": redis.url,
            "QUOTA_POSTGRES_DSN": postgres.url,
            "QUOTA_PAYMENT_SECRETS": secret,
            "QUOTA_PORT": str(port),
            "QUOTA_ADMIN_PORT": str(admin_port),
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
        of_worker = {**environment, "QUOTA_ADMIN_PORT": str(admin_port + options.api_processes)}
        for command, variables in ((("serve", *more), environment), (("worker",), of_worker)):
            process = _start(command, variables, options)
            running.callback(_stop, process)
        host = f"http://{LOOPBACK}:{port}"
        _await_ready(f"{host}/readyz")
        admin_urls = [f"http://{LOOPBACK}:{admin_port + n}" for n in range(processes)]
        yield host, admin_urls, {**keys, "QUOTA_PAYMENT_SECRET": secret}


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
    with (options.folder / f"{command[0]}.log").open("wb") as log:
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
