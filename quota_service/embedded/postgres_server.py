"""A Postgres of our own on loopback, for the demo and the tests.

It is durable as in production (fsync on, data checksums) and closed but for loopback with a
generated password. Postgres refuses to run as root: started by root it runs as `nobody`, from a
directory that `nobody` can reach (`cluster_place`), with programs it can execute
(`postgres_binaries`), and no right of any directory that is not ours is changed.
"""

import signal
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from quota_service.embedded.account import Account, server_account
from quota_service.embedded.binaries import find_postgres_bin_dir, postgres_major_version
from quota_service.embedded.cluster_place import ClusterPlace, choose_place, place_of
from quota_service.embedded.deadline import Deadline
from quota_service.embedded.errors import EmbeddedError
from quota_service.embedded.local_server import LocalServer
from quota_service.embedded.ports import LOOPBACK
from quota_service.embedded.postgres_binaries import executable_bin_dir
from quota_service.embedded.postgres_cluster import DATABASE, ensure_cluster, remove_cluster
from quota_service.embedded.server_process import ServerProcess

__all__ = ["EmbeddedPostgres"]

_CONNECT_TIMEOUT_S = 1.0
_STATUS_LINE = 7
"""The line of `postmaster.pid`, counted from 0, that says `ready` (LOCK_FILE_LINE_PM_STATUS in
PostgreSQL's miscadmin.h).
"""

_NO_SETTINGS: Mapping[str, str] = MappingProxyType({})
_OURS = frozenset(
    {"listen_addresses", "port", "unix_socket_directories", "data_directory", "hba_file", "fsync"}
)
"""What `settings` must not touch."""

_DEFAULTS: Mapping[str, str] = MappingProxyType(
    {"max_connections": "200", "timezone": "UTC", "log_timezone": "UTC"}
)


class EmbeddedPostgres(LocalServer):
    """A local Postgres, version 15 or later, with what it keeps in `data_dir`, made if need be.

    `port` None has a free one chosen at the first start and kept from then on. `settings` are those
    of postgresql.conf; where the server listens, where it keeps its data and whether it syncs is
    not to be set. `bin_dir` is the directory of programs to use instead of the one
    `find_postgres_bin_dir` finds. `run_as` is the user it runs as when we are root, `nobody` if
    None.
    """

    program = "postgres"
    pid_file_name = "postmaster.pid"
    # Fast shutdown rolls open transactions back; immediate shutdown leaves a recovery to the next
    # start.
    stop_signals = (signal.SIGINT, signal.SIGQUIT)
    orphan_grace_s = 5.0

    def __init__(
        self,
        data_dir: Path,
        *,
        port: int | None = None,
        settings: Mapping[str, str] = _NO_SETTINGS,
        bin_dir: Path | None = None,
        run_as: str | None = None,
    ) -> None:
        super().__init__(data_dir, port=port)
        refused = sorted(_OURS.intersection(settings))
        if refused:
            raise EmbeddedError(
                f"the settings {', '.join(refused)} are not to be chosen here; leave them out"
            )
        self._settings = dict(settings)
        self._wanted_bin_dir = bin_dir
        self._run_as = run_as
        self._bin_dir: Path | None = None
        self._place: ClusterPlace | None = None
        self._password: str | None = None

    @property
    def url(self) -> str:
        """`postgresql://quota:PASSWORD@127.0.0.1:PORT/quota`.

        Raises EmbeddedError before the first start.
        """
        if self._port is None or self._password is None:
            raise EmbeddedError(
                "this Postgres has no port and password before its first start; start it"
            )
        return f"postgresql://{DATABASE}:{self._password}@{LOOPBACK}:{self._port}/{DATABASE}"

    def start(self, timeout_s: float = 60.0) -> None:
        """Start the server, making its cluster the first time; returns when it serves.

        Superuser and database are both called `quota`. Raises EmbeddedError after at most about
        `timeout_s` seconds, with the end of the server's log; nothing is left running.
        """
        self._start(timeout_s)

    def remove_data(self) -> None:
        """Remove everything this class keeps, also outside of the data directory, but not that.

        A shared copy of the programs (`postgres_binaries`) stays: it is a cache. Raises
        EmbeddedError while the server runs.
        """
        self._remove_data()
        self._password = None

    def _remove_own_data(self, deadline: Deadline) -> None:
        self._place = place_of(self._data_dir)
        if self._place is not None and self._place.home.exists():
            self._lock(self._place.home)
            self._end_leftovers(deadline)
        remove_cluster(self._data_dir)

    def _choose_place(self, deadline: Deadline) -> None:
        account = self._account()
        bin_dir = self._wanted_bin_dir or find_postgres_bin_dir()
        self._bin_dir = executable_bin_dir(bin_dir, account, self._data_dir, deadline)
        self._place = choose_place(self._data_dir, account)
        # Tells whoever clears abandoned homes away that this one is in use.
        self._lock(self._place.home)

    def _make_data(self, deadline: Deadline) -> None:
        place, bin_dir = self._chosen_place(), self._chosen_bin_dir()
        _check_version(place, bin_dir)
        self._password = ensure_cluster(place, self._data_dir, bin_dir, self._account(), deadline)

    def _arguments(self, port: int) -> Sequence[str | Path]:
        place, bin_dir = self._chosen_place(), self._chosen_bin_dir()
        settings = {
            **_DEFAULTS,
            **self._settings,
            "listen_addresses": LOOPBACK,
            "port": str(port),
            "unix_socket_directories": "",
            "hba_file": str(place.hba_file),
            "fsync": "on",
            "logging_collector": "off",
            "log_destination": "stderr",
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return (bin_dir / "postgres", "-D", place.pgdata, *options)

    def _serves(self, process: ServerProcess, port: int) -> bool:
        try:
            lines = self._pid_file().read_text(encoding="utf-8", errors="replace").splitlines()
            if len(lines) <= _STATUS_LINE or lines[_STATUS_LINE].strip() != "ready":
                return False
            with socket.create_connection((LOOPBACK, port), timeout=_CONNECT_TIMEOUT_S):
                return lines[0].strip() == str(process.pid)
        except OSError:
            return False

    def _working_dir(self) -> Path:
        return self._chosen_place().pgdata

    def _account(self) -> Account:
        return server_account(self._run_as)

    def _chosen_place(self) -> ClusterPlace:
        if self._place is None:
            raise EmbeddedError("no place was chosen for this Postgres; start it")
        return self._place

    def _chosen_bin_dir(self) -> Path:
        if self._bin_dir is None:
            raise EmbeddedError("no programs were chosen for this Postgres; start it")
        return self._bin_dir


def _check_version(place: ClusterPlace, bin_dir: Path) -> None:
    file = place.pgdata / "PG_VERSION"
    if file.exists():
        made_by = file.read_text(encoding="ascii").strip()
        found = str(postgres_major_version(bin_dir))
        if made_by != found:
            raise EmbeddedError(
                f"the cluster in {place.pgdata} was made by Postgres {made_by}, but {bin_dir} "
                f"holds version {found}; install Postgres {made_by}, or remove the data directory "
                "to start afresh"
            )
