"""What every child process has in common, and running one to its end.

A child has a session of its own, which keeps a terminal's Ctrl-C from it: that reaches only us, and
we stop the servers in order. Its environment holds none of our settings and no PG* variables.
"""

import os
import pwd
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from quota_service.embedded.errors import EmbeddedError
from quota_service.embedded.parent_death import die_with_parent

__all__ = ["child_options", "run"]

_LONGEST_OUTPUT = 4_000


def child_options(
    death_signal: signal.Signals, account: pwd.struct_passwd | None, inherited: Sequence[int]
) -> dict[str, Any]:
    """Return what `subprocess` takes for a child; it gets `death_signal` when we die.

    `account` is whom it runs as, None for ourselves; `inherited` are the file descriptors it gets.
    """
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C", "HOME": "/"}
    if "LD_LIBRARY_PATH" in os.environ:
        environment["LD_LIBRARY_PATH"] = os.environ["LD_LIBRARY_PATH"]
    return {
        "cwd": "/",
        "env": environment,
        "umask": 0o077,
        "start_new_session": True,
        "user": None if account is None else account.pw_uid,
        "group": None if account is None else account.pw_gid,
        "extra_groups": None if account is None else [],
        "pass_fds": tuple(inherited),
        "preexec_fn": die_with_parent(death_signal),
    }


def run(
    arguments: Sequence[str | Path],
    timeout_s: float,
    *,
    account: pwd.struct_passwd | None = None,
    inherited: Sequence[int] = (),
    stdin: IO[str] | None = None,
) -> str:
    """Run a program to its end and return its output, both streams in one.

    Raises EmbeddedError when it cannot be executed, fails, or is not done in time.
    """
    try:
        done: subprocess.CompletedProcess[str] = subprocess.run(  # noqa: S603 - one we found
            arguments,
            stdin=stdin or subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            timeout=timeout_s,
            check=True,
            **child_options(signal.SIGKILL, account, inherited),
        )
    except subprocess.CalledProcessError as error:
        told = error.stdout[-_LONGEST_OUTPUT:]
        raise EmbeddedError(f"{Path(arguments[0]).name} failed:\n{told}") from error
    except (OSError, subprocess.SubprocessError) as error:
        raise EmbeddedError(f"{arguments[0]} cannot be run: {error}") from error
    return done.stdout
