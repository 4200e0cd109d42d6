"""The life of a local server: what Redis and Postgres have in common.

A start is, in this order: take the directory's lock, so that no other live parent is there; end
what an earlier, killed parent left running there; spawn; wait until the server itself says that it
serves. Whatever fails on the way, no process and no lock remains, and the error carries the end of
the server's log.
"""

import os
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from quota_service.embedded.account import Account
from quota_service.embedded.deadline import POLL_INTERVAL_S, Deadline
from quota_service.embedded.directory_lock import DirectoryLock
from quota_service.embedded.errors import EmbeddedError
from quota_service.embedded.leftovers import end_leftover
from quota_service.embedded.ports import free_loopback_port
from quota_service.embedded.private_place import is_ours_alone
from quota_service.embedded.server_log import ServerLog
from quota_service.embedded.server_process import ServerProcess

__all__ = ["LocalServer"]

_PORT_ATTEMPTS = 5
_SAME_PORT_PAUSE_S = 0.2
_LARGEST_PORT = 65_535
_REMOVAL_TIMEOUT_S = 30.0


class LocalServer(ABC):
    """A server of this machine with its data below `data_dir`.

    It is not safe for use by two threads at once. `start()` may be called from any thread, also
    from one that ends before the server does.
    """

    program: ClassVar[str]
    """The kernel's name for the server's processes, which also names our files in the data
    directory.
    """

    pid_file_name: ClassVar[str]
    """The file in its working directory where the server writes its pid; it may be long stale."""

    stop_signals: ClassVar[tuple[signal.Signals, ...]]
    """What asks it to stop, the gentlest first; they share the time given to `stop()`."""

    orphan_grace_s: ClassVar[float]
    """How long the children of a killed server may take to notice."""

    def __init__(self, data_dir: Path, *, port: int | None) -> None:
        if port is not None and not 0 < port <= _LARGEST_PORT:
            raise EmbeddedError(
                f"{port} is not a port; give one from 1 to {_LARGEST_PORT}, or None for a free one"
            )
        self._data_dir = data_dir.expanduser().resolve()
        self._port = port
        self._process: ServerProcess | None = None
        self._locks: dict[Path, DirectoryLock] = {}
        self._log = ServerLog(self._data_dir / f"{self.program}.log")

    @property
    def pid(self) -> int | None:
        """The pid of the server's main process, None while there is none."""
        return None if self._process is None or self._process.has_ended() else self._process.pid

    def stop(self, timeout_s: float = 15.0) -> None:
        """Stop the server in order, killing it as a last resort after `timeout_s` seconds.

        A stopped server stays stopped. Raises EmbeddedError when it outlives even SIGKILL.
        """
        process = self._process
        if process is not None:
            process.resume()
            for number in self.stop_signals:
                process.signal(number)
                if process.await_end(Deadline(timeout_s / len(self.stop_signals))):
                    break
            process.kill(self.orphan_grace_s)
        self._forget_process()

    def kill(self) -> None:
        """Kill the server as a crash would, and return when nothing of it is left.

        `start()` brings it back on its port. Raises EmbeddedError when it outlives SIGKILL.
        """
        if self._process is not None:
            self._process.kill(self.orphan_grace_s)
        self._forget_process()

    def pause(self) -> None:
        """Stop all its processes where they stand, as on a machine that hangs.

        Connections stay open and nothing is answered. If we are killed meanwhile, the server stays
        paused until the next start on its data directory. Raises EmbeddedError when it is not
        running or does not stop.
        """
        self._running_process().pause()

    def resume(self) -> None:
        """Let a paused server go on. Raises EmbeddedError when it is not running."""
        self._running_process().resume()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @abstractmethod
    def start(self, timeout_s: float = 30.0) -> None:
        """Start the server and return when it serves."""

    @abstractmethod
    def _choose_place(self, deadline: Deadline) -> None:
        """Choose programs and the place for the data; the data directory exists and is locked."""

    @abstractmethod
    def _make_data(self, deadline: Deadline) -> None:
        """Make what the server cannot make by itself; nothing is at work in its directory."""

    @abstractmethod
    def _remove_own_data(self, deadline: Deadline) -> None:
        """Remove what this kind of server keeps; it is stopped and its directory is locked."""

    @abstractmethod
    def _arguments(self, port: int) -> Sequence[str | Path]:
        """Return the command line that serves on `port`."""

    @abstractmethod
    def _serves(self, process: ServerProcess, port: int) -> bool:
        """Tell whether `process`, and no other, answers on `port`."""

    @abstractmethod
    def _working_dir(self) -> Path:
        """Return the directory that this server, and no other, makes its working directory."""

    @abstractmethod
    def _account(self) -> Account:
        """Return whom the server runs as."""

    def _start(self, timeout_s: float) -> None:
        """Do what `start` promises, within `timeout_s` seconds."""
        if self.pid is not None:
            raise EmbeddedError(
                f"this {self.program} is already running as process {self.pid}; stop it first"
            )
        deadline = Deadline(timeout_s)
        try:
            self._process = None
            self._make_data_dir()
            self._lock(self._data_dir)
            self._choose_place(deadline)
            self._end_leftovers(deadline)
            self._make_data(deadline)
            self._spawn_on_a_free_port(deadline)
        except OSError as error:
            self.kill()
            raise EmbeddedError(f"{self.program} cannot use {self._data_dir}: {error}") from error
        except BaseException:
            self.kill()
            raise

    def _make_data_dir(self) -> None:
        if not self._data_dir.exists():
            self._data_dir.parent.mkdir(parents=True, exist_ok=True)
            # Root's Postgres is another user and must pass through; all files are ours alone.
            self._data_dir.mkdir(mode=0o711 if os.geteuid() == 0 else 0o700, exist_ok=True)
        if not self._data_dir.is_dir():
            raise EmbeddedError(
                f"{self._data_dir} is not a directory; choose another place for the data"
            )
        if os.geteuid() == 0 and not is_ours_alone(self._data_dir):
            raise EmbeddedError(
                f"users other than root can write to {self._data_dir}, and root follows them "
                "nowhere; choose a data directory that belongs to root alone"
            )

    def _lock(self, directory: Path) -> None:
        lock = self._locks.setdefault(directory, DirectoryLock(directory / f"{self.program}.lock"))
        lock.acquire()

    def _pid_file(self) -> Path:
        return self._working_dir() / self.pid_file_name

    def _end_leftovers(self, deadline: Deadline) -> None:
        file = self._pid_file()
        words = file.read_text(encoding="utf-8", errors="replace").split() if file.exists() else []
        recorded_pid = int(words[0]) if words and words[0].isdigit() else None
        end_leftover(
            self._working_dir(),
            recorded_pid,
            program=self.program,
            uid=self._account().uid,
            stop_signals=self.stop_signals,
            deadline=deadline,
        )
        # Another process may have that number by now, which would keep Postgres from starting.
        file.unlink(missing_ok=True)

    def _spawn_on_a_free_port(self, deadline: Deadline) -> None:
        for attempt in range(1, _PORT_ATTEMPTS + 1):
            port = self._port or free_loopback_port()
            self._log.begin()
            self._process = ServerProcess(
                self._arguments(port), self._account(), self._log.path, self.stop_signals[0]
            )
            if self._await_service(self._process, port, deadline):
                self._port = port
                return
            self._process.kill(self.orphan_grace_s)
            is_taken = self._log.says("Address already in use")
            if deadline.is_over() or not is_taken or attempt == _PORT_ATTEMPTS:
                reason = f"port {port} is taken" if is_taken else "it ended or did not answer"
                raise EmbeddedError(
                    f"{self.program} did not start within {deadline.timeout_s:.0f} s ({reason}). "
                    f"The end of {self._log.path}:\n{self._log.tail()}"
                )
            if self._port is not None:
                time.sleep(min(_SAME_PORT_PAUSE_S, deadline.remaining_s()))

    def _await_service(self, process: ServerProcess, port: int, deadline: Deadline) -> bool:
        while not process.has_ended():
            if self._serves(process, port):
                return True
            if deadline.is_over():
                return False
            time.sleep(POLL_INTERVAL_S)
        return False

    def _remove_data(self) -> None:
        """Do what `remove_data` of a server promises."""
        if self.pid is not None:
            raise EmbeddedError(f"this {self.program} is running; stop it before removing its data")
        if not self._data_dir.exists():
            return
        try:
            self._lock(self._data_dir)
            self._remove_own_data(Deadline(_REMOVAL_TIMEOUT_S))
            for suffix in ("log", "log.old", "lock"):
                (self._data_dir / f"{self.program}.{suffix}").unlink(missing_ok=True)
        except OSError as error:
            raise EmbeddedError(
                f"the data of {self.program} in {self._data_dir} cannot be removed: {error}"
            ) from error
        finally:
            self._forget_process()

    def _forget_process(self) -> None:
        self._process = None
        for lock in self._locks.values():
            lock.release()

    def _running_process(self) -> ServerProcess:
        if self._process is None or self._process.has_ended():
            raise EmbeddedError(f"this {self.program} is not running; start it first")
        return self._process
