"""A Postgres of our own on loopback, for the demo and the tests.

It is durable as in production (fsync on, data checksums) and closed but for loopback with a
generated password. Postgres refuses to run as root: started by root it runs as `nobody`, who owns
the cluster and nothing else. No right of any directory is changed for it: the cluster is handed
over as an open directory, so `nobody` need not be able to pass through the directories above it.
"""

import os
import pwd
import secrets
import shutil
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from quota_service.embedded.children import run
from quota_service.embedded.errors import EmbeddedError
from quota_service.embedded.local_server import LocalServer
from quota_service.embedded.ports import LOOPBACK
from quota_service.embedded.program_copies import reachable_by_all
from quota_service.embedded.programs import find_postgres_bin_dir

__all__ = ["EmbeddedPostgres"]

_USER = "quota"
"""The superuser."""

_PASSWORD_BYTES = 24
_MAKING_TIMEOUT_S = 120.0
_INITDB = (
    *("--username", _USER),
    *("--encoding", "UTF8"),
    *("--locale", "C"),
    *("--auth-local", "reject"),
    *("--auth-host", "scram-sha-256"),
    *("--pwfile", "/dev/stdin"),
    "--data-checksums",
    "--no-instructions",
)
_SETTINGS = (
    *("-c", f"listen_addresses={LOOPBACK}"),
    *("-c", "unix_socket_directories="),
    *("-c", "max_connections=200"),
    *("-c", "timezone=UTC"),
)


class EmbeddedPostgres(LocalServer):
    """A local Postgres, version 15 or later, with its data in `data_dir`, made if need be.

    `port` None has a free one chosen at the first start and kept from then on. `bin_dir` is the
    directory of programs to use instead of the one `find_postgres_bin_dir` finds.
    """

    name = "postgres"
    # Fast shutdown rolls open transactions back; immediate shutdown leaves a recovery to the next
    # start.
    stop_signals = (signal.SIGINT, signal.SIGQUIT)

    def __init__(
        self, data_dir: Path, *, port: int | None = None, bin_dir: Path | None = None
    ) -> None:
        super().__init__(data_dir, port=port)
        self._wanted_bin_dir = bin_dir
        self._bin_dir = Path()
        self._password = ""

    @property
    def url(self) -> str:
        """`postgresql://quota:PASSWORD@127.0.0.1:PORT/postgres`.

        Raises EmbeddedError before the first start.
        """
        if self._port is None:
            raise EmbeddedError("this Postgres has no port before its first start; start it")
        return f"postgresql://{_USER}:{self._password}@{LOOPBACK}:{self._port}/postgres"

    @property
    def pgdata(self) -> Path:
        """What Postgres calls its data directory."""
        return self._data_dir / "pgdata"

    def _prepare(self) -> None:
        if any((self._data_dir / name).exists() for name in ("postgres.place", "pg_hba.conf")):
            raise EmbeddedError(
                f"{self._data_dir} was made by an earlier version of quota-service, and its "
                "cluster cannot be used by this one; choose another data directory"
            )
        self._account = _ordinary_account()
        self._bin_dir = self._wanted_bin_dir or find_postgres_bin_dir()
        if self._account is not None:
            self._bin_dir = reachable_by_all(self._bin_dir)
        password_file = self._data_dir / "postgres.password"
        if not self.pgdata.exists():
            self._make_cluster(password_file)
        self._password = password_file.read_text(encoding="ascii").strip()
        # No process works in the cluster, for the lock is ours. The pid in the file may be another
        # process's by now, which would keep ours from starting.
        (self.pgdata / "postmaster.pid").unlink(missing_ok=True)
        self._inherited.append(os.open(self.pgdata, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))

    def _make_cluster(self, password_file: Path) -> None:
        """Make cluster, superuser and password.

        The cluster is made under another name and renamed when it is complete, so that a start that
        is killed half-way leaves nothing that looks like one. Raises EmbeddedError when there was a
        complete one: it is lost, and another in its place would hide that.
        """
        making = self.pgdata.with_suffix(".new")
        if password_file.exists() and not making.exists():
            raise EmbeddedError(
                f"{self.pgdata} is gone, whose password is still in {password_file}; put it back, "
                f"or remove {self._data_dir} to start afresh"
            )
        password_file.unlink(missing_ok=True)
        if making.exists():
            shutil.rmtree(making)
        making.mkdir(mode=0o700)
        password_file.touch(mode=0o600)
        password_file.write_text(f"{secrets.token_hex(_PASSWORD_BYTES)}\n", encoding="ascii")
        if self._account is not None:
            for path in (making, password_file):
                os.chown(path, self._account.pw_uid, self._account.pw_gid)
        directory = os.open(making, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            command = (self._bin_dir / "initdb", "--pgdata", self._handed_over(directory, making))
            with password_file.open(encoding="ascii") as password:
                run(
                    (*command, *_INITDB),
                    _MAKING_TIMEOUT_S,
                    account=self._account,
                    inherited=(directory,),
                    stdin=password,
                )
        finally:
            os.close(directory)
        making.rename(self.pgdata)

    def _handed_over(self, descriptor: int, path: Path) -> str | Path:
        """Return by which name the server finds a directory that it inherits open."""
        return path if self._account is None else f"/proc/self/fd/{descriptor}"

    def _command(self, port: int) -> Sequence[str | Path]:
        directory = self._handed_over(self._inherited[-1], self.pgdata)
        return (self._bin_dir / "postgres", "-D", directory, "-p", str(port), *_SETTINGS)


def _ordinary_account() -> pwd.struct_passwd | None:
    """Return whom a server that refuses root runs as: `nobody` for root, else None, as we are.

    Raises EmbeddedError where root cannot hand a directory over, or there is no `nobody`.
    """
    if os.geteuid() != 0:
        return None
    if sys.platform != "linux":
        raise EmbeddedError("root can start Postgres on Linux only; run this as an ordinary user")
    try:
        return pwd.getpwnam("nobody")
    except KeyError as error:
        raise EmbeddedError(
            "there is no user `nobody` to run Postgres as; run this as an ordinary user"
        ) from error
