"""The account a server runs as.

Postgres refuses to run as root. Started by root it runs as `nobody`, which can reach less of the
file system than root can, so this module also answers, by asking from a process of that account,
what the account can reach. An ordinary user's servers run as that user.
"""

import os
import pwd
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from quota_service.embedded.deadline import Deadline
from quota_service.embedded.errors import EmbeddedError
from quota_service.embedded.parent_death import die_with_parent

__all__ = ["Account", "child_environment", "own_account", "server_account"]

_PROBE_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Account:
    """A user as which child processes run; `switched` when that is not the user we are."""

    name: str
    uid: int
    gid: int
    switched: bool

    @property
    def user(self) -> int | None:
        """What `subprocess` takes as `user`: None leaves the child as we are."""
        return self.uid if self.switched else None

    @property
    def group(self) -> int | None:
        """What `subprocess` takes as `group`."""
        return self.gid if self.switched else None

    @property
    def extra_groups(self) -> list[int] | None:
        """What `subprocess` takes as `extra_groups`: none of root's are kept."""
        return [] if self.switched else None

    def can_enter(self, directory: Path) -> bool:
        """Tell whether this account can reach what lies in `directory`, parents included.

        It is asked in a process of the account, so every rule of the system counts.
        """
        return self._asks("-x", directory)

    def can_read(self, file: Path) -> bool:
        """Tell whether this account can read `file`."""
        return self._asks("-r", file)

    def run(
        self, arguments: Sequence[str | Path], deadline: Deadline, stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run a program to its end as this account; stderr is merged into the stdout returned.

        Raises EmbeddedError when it cannot be executed or is not done by the deadline; its exit
        status is the caller's to judge.
        """
        program = Path(arguments[0]).name
        try:
            return subprocess.run(  # noqa: S603 - programs we found ourselves, no shell
                arguments,
                input=stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                encoding="utf-8",
                errors="replace",
                timeout=deadline.remaining_s(),
                cwd="/",
                env=child_environment(),
                umask=0o077,
                start_new_session=True,
                user=self.user,
                group=self.group,
                extra_groups=self.extra_groups,
                preexec_fn=die_with_parent(signal.SIGKILL),
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise EmbeddedError(f"{program} was not done in {deadline.timeout_s:.0f} s") from error
        except (OSError, subprocess.SubprocessError) as error:
            raise EmbeddedError(f"{program} cannot be run as user {self.name}: {error}") from error

    def _asks(self, question: str, path: Path) -> bool:
        answer = self.run(
            ["/bin/sh", "-c", 'test "$1" "$2"', "sh", question, path], Deadline(_PROBE_TIMEOUT_S)
        )
        return answer.returncode == 0


def own_account() -> Account:
    """Return the user we are."""
    uid = os.geteuid()
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = str(uid)
    return Account(name, uid, os.getegid(), switched=False)


def server_account(run_as: str | None) -> Account:
    """Return the user that a server which refuses root runs as.

    That is `run_as`, else `nobody` when we are root, else the user we are. Raises EmbeddedError
    when there is no such user, when it is root itself, or when we are not root and it is somebody
    else.
    """
    own = own_account()
    if own.uid != 0:
        if run_as not in (None, own.name):
            raise EmbeddedError(
                f"only root can run a server as {run_as}; leave run_as out to run it as {own.name}"
            )
        return own
    name = run_as or "nobody"
    try:
        entry = pwd.getpwnam(name)
    except KeyError as error:
        raise EmbeddedError(
            f"there is no user {name} to run Postgres as; pass run_as with one that exists"
        ) from error
    if entry.pw_uid == 0:
        raise EmbeddedError(f"Postgres refuses to run as {name}; pass run_as with an ordinary user")
    return Account(name, entry.pw_uid, entry.pw_gid, switched=True)


def child_environment() -> dict[str, str]:
    """Return the whole environment of a child.

    It holds none of our settings and secrets and no PG* variables, and asks for English messages.
    """
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C", "HOME": "/"}
    if "LD_LIBRARY_PATH" in os.environ:
        environment["LD_LIBRARY_PATH"] = os.environ["LD_LIBRARY_PATH"]
    return environment
