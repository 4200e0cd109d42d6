"""A Redis of our own on loopback, for the demo and the tests.

It keeps an append-only file, synced at every write before the write is answered, and never evicts:
a seat that vanishes is a seat sold twice.
"""

import os
import re
import shutil
import signal
import socket
from collections.abc import Sequence
from pathlib import Path

from quota_service.embedded.account import Account, own_account
from quota_service.embedded.binaries import find_redis_binary
from quota_service.embedded.deadline import Deadline
from quota_service.embedded.errors import EmbeddedError
from quota_service.embedded.local_server import LocalServer
from quota_service.embedded.ports import LOOPBACK
from quota_service.embedded.server_process import ServerProcess

__all__ = ["EmbeddedRedis"]

_ANSWER_TIMEOUT_S = 0.5
_LONGEST_ANSWER_BYTES = 64 * 1024
_BINARY_COPY = "redis-server.executable"
_LOG_DIR = "appendonlydir"
_PERSISTENCE = (
    *("--appendonly", "yes"),
    *("--appenddirname", _LOG_DIR),
    *("--appendfsync", "always"),
    *("--maxmemory-policy", "noeviction"),
    *("--save", ""),
)


class EmbeddedRedis(LocalServer):
    """A local redis-server, version 7.0 or later, with its data in `data_dir`, made if need be.

    `port` None has a free one chosen at the first start and kept from then on. `extra_args` are
    further command-line settings (`("--maxmemory", "64mb")`); they win over ours except where the
    server listens and where it keeps its data, and must not set a password. `binary` is the
    redis-server to use instead of the one `find_redis_binary` finds.
    """

    program = "redis-server"
    pid_file_name = "redis-server.pid"
    stop_signals = (signal.SIGTERM,)
    orphan_grace_s = 0.0

    def __init__(
        self,
        data_dir: Path,
        *,
        port: int | None = None,
        extra_args: Sequence[str] = (),
        binary: Path | None = None,
    ) -> None:
        super().__init__(data_dir, port=port)
        self._extra_args = tuple(extra_args)
        self._wanted_binary = binary
        self._binary: Path | None = None

    @property
    def url(self) -> str:
        """`redis://127.0.0.1:PORT/0`.

        Raises EmbeddedError while no port is chosen, that is before the first start.
        """
        if self._port is None:
            raise EmbeddedError(
                "this Redis has no port before its first start; start it, or give it a port"
            )
        return f"redis://{LOOPBACK}:{self._port}/0"

    def start(self, timeout_s: float = 15.0) -> None:
        """Start the server; returns when it answers, its data loaded.

        Raises EmbeddedError after at most about `timeout_s` seconds, with the end of the server's
        log; nothing is left running.
        """
        self._start(timeout_s)

    def remove_data(self) -> None:
        """Remove everything this class keeps in the data directory, but not the directory.

        Raises EmbeddedError while the server runs.
        """
        self._remove_data()

    def _remove_own_data(self, deadline: Deadline) -> None:
        self._end_leftovers(deadline)
        if (self._data_dir / _LOG_DIR).exists():
            shutil.rmtree(self._data_dir / _LOG_DIR)
        for name in ("dump.rdb", self.pid_file_name, _BINARY_COPY):
            (self._data_dir / name).unlink(missing_ok=True)

    def _choose_place(self, deadline: Deadline) -> None:  # noqa: ARG002 - quick enough
        binary = self._wanted_binary or find_redis_binary()
        if not binary.is_file():
            raise EmbeddedError(
                f"there is no redis-server at {binary}; give the path of one, or None to find it"
            )
        self._binary = binary if os.access(binary, os.X_OK) else self._executable_copy(binary)

    def _make_data(self, deadline: Deadline) -> None:
        """Do nothing: Redis makes its files by itself."""

    def _executable_copy(self, binary: Path) -> Path:
        """Copy the program to the data directory and make it executable there.

        Installers may drop the right to execute, and the original is not ours to change.
        """
        copy = self._data_dir / _BINARY_COPY
        staged = self._data_dir / f"{_BINARY_COPY}.new"
        shutil.copyfile(binary, staged)
        staged.chmod(0o700)
        staged.replace(copy)
        return copy

    def _arguments(self, port: int) -> Sequence[str | Path]:
        if self._binary is None:
            raise EmbeddedError("no redis-server was chosen before starting it")
        place = (
            *("--bind", LOOPBACK),
            *("--port", str(port)),
            *("--daemonize", "no"),
            *("--dir", str(self._data_dir)),
            *("--logfile", ""),
            *("--pidfile", str(self._pid_file())),
            # Keeps the arguments visible, by which a later start knows the server as its own.
            *("--set-proc-title", "no"),
        )
        return (self._binary, *_PERSISTENCE, *self._extra_args, *place)

    def _serves(self, process: ServerProcess, port: int) -> bool:
        # The pid is asked for because another server may have taken the port before ours could.
        answer = _ask(port, b"PING\r\nINFO server\r\n")
        found = re.search(rb"\r\nprocess_id:(\d+)\r\n", answer)
        return (
            answer.startswith(b"+PONG\r\n")
            and found is not None
            and int(found.group(1)) == process.pid
        )

    def _working_dir(self) -> Path:
        return self._data_dir

    def _account(self) -> Account:
        return own_account()


def _ask(port: int, request: bytes) -> bytes:
    """Return what Redis answers up to its pid, nothing when nobody answers in time.

    While it loads its data, the answer says only that.
    """
    answer = b""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=_ANSWER_TIMEOUT_S) as connection:
            connection.sendall(request)
            while len(answer) < _LONGEST_ANSWER_BYTES and not re.search(
                rb"\r\nprocess_id:\d+\r\n", answer
            ):
                part = connection.recv(4096)
                if not part or answer.startswith(b"-"):
                    break
                answer += part
    except OSError:
        return answer
    return answer
