"""Ending the server that an earlier parent left behind.

A killed parent takes its servers with it (`parent_death`), but they need a moment, a paused one
cannot act, and not every system has the means. So a start first looks whether a server is still at
work on its directory. Only a process proven to be that server is signalled: the pid our own pid
file names, running the right program as the right user, working in exactly this directory and
started with its name as an argument. For any other it says no and names it.
"""

import signal
from collections.abc import Sequence
from pathlib import Path

from quota_service.embedded.deadline import Deadline, poll_until
from quota_service.embedded.errors import EmbeddedError
from quota_service.embedded.process_table import (
    CAN_PROVE,
    ProcessRecord,
    all_processes,
    descendants,
    is_alive,
    names_argument,
    send_signal,
    working_in,
)
from quota_service.embedded.server_process import await_end

__all__ = ["end_leftover"]

_ORPHAN_WAIT_S = 10.0
_SIGNAL_WAIT_S = 10.0


def end_leftover(
    directory: Path,
    recorded_pid: int | None,
    *,
    program: str,
    uid: int,
    stop_signals: Sequence[signal.Signals],
    deadline: Deadline,
) -> None:
    """End the server whose pid was recorded, if it is still at work in `directory`.

    Raises EmbeddedError when a process works there that is not proven ours, and, on a system that
    can prove nothing, when the recorded pid is that of any process.
    """
    if not CAN_PROVE:
        _refuse_living(directory, recorded_pid)
        return
    for record in working_in(directory, program, uid):
        if record.pid == recorded_pid and names_argument(record, str(directory)):
            _stop(record, stop_signals, deadline)
    # Children of a server that was killed end by themselves, a little later.
    wait = deadline.at_most(_ORPHAN_WAIT_S)
    if not poll_until(lambda: not working_in(directory, program, uid), wait):
        pids = ", ".join(str(record.pid) for record in working_in(directory, program, uid))
        raise EmbeddedError(
            f"{directory} is being served by a {program} (pid {pids}) that was not started from "
            "here; stop it, or choose another data directory"
        )


def _stop(main: ProcessRecord, stop_signals: Sequence[signal.Signals], deadline: Deadline) -> None:
    family = [main, *descendants(main.pid)]
    for record in reversed(family):
        send_signal(record, signal.SIGCONT)
    for number in stop_signals:
        send_signal(main, number)
        wait = deadline.at_most(_SIGNAL_WAIT_S / len(stop_signals))
        if poll_until(lambda: not is_alive(main), wait):
            break
    send_signal(main, signal.SIGKILL)
    await_end(family, _SIGNAL_WAIT_S)


def _refuse_living(directory: Path, recorded_pid: int | None) -> None:
    if recorded_pid is not None and recorded_pid in all_processes():
        raise EmbeddedError(
            f"process {recorded_pid} may still be serving {directory}; stop it, or, if it is some "
            f"other program, remove the pid file in {directory}"
        )
