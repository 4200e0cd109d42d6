"""The stores with the configuration of `deploy/`, in which paths and ports alone are replaced."""

import hashlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from quota_service.embedded import EmbeddedRedis, find_postgres_bin_dir
from quota_service.embedded.parent_death import die_with_parent
from quota_service.embedded.ports import LOOPBACK, free_loopback_port
from quota_service.embedded.program_copies import reachable_by_all
from tests.support.patience import START_LIMIT_S
from tests.support.processes import descendants, is_running, send
from tests.support.waiting import wait_until

DEPLOY = Path(__file__).parents[2] / "deploy"
PASSWORD = "a-password-of-the-tests"
_INSTALLED = "/etc/quota-service"
"""Where the files say that they are."""


def install(
    part: str, folder: Path, breaks: Mapping[str, str], replaced: Mapping[str, str]
) -> Path:
    """Copy a part of `deploy/` into a folder, with other paths; `breaks` are what a test breaks."""
    copy = folder / part
    shutil.copytree(DEPLOY / part, copy, dirs_exist_ok=True)
    for file in copy.iterdir():
        told = file.read_text()
        for before, after in {**breaks, f"{_INSTALLED}/{part}": str(copy), **replaced}.items():
            told = told.replace(before, after)
        file.write_text(told)
    return copy


class ShippedRedis(EmbeddedRedis):
    """A Redis with `redis.conf` and `users.acl`; its URL is that of the user of the service."""

    def __init__(
        self,
        data_dir: Path,
        *,
        binary: Path | None = None,
        breaks: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(data_dir, binary=binary)
        self._breaks = breaks

    @property
    def url(self) -> str:
        return self.url_of("quota")

    def url_of(self, user: str) -> str:
        return super().url.replace("//", f"//{user}:{PASSWORD}@")

    def _command(self, port: int) -> Sequence[str | Path]:
        secret = hashlib.sha256(PASSWORD.encode()).hexdigest()
        paths = {"OPS_PASSWORD_SHA256": secret, "#PASSWORD_SHA256": f"#{secret}"}
        folder = install("redis", self._data_dir, self._breaks or {}, paths)
        own = ("--bind", LOOPBACK, "--port", str(port), "--dir", self._data_dir)
        return (self._binary, folder / "redis.conf", *own)


class ShippedPostgres:
    """A cluster with `postgresql.conf`, `pg_hba.conf` and `roles.sql`, below one folder.

    Postgres refuses to run as root, for whom all of it is `nobody`'s.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_loopback_port()
        self.data = folder / "data"
        self.archive = folder / "wal"
        self.bin_dir = find_postgres_bin_dir()
        self._account = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
        if self._account:
            self.bin_dir = reachable_by_all(self.bin_dir)
        self._process: subprocess.Popen[bytes] | None = None
        self.log = folder / "postgres.log"
        self.archive.mkdir()
        self._hand_over(folder, self.archive)
        self._install({})

    @property
    def dsn(self) -> str:
        """That of the role of the service."""
        return self.dsn_of("quota")

    def dsn_of(self, role: str, database: str = "quota") -> str:
        return f"postgresql://{role}:{PASSWORD}@{LOOPBACK}:{self.port}/{database}"

    def make(self) -> None:
        """Make the cluster, and the roles by the script, in a server that only we can reach."""
        self.run("initdb", "-D", str(self.data), "--username", "postgres", "--data-checksums",
                 "--encoding", "UTF8", "--locale", "C", "--no-sync", "--auth", "trust")  # fmt: skip
        self.make_roles(PASSWORDS)

    def make_roles(self, passwords: Mapping[str, str]) -> None:
        """Run the script in a server that only we can reach, as when the cluster is made."""
        with self._running("-c", f"unix_socket_directories={self.folder}", listen=""):
            self.run("psql", "--no-psqlrc", "--host", str(self.folder), "--port", str(self.port),
                     "--username", "postgres", "--file", str(self.folder / "postgres/roles.sql"),
                     "postgres", environment=passwords)  # fmt: skip

    @contextmanager
    def serving(self, breaks: Mapping[str, str] | None = None) -> Iterator[None]:
        """Serve as the files say."""
        self._install(breaks or {})
        folder = self.folder / "postgres"
        with self._running("-c", f"config_file={folder}/postgresql.conf",
                           "-c", "unix_socket_directories="):  # fmt: skip
            yield

    def _install(self, breaks: Mapping[str, str]) -> None:
        paths = {"/var/backups/quota-service": str(self.folder)}
        copy = install("postgres", self.folder, breaks, paths)
        self._hand_over(copy, *copy.iterdir())

    def run(
        self, program: str, *arguments: str, environment: Mapping[str, str] | None = None
    ) -> str:
        """Run a program of Postgres, or a script beside the configuration, to its end."""
        script = self.folder / "postgres" / program
        command = ["sh", str(script)] if script.exists() else [str(self.bin_dir / program)]
        path = f"{self.bin_dir}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            [*command, *arguments],
            capture_output=True,
            text=True,
            check=False,
            env={"PATH": path, "LC_ALL": "C", "HOME": "/", **(environment or {})},
            cwd=self.folder,
            **self._as_account(),
        )
        if done.returncode:
            raise ProgramFailedError(done.stderr or done.stdout)
        return done.stdout

    def kill(self) -> None:
        """Kill the server as a crash would."""
        assert self._process is not None
        members = [self._process.pid, *descendants(self._process.pid)]
        send(members, signal.SIGKILL)
        self._process.wait()
        assert wait_until(lambda: not any(map(is_running, members)))

    @contextmanager
    def _running(self, *options: str, listen: str = LOOPBACK) -> Iterator[None]:
        self.log.unlink(missing_ok=True)
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [self.bin_dir / "postgres", "-D", self.data, "-p", str(self.port),
                 "-c", f"listen_addresses={listen}", *options],
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env={"PATH": os.environ["PATH"], "LC_ALL": "C"},
                preexec_fn=die_with_parent(signal.SIGQUIT),  # noqa: PLW1509 - it is made for that
                **self._as_account(),
            )  # fmt: skip
        try:
            if not wait_until(self._serves_or_ended, START_LIMIT_S) or not self._is_up():
                raise ProgramFailedError(self.log.read_text())
            yield
        finally:
            if self._process.poll() is None:
                self._process.send_signal(signal.SIGINT)
                self._process.wait(START_LIMIT_S)

    def _serves_or_ended(self) -> bool:
        assert self._process is not None
        return self._process.poll() is not None or self._is_up()

    def _is_up(self) -> bool:
        assert self._process is not None
        told = self.log.read_text()
        return self._process.poll() is None and "ready to accept connections" in told

    def _hand_over(self, *paths: Path) -> None:
        if self._account:
            for path in paths:
                os.chown(path, self._account.pw_uid, self._account.pw_gid)

    def _as_account(self) -> dict[str, Any]:
        if not self._account:
            return {}
        return {"user": self._account.pw_uid, "group": self._account.pw_gid, "extra_groups": []}


class ProgramFailedError(Exception):
    """A program of Postgres, or the server, ended with this message."""


PASSWORDS = {"ROLE_PASSWORD": PASSWORD, "BACKUP_ROLE_PASSWORD": PASSWORD}
"""What `roles.sql` reads."""


@contextmanager
def shipped_postgres() -> Iterator[ShippedPostgres]:
    """Lend a cluster with its roles that is not served yet; all of it goes at the end."""
    with tempfile.TemporaryDirectory(prefix="quota-test-postgres-") as folder:
        cluster = ShippedPostgres(Path(folder))
        cluster.make()
        yield cluster
