"""Child processes: the servers, the programs that make a cluster, and who works in a directory.

A child has a session of its own, which keeps a terminal's Ctrl-C from it: that reaches only us, and
we stop the servers in order. Its environment holds none of our settings and no PG* variables.
"""

import os
import pwd
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from quota_service.embedded.errors import EmbeddedError
from quota_service.embedded.parent_death import die_with_parent

__all__ = ["ordinary_uid", "pids_in", "run", "spawn", "wait_until"]

_POLL_INTERVAL_S = 0.02
_LONGEST_OUTPUT = 4_000


def ordinary_uid() -> int | None:
    """Return whom a server that refuses root runs as: `nobody` for root, else None, as we are.

    Raises EmbeddedError when there is no `nobody`.
    """
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("nobody").pw_uid
    except KeyError as error:
        raise EmbeddedError(
            "there is no user `nobody` to run Postgres as; run this as an ordinary user"
        ) from error


def run(
    arguments: Sequence[str | Path], timeout_s: float, *, uid: int | None = None, stdin: str = ""
) -> str:
    """Run a program to its end and return its output, both streams in one.

    Raises EmbeddedError when it cannot be executed, fails, or is not done in time.
    """
    program = Path(arguments[0]).name
    try:
        done: subprocess.CompletedProcess[str] = subprocess.run(  # noqa: S603 - one we found
            arguments,
            input=stdin,
            stdout=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            timeout=timeout_s,
            check=True,
            **_options(uid, signal.SIGKILL),
            stderr=subprocess.STDOUT,
        )
    except subprocess.CalledProcessError as error:
        raise EmbeddedError(f"{program} failed:\n{error.stdout[-_LONGEST_OUTPUT:]}") from error
    except (OSError, subprocess.SubprocessError) as error:
        raise EmbeddedError(f"{arguments[0]} cannot be run: {error}") from error
    return done.stdout


def spawn(
    arguments: Sequence[str | Path], log: Path, death_signal: signal.Signals, *, uid: int | None
) -> "subprocess.Popen[bytes]":
    """Start a server, its output appended to `log`; it receives `death_signal` when we die.

    Its parent is a thread that lives as long as it: see `parent_death` for why. Raises
    EmbeddedError when the program cannot be executed.
    """
    started: Future[subprocess.Popen[bytes]] = Future()

    def be_parent() -> None:
        try:
            with log.open("ab") as output:
                child = subprocess.Popen(  # noqa: S603 - a program we found ourselves
                    arguments,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    **_options(uid, death_signal),
                )
        except (OSError, subprocess.SubprocessError) as error:
            started.set_exception(error)
        else:
            started.set_result(child)
            child.wait()

    threading.Thread(target=be_parent, name=f"parent of {arguments[0]}", daemon=True).start()
    try:
        return started.result()
    except (OSError, subprocess.SubprocessError) as error:
        raise EmbeddedError(f"{arguments[0]} cannot be run: {error}") from error


def pids_in(directory: Path, programs: Collection[str]) -> list[int]:
    """Return the processes of these programs whose working directory is `directory`.

    Both servers work in their data directory, and so do all their children. Only Linux tells.
    """
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            name = (process / "comm").read_text(encoding="utf-8", errors="replace").strip()
            if name in programs and _works_in(process, directory):
                found.append(int(process.name))
        except OSError:
            continue  # it has ended
    return found


def _works_in(process: Path, directory: Path) -> bool:
    try:
        return (process / "cwd").samefile(directory)
    except PermissionError:
        # Another user's, and root may not look, as in a container without that capability. A server
        # is started with its data directory as an argument; what it forks may rename itself.
        return os.fsencode(directory) in (process / "cmdline").read_bytes().split(b"\0")


def wait_until(condition: Callable[[], bool], timeout_s: float) -> bool:
    """Check `condition`, at least once, until it holds or time is up; return whether it held.

    For what the operating system gives no event for.
    """
    ends_at_s = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() >= ends_at_s:
            return False
        time.sleep(_POLL_INTERVAL_S)
    return True


def _options(uid: int | None, death_signal: signal.Signals) -> dict[str, Any]:
    """Return what `subprocess` takes for every child."""
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C", "HOME": "/"}
    if "LD_LIBRARY_PATH" in os.environ:
        environment["LD_LIBRARY_PATH"] = os.environ["LD_LIBRARY_PATH"]
    return {
        "cwd": "/",
        "env": environment,
        "umask": 0o077,
        "start_new_session": True,
        "user": uid,
        "group": None if uid is None else pwd.getpwuid(uid).pw_gid,
        "extra_groups": None if uid is None else [],
        "preexec_fn": die_with_parent(death_signal),
    }
