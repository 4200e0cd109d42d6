"""The life of a local server: what Redis and Postgres have in common.

A start takes the lock of the data directory, spawns, and waits for the line of the server's log
that says that it serves. The server inherits the lock, so the lock is free again when the process
that started the server has ended and every process of the server too. Whatever fails on the way, no
process and no lock remains, and the error carries the end of the log.
"""

import fcntl
import os
import pwd
import re
import signal
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import ClassVar, Self

from quota_service.embedded.children import child_options
from quota_service.embedded.errors import EmbeddedError
from quota_service.embedded.ports import free_loopback_port

__all__ = ["LocalServer"]

_SERVES = re.compile(r"[Rr]eady to accept (?:read-only )?connections")
"""What both servers write into their log when they serve, and not before."""

_POLL_INTERVAL_S = 0.02
_PORT_ATTEMPTS = 5
_END_WAIT_S = 30.0
_LONGEST_LOG = 4_000
_WRITABLE_BY_OTHERS = 0o022


class LocalServer(ABC):
    """A server of this machine with its data in `data_dir`.

    It is not safe for use by two threads at once. `start()` may be called from any thread, also
    from one that ends before the server does. The server ends with this object at the latest.
    """

    name: ClassVar[str]
    """What the server is called in messages and in the names of our files."""

    stop_signals: ClassVar[tuple[signal.Signals, ...]]
    """What asks it to stop, the gentlest first; they share the time given to `stop()`."""

    def __init__(self, data_dir: Path, *, port: int | None) -> None:
        self._data_dir = data_dir.expanduser().resolve()
        self._port = port
        self._account: pwd.struct_passwd | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._inherited: list[int] = []
        # The kernel ends the server with the thread that started it: see `parent_death`.
        self._parent = ThreadPoolExecutor(1, thread_name_prefix=f"parent of {self.name}")

    @property
    def pid(self) -> int | None:
        """The pid of the server's main process, None while there is none."""
        process = self._process
        return None if process is None or process.poll() is not None else process.pid

    def start(self, timeout_s: float = 60.0) -> None:
        """Start the server, making its data the first time; returns when it serves.

        A port that was chosen is kept from then on. Raises EmbeddedError with the end of the
        server's log when it does not serve in `timeout_s` seconds; nothing is left running.
        """
        if self.pid is not None:
            raise EmbeddedError(f"this {self.name} is already running as process {self.pid}")
        self.stop()  # what a server that ended by itself has left
        try:
            self._make_data_dir()
            self._take_lock(time.monotonic() + min(timeout_s, _END_WAIT_S))
            self._prepare()
            self._serve_on_a_free_port(timeout_s)
        except OSError as error:
            self.stop()
            raise EmbeddedError(f"{self.name} cannot use {self._data_dir}: {error}") from error
        except BaseException:
            self.stop()
            raise

    def stop(self, timeout_s: float = 15.0) -> None:
        """Stop the server in order, killing it as a last resort after `timeout_s` seconds.

        A stopped server stays stopped. Raises EmbeddedError when it outlives even SIGKILL.
        """
        self._end_process(timeout_s)
        for lock in self._inherited[:1]:
            os.ftruncate(lock, 0)  # we are no longer its holder, should the server still be
        while self._inherited:
            os.close(self._inherited.pop())

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @abstractmethod
    def _prepare(self) -> None:
        """Choose programs and account, and make the data if need be; the lock is ours."""

    @abstractmethod
    def _command(self, port: int) -> Sequence[str | Path]:
        """Return the command line that serves on `port`."""

    def _make_data_dir(self) -> None:
        self._data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = self._data_dir.stat()
        if os.geteuid() == 0 and (found.st_uid != 0 or found.st_mode & _WRITABLE_BY_OTHERS):
            raise EmbeddedError(
                f"users other than root can write to {self._data_dir}, and root follows them "
                "nowhere; choose a data directory that belongs to root alone"
            )

    def _take_lock(self, ends_at_s: float) -> None:
        """Take the lock of the data directory, waiting for the end of a killed parent's server.

        Raises EmbeddedError at once when its holder lives, else at `ends_at_s`.
        """
        file = self._data_dir / f"{self.name}.lock"
        lock = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                holder = file.read_text(encoding="ascii").strip()
                if (holder and Path("/proc", holder).exists()) or time.monotonic() > ends_at_s:
                    os.close(lock)
                    raise EmbeddedError(
                        f"{self._data_dir} is in use by another running process (pid "
                        f"{holder or 'unknown'}), or by a {self.name} that it left; stop that one "
                        "first, or choose another directory"
                    ) from error
                time.sleep(_POLL_INTERVAL_S)
            else:
                break
        self._inherited.append(lock)
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)

    def _serve_on_a_free_port(self, timeout_s: float) -> None:
        log = self._data_dir / f"{self.name}.log"
        for attempt in range(1, _PORT_ATTEMPTS + 1):
            port = self._port or free_loopback_port()
            self._process = self._parent.submit(self._spawn, self._command(port), log).result()
            if self._await_service(log, time.monotonic() + timeout_s):
                self._port = port
                return
            self._end_process(0)
            told = log.read_text(encoding="utf-8", errors="replace").strip()
            is_taken = "Address already in use" in told
            if self._port is not None or not is_taken or attempt == _PORT_ATTEMPTS:
                reason = f"port {port} is taken" if is_taken else "it ended or did not answer"
                raise EmbeddedError(
                    f"{self.name} did not start: {reason}; the end of {log}:\n"
                    f"{told[-_LONGEST_LOG:] or '(empty)'}"
                )

    def _spawn(self, command: Sequence[str | Path], log: Path) -> "subprocess.Popen[bytes]":
        log.unlink(missing_ok=True)
        log.touch(mode=0o600)
        with log.open("ab") as output:
            return subprocess.Popen(  # noqa: S603 - a program we found ourselves
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                **child_options(self.stop_signals[0], self._account, self._inherited),
            )

    def _await_service(self, log: Path, ends_at_s: float) -> bool:
        while self.pid is not None and time.monotonic() < ends_at_s:
            if _SERVES.search(log.read_text(encoding="utf-8", errors="replace")):
                return True
            time.sleep(_POLL_INTERVAL_S)
        return False

    def _end_process(self, timeout_s: float) -> None:
        if self._process is None:
            return
        for number in self.stop_signals:
            self._process.send_signal(number)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout_s / len(self.stop_signals))
        self._process.kill()
        try:
            self._process.wait(_END_WAIT_S)
        except subprocess.TimeoutExpired as error:
            raise EmbeddedError(f"{self.name} outlived SIGKILL; the disk may be hanging") from error
        self._process = None
