"""A Postgres of our own on loopback, for the demo and the tests.

It is durable as in production (fsync on, data checksums) and closed but for loopback with a
generated password. Postgres refuses to run as root: started by root it runs as `nobody`, from a
place that `nobody` can reach (`postgres_place`), and no right of any directory is changed.
"""

import os
import secrets
import shutil
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from quota_service.embedded.children import ordinary_uid, run
from quota_service.embedded.errors import EmbeddedError
from quota_service.embedded.local_server import LocalServer
from quota_service.embedded.ports import LOOPBACK
from quota_service.embedded.postgres_place import (
    can_all_pass,
    copy_programs,
    home_of,
    make_home_elsewhere,
)
from quota_service.embedded.programs import POSTGRES_PROGRAMS, find_postgres_bin_dir

__all__ = ["EmbeddedPostgres"]

_NAME = "quota"
"""The superuser, and the database that it owns."""

_PASSWORD_BYTES = 24
_MAKING_TIMEOUT_S = 120.0
_STATUS_LINE = 7
"""The line of `postmaster.pid`, counted from 0, that says what the server does
(LOCK_FILE_LINE_PM_STATUS in PostgreSQL's miscadmin.h).
"""

_HBA = """\
# Written by quota-service: everybody on loopback, with the password, and nobody else.
host all all 127.0.0.1/32 scram-sha-256
"""
_INITDB = (
    *("--username", _NAME),
    *("--encoding", "UTF8"),
    *("--locale", "C"),
    *("--auth", "reject"),  # our own pg_hba.conf takes its place
    "--data-checksums",
    "--no-instructions",
)
_SETTINGS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "fsync": "on",
    "max_connections": "200",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_destination": "stderr",
    "logging_collector": "off",
}


class EmbeddedPostgres(LocalServer):
    """A local Postgres, version 15 or later, with its data in `data_dir`, made if need be.

    `port` None has a free one chosen at the first start and kept from then on. `bin_dir` is the
    directory of programs to use instead of the one `find_postgres_bin_dir` finds.
    """

    name = "postgres"
    programs = frozenset({"postgres"})
    # Fast shutdown rolls open transactions back; immediate shutdown leaves a recovery to the next
    # start.
    stop_signals = (signal.SIGINT, signal.SIGQUIT)
    orphan_grace_s = 5.0

    def __init__(
        self, data_dir: Path, *, port: int | None = None, bin_dir: Path | None = None
    ) -> None:
        super().__init__(data_dir, port=port)
        self._wanted_bin_dir = bin_dir
        self._bin_dir = Path()
        self._password = ""

    @property
    def url(self) -> str:
        """`postgresql://quota:PASSWORD@127.0.0.1:PORT/quota`.

        Raises EmbeddedError before the first start.
        """
        if self._port is None or not self._password:
            raise EmbeddedError("this Postgres has no port before its first start; start it")
        return f"postgresql://{_NAME}:{self._password}@{LOOPBACK}:{self._port}/{_NAME}"

    @property
    def pgdata(self) -> Path:
        """What Postgres calls its data directory, wherever it lies."""
        return home_of(self._data_dir) / "pgdata"

    def remove_data(self) -> None:
        """Remove the data directory and the cluster, wherever it lies.

        Raises EmbeddedError while the server runs.
        """
        if self.pid is not None:
            raise EmbeddedError("this Postgres is running; stop it before removing its data")
        for directory in {home_of(self._data_dir), self._data_dir}:
            if directory.exists():
                shutil.rmtree(directory)

    def _working_dir(self) -> Path:
        return self.pgdata

    def _prepare(self, timeout_s: float) -> None:
        self._uid = ordinary_uid()
        home = home_of(self._data_dir)
        stays = self._uid is None or (home == self._data_dir and can_all_pass(home))
        if not (stays or self.pgdata.exists()):
            home = make_home_elsewhere(self._data_dir)
        self._await_leftovers(timeout_s)
        if sys.platform == "linux":  # where nobody is at work for certain
            # The pid in it may be another process's by now, which would keep ours from starting.
            (self.pgdata / "postmaster.pid").unlink(missing_ok=True)
        self._bin_dir = self._wanted_bin_dir or find_postgres_bin_dir()
        if not all(self._can_run(self._bin_dir / program) for program in POSTGRES_PROGRAMS):
            self._bin_dir = copy_programs(self._bin_dir, home)
        (home / "pg_hba.conf").write_text(_HBA, encoding="ascii")
        (home / "pg_hba.conf").chmod(0o644)
        self._make_cluster(home)

    def _can_run(self, program: Path) -> bool:
        return can_all_pass(program) if self._uid is not None else os.access(program, os.X_OK)

    def _make_cluster(self, home: Path) -> None:
        """Make cluster, superuser and database, as far as they are not there.

        The cluster is made under another name and renamed when it is complete, so that a start that
        is killed half-way leaves nothing that looks like one. The password is kept in the data
        directory, readable by us alone; if it was deleted there is a new one.
        """
        kept, making = self._data_dir / "postgres.password", home / "pgdata.new"
        is_new = not self.pgdata.exists()
        self._password = kept.read_text(encoding="ascii").strip() if kept.exists() else ""
        if self._password and not is_new:
            return
        self._password = self._password or secrets.token_hex(_PASSWORD_BYTES)
        statements = f"ALTER ROLE {_NAME} PASSWORD '{self._password}';\n"
        if is_new:
            if making.exists():
                shutil.rmtree(making)
            making.mkdir(mode=0o700)
            if self._uid is not None:
                os.chown(making, self._uid, -1)
            command = (self._bin_dir / "initdb", "--pgdata", making, *_INITDB)
            run(command, _MAKING_TIMEOUT_S, uid=self._uid)
            statements += f"CREATE DATABASE {_NAME};\n"
        self._execute(statements, making if is_new else self.pgdata)
        if is_new:
            making.rename(self.pgdata)
        kept.touch(mode=0o600)
        kept.write_text(f"{self._password}\n", encoding="ascii")

    def _execute(self, statements: str, pgdata: Path) -> None:
        """Execute statements without a server running, one a line.

        Single-user mode needs no client program and no server that is open without a password. It
        reports a failed statement in its output alone, not in its exit status.
        """
        quiet = ("-c", "log_min_error_statement=panic", "-c", "log_min_messages=error")
        command = (self._bin_dir / "postgres", "--single", "-D", pgdata, *quiet, "postgres")
        told = run(command, _MAKING_TIMEOUT_S, uid=self._uid, stdin=statements)
        if "ERROR:" in told or "FATAL:" in told:
            raise EmbeddedError(f"the cluster in {pgdata} could not be set up:\n{told[-4000:]}")

    def _command(self, port: int) -> Sequence[str | Path]:
        hba_file = self.pgdata.with_name("pg_hba.conf")
        settings = {**_SETTINGS, "port": str(port), "hba_file": str(hba_file)}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return (self._bin_dir / "postgres", "-D", self.pgdata, *options)

    def _serves(self, pid: int, port: int) -> bool:  # noqa: ARG002 - it has the port or ends
        try:
            told = (self.pgdata / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return False
        is_up = len(told) > _STATUS_LINE and told[_STATUS_LINE].strip() in {"ready", "standby"}
        return is_up and told[0].strip() == str(pid)
