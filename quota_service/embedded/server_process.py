"""One running server: the child process, and the family it may have.

A Postgres is a dozen processes and a Redis is at times two, so pausing and killing speak to all of
them. The child itself is never reaped by anyone but the methods here; until then its pid cannot
become somebody else's, and while it is stopped neither can the pids of its children, because only
the stopped process could reap them.
"""

import signal
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path

from quota_service.embedded.account import Account, child_environment
from quota_service.embedded.deadline import Deadline, poll_until
from quota_service.embedded.errors import EmbeddedError
from quota_service.embedded.parent_death import die_with_parent
from quota_service.embedded.process_table import (
    ProcessRecord,
    all_processes,
    descendants,
    is_alive,
    send_signal,
)

__all__ = ["ServerProcess", "await_end"]

_SPAWN_TIMEOUT_S = 30.0
_STOP_SIGNAL_TIMEOUT_S = 5.0
_REAP_TIMEOUT_S = 10.0


class ServerProcess:
    """A server started with `arguments` as `account`, its output appended to `log`.

    It has a session of its own, which keeps a terminal's Ctrl-C from it: that reaches only us, and
    we stop the servers in order. When we die the server receives `death_signal` (Linux). Raises
    EmbeddedError when the program cannot be executed.
    """

    def __init__(
        self,
        arguments: Sequence[str | Path],
        account: Account,
        log: Path,
        death_signal: signal.Signals,
    ) -> None:
        self._arguments = arguments
        self._account = account
        self._log = log
        self._death_signal = death_signal
        self._child: subprocess.Popen[bytes] | None = None
        self._failure: BaseException | None = None
        self._spawned = threading.Event()
        self._ended = threading.Event()
        threading.Thread(
            target=self._be_parent, name=f"parent-of-{Path(arguments[0]).name}", daemon=True
        ).start()
        if not self._spawned.wait(_SPAWN_TIMEOUT_S):
            raise EmbeddedError(f"{arguments[0]} could not be started in {_SPAWN_TIMEOUT_S:.0f} s")
        if self._failure is not None:
            raise EmbeddedError(
                f"{arguments[0]} cannot be run as user {account.name}: {self._failure}"
            ) from self._failure

    @property
    def pid(self) -> int:
        """The pid of the server's main process."""
        return self._running_child().pid

    def has_ended(self) -> bool:
        """Whether the main process is over (and now reaped)."""
        ended = self._running_child().poll() is not None
        if ended:
            self._ended.set()
        return ended

    def await_end(self, deadline: Deadline) -> bool:
        """Wait for the main process to end; returns whether it did."""
        try:
            self._running_child().wait(deadline.remaining_s())
        except subprocess.TimeoutExpired:
            return False
        return self.has_ended()

    def signal(self, number: signal.Signals) -> None:
        """Signal the main process; nothing happens when it has ended."""
        self._running_child().send_signal(number)

    def pause(self) -> None:
        """Stop the whole family where it stands; returns when every member is stopped.

        The main process goes first, so that it has no further children. Raises EmbeddedError when a
        member does not stop.
        """
        deadline = Deadline(_STOP_SIGNAL_TIMEOUT_S)
        if not poll_until(self._is_main_stopped, deadline) or not poll_until(
            self._are_children_stopped, deadline
        ):
            raise EmbeddedError(f"process {self.pid} did not pause in {deadline.timeout_s:.0f} s")

    def resume(self) -> None:
        """Let a paused family go on; nothing happens to one that is not paused."""
        if not self.has_ended():
            for child in descendants(self.pid):
                send_signal(child, signal.SIGCONT)
            self.signal(signal.SIGCONT)

    def kill(self, orphan_grace_s: float) -> None:
        """SIGKILL the main process, reap it, and return when its children are gone too.

        The children get `orphan_grace_s` seconds to notice by themselves, as after a real crash,
        and SIGKILL then. Raises EmbeddedError when something survives even that, which only a
        process stuck in the kernel does.
        """
        if self.has_ended():
            return
        poll_until(self._is_main_stopped, Deadline(_STOP_SIGNAL_TIMEOUT_S))
        children = descendants(self.pid)
        self.signal(signal.SIGKILL)
        if not self.await_end(Deadline(_REAP_TIMEOUT_S)):
            raise EmbeddedError(
                f"process {self.pid} outlived SIGKILL; the machine's disk may be hanging"
            )
        for child in children:
            send_signal(child, signal.SIGCONT)
        await_end(children, orphan_grace_s)

    def _be_parent(self) -> None:
        """Start the child, then live exactly as long as it: see `parent_death` for why."""
        try:
            with self._log.open("ab") as log:
                self._child = subprocess.Popen(  # noqa: S603 - a program we found ourselves
                    self._arguments,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd="/",
                    env=child_environment(),
                    umask=0o077,
                    start_new_session=True,
                    user=self._account.user,
                    group=self._account.group,
                    extra_groups=self._account.extra_groups,
                    preexec_fn=die_with_parent(self._death_signal),  # noqa: PLW1509 - see there
                )
        except (OSError, subprocess.SubprocessError) as error:
            self._failure = error
            return
        finally:
            self._spawned.set()
        # The one wait without a limit: it is the child's lifetime, and this daemon thread holds
        # nobody up.
        self._ended.wait()

    def _running_child(self) -> subprocess.Popen[bytes]:
        if self._child is None:
            raise EmbeddedError(f"{self._arguments[0]} was not started")
        return self._child

    def _is_main_stopped(self) -> bool:
        if self.has_ended():
            return True
        self.signal(signal.SIGSTOP)
        record = all_processes().get(self.pid)
        return record is None or record.state in "TZ"

    def _are_children_stopped(self) -> bool:
        running = [child for child in descendants(self.pid) if child.state not in "TZX"]
        for child in running:
            send_signal(child, signal.SIGSTOP)
        return not running


def await_end(processes: Sequence[ProcessRecord], grace_s: float) -> None:
    """Return when all `processes` are over; those still there after `grace_s` seconds are killed.

    Raises EmbeddedError when one outlives even SIGKILL.
    """
    if poll_until(lambda: not any(map(is_alive, processes)), Deadline(grace_s)):
        return
    for process in processes:
        send_signal(process, signal.SIGKILL)
    if not poll_until(lambda: not any(map(is_alive, processes)), Deadline(_REAP_TIMEOUT_S)):
        survivors = ", ".join(str(process.pid) for process in processes if is_alive(process))
        raise EmbeddedError(
            f"processes {survivors} outlived SIGKILL; the machine's disk may be hanging"
        )
