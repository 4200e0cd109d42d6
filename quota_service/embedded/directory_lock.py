"""A lock on a directory that ends with the process holding it.

Two servers on one data directory destroy it, and Redis does not guard against that by itself. The
lock is `flock` on a file: the kernel lets go of it when the holder dies in whatever way, so a held
lock always means a live parent and a free one never needs cleaning up.
"""

import fcntl
import os
from pathlib import Path

from quota_service.embedded.deadline import Deadline, poll_until
from quota_service.embedded.errors import EmbeddedError

__all__ = ["DirectoryLock"]


class DirectoryLock:
    """An exclusive lock by way of the file `path`, which is made if need be.

    The file names its holder's pid for people to read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def acquire(self, wait_s: float = 0.0) -> None:
        """Take the lock, waiting at most `wait_s` seconds; one held by this object stays held.

        Raises EmbeddedError when another holder keeps it, in this process or in another.
        """
        if self._descriptor is not None:
            return
        if not poll_until(self._try_to_acquire, Deadline(wait_s)):
            raise EmbeddedError(
                f"{self._path.parent} is in use by another running process ({self._holder()}); "
                "stop that one first, or choose another data directory"
            )

    def release(self) -> None:
        """Let go of the lock; nothing happens when it is not held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _try_to_acquire(self) -> bool:
        descriptor = os.open(
            self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
        )
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        # The holder before us may have deleted the file: then we locked one nobody else can find.
        if not self._path.exists() or os.fstat(descriptor).st_ino != self._path.stat().st_ino:
            os.close(descriptor)
            return False
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        self._descriptor = descriptor
        return True

    def _holder(self) -> str:
        try:
            written = self._path.read_text(encoding="ascii", errors="replace").strip()
        except OSError:
            written = ""
        return f"pid {written}" if written.isdigit() else "pid unknown"
