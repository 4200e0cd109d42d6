"""The life of a local server: what Redis and Postgres have in common.

A start is, in this order: take the lock of the data directory, so that no other live parent is
there; wait for the end of what a killed parent left running there; spawn; wait until the server
itself says that it serves. Whatever fails on the way, no process and no lock remains, and the error
carries the end of the server's log.
"""

import fcntl
import os
import signal
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import ClassVar, Self

from quota_service.embedded.children import pids_in, spawn, wait_until
from quota_service.embedded.errors import EmbeddedError
from quota_service.embedded.ports import free_loopback_port

__all__ = ["LocalServer"]

_PORT_ATTEMPTS = 5
_PORT_PAUSE_S = 0.2
_END_WAIT_S = 30.0
_LONGEST_LOG = 4_000
_WRITABLE_BY_OTHERS = 0o022


class LocalServer(ABC):
    """A server of this machine with its data below `data_dir`.

    It is not safe for use by two threads at once. `start()` may be called from any thread, also
    from one that ends before the server does.
    """

    name: ClassVar[str]
    """What the server is called in messages and in the names of our files."""

    programs: ClassVar[frozenset[str]]
    """The kernel's names for the server's processes."""

    stop_signals: ClassVar[tuple[signal.Signals, ...]]
    """What asks it to stop, the gentlest first; they share the time given to `stop()`."""

    orphan_grace_s: ClassVar[float]
    """How long the children of a killed server may take to notice."""

    def __init__(self, data_dir: Path, *, port: int | None) -> None:
        self._data_dir = data_dir.expanduser().resolve()
        self._port = port
        self._uid: int | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._lock: int | None = None

    @property
    def pid(self) -> int | None:
        """The pid of the server's main process, None while there is none."""
        process = self._process
        return None if process is None or process.poll() is not None else process.pid

    def start(self, timeout_s: float = 60.0) -> None:
        """Start the server, making its data the first time; returns when it serves.

        Raises EmbeddedError with the end of the server's log when it does not serve in `timeout_s`
        seconds; nothing is left running.
        """
        if self.pid is not None:
            raise EmbeddedError(f"this {self.name} is already running as process {self.pid}")
        self.kill()  # what a server that ended by itself has left
        try:
            self._make_data_dir()
            self._take_lock()
            self._prepare(timeout_s)
            self._spawn_on_a_free_port(timeout_s)
        except OSError as error:
            self.kill()
            raise EmbeddedError(f"{self.name} cannot use {self._data_dir}: {error}") from error
        except BaseException:
            self.kill()
            raise

    def stop(self, timeout_s: float = 15.0) -> None:
        """Stop the server in order, killing it as a last resort after `timeout_s` seconds.

        A stopped server stays stopped. Raises EmbeddedError when it outlives even SIGKILL.
        """
        for number in self.stop_signals:
            if self._process is not None:
                self._process.send_signal(number)
                with suppress(subprocess.TimeoutExpired):
                    self._process.wait(timeout_s / len(self.stop_signals))
        self.kill()

    def kill(self) -> None:
        """Kill the server as a crash would, and return when nothing of it is left.

        `start()` brings it back on its port. Raises EmbeddedError when it outlives SIGKILL.
        """
        self._end_process()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @abstractmethod
    def _working_dir(self) -> Path:
        """Return the directory that this server, and no other, makes its working directory."""

    @abstractmethod
    def _prepare(self, timeout_s: float) -> None:
        """Choose programs and account, await leftovers, and make the data if need be."""

    @abstractmethod
    def _command(self, port: int) -> Sequence[str | Path]:
        """Return the command line that serves on `port`."""

    @abstractmethod
    def _serves(self, pid: int, port: int) -> bool:
        """Tell whether process `pid`, and no other, answers on `port`."""

    def _make_data_dir(self) -> None:
        # Root's Postgres is another user and must pass through; all files are ours alone.
        is_root = os.geteuid() == 0
        self._data_dir.parent.mkdir(parents=True, exist_ok=True)
        self._data_dir.mkdir(mode=0o711 if is_root else 0o700, exist_ok=True)
        found = self._data_dir.stat()
        if is_root and (found.st_uid != 0 or found.st_mode & _WRITABLE_BY_OTHERS):
            raise EmbeddedError(
                f"users other than root can write to {self._data_dir}, and root follows them "
                "nowhere; choose a data directory that belongs to root alone"
            )

    def _take_lock(self) -> None:
        """Take the lock of the data directory, which the kernel frees when its holder dies."""
        file = self._data_dir / f"{self.name}.lock"
        lock = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(lock)
            raise EmbeddedError(
                f"{self._data_dir} is in use by another running process (pid "
                f"{file.read_text().strip()}); stop that one first, or choose another directory"
            ) from error
        self._lock = lock
        os.ftruncate(lock, 0)
        os.write(lock, f"{os.getpid()}\n".encode())

    def _await_leftovers(self, timeout_s: float) -> None:
        """Return when nobody is at work in the data; a killed parent's server ends by itself.

        Raises EmbeddedError when somebody stays.
        """
        if not wait_until(lambda: not self._pids(), min(timeout_s, _END_WAIT_S)):
            raise EmbeddedError(
                f"{self._working_dir()} is being served by a {self.name} (pid {self._pids()}) that "
                "was not started from here; stop it, or choose another data directory"
            )

    def _spawn_on_a_free_port(self, timeout_s: float) -> None:
        log = self._data_dir / f"{self.name}.log"
        for attempt in range(1, _PORT_ATTEMPTS + 1):
            port = self._port or free_loopback_port()
            if log.exists():
                log.replace(log.with_suffix(".log.old"))
            log.touch(mode=0o600)
            self._process = spawn(self._command(port), log, self.stop_signals[0], uid=self._uid)
            if self._await_service(self._process.pid, port, timeout_s):
                self._port = port
                return
            self._end_process()
            told = log.read_text(encoding="utf-8", errors="replace").strip()
            is_taken = "Address already in use" in told
            if not is_taken or attempt == _PORT_ATTEMPTS:
                reason = f"port {port} is taken" if is_taken else "it ended or did not answer"
                raise EmbeddedError(
                    f"{self.name} did not start within {timeout_s:.0f} s ({reason}). "
                    f"The end of {log}:\n{told[-_LONGEST_LOG:] or '(nothing)'}"
                )
            time.sleep(_PORT_PAUSE_S)

    def _await_service(self, pid: int, port: int, timeout_s: float) -> bool:
        served = wait_until(lambda: self.pid is None or self._serves(pid, port), timeout_s)
        return served and self.pid is not None

    def _end_process(self) -> None:
        """SIGKILL the server, reap it, and return when its children are gone too."""
        if self._process is None:
            return
        self._process.kill()
        try:
            self._process.wait(_END_WAIT_S)
        except subprocess.TimeoutExpired as error:
            raise EmbeddedError(f"{self.name} outlived SIGKILL; the disk may be hanging") from error
        self._process = None
        if not wait_until(lambda: not self._pids(), self.orphan_grace_s):
            for pid in self._pids():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self._await_leftovers(_END_WAIT_S)

    def _pids(self) -> list[int]:
        return pids_in(self._working_dir(), self.programs)
