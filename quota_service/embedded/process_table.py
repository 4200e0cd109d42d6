"""Look at the processes of this machine, and signal only those proven to be the ones meant.

A pid is a number that is used again. Whatever is not our own unreaped child is therefore held as a
`ProcessRecord`, which carries the moment the process began, and is looked up again before each
signal. Linux tells all this under `/proc`; elsewhere `ps` gives parents and states, and the proofs
by working directory are not available.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

__all__ = [
    "CAN_PROVE",
    "ProcessRecord",
    "all_processes",
    "descendants",
    "is_alive",
    "names_argument",
    "send_signal",
    "working_in",
]

CAN_PROVE = sys.platform == "linux"
"""Whether this system can show which directory a process works in and which arguments it was given.
"""

_PS_TIMEOUT_S = 10.0
_ENDED_STATES = frozenset("ZX")


@dataclass(frozen=True, slots=True)
class ProcessRecord:
    """One process as it was when looked at.

    `state` is the letter of `/proc/PID/stat` (`T` stopped, `Z` ended and not reaped); `began` tells
    a process from a later one with the same pid, and is empty where the system does not tell;
    `program` is the kernel's name for it.
    """

    pid: int
    parent_pid: int
    state: str
    began: str
    program: str


def all_processes() -> dict[int, ProcessRecord]:
    """Return every process that can be seen, by pid."""
    if not CAN_PROVE:
        return _processes_from_ps()
    pids = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    records = (_read_record(pid) for pid in pids)
    return {record.pid: record for record in records if record is not None}


def descendants(pid: int) -> list[ProcessRecord]:
    """Return the children of process `pid`, their children and so on, without itself."""
    table = all_processes()
    found: list[ProcessRecord] = []
    parents = {pid}
    while parents:
        generation = [record for record in table.values() if record.parent_pid in parents]
        found.extend(generation)
        parents = {record.pid for record in generation}
    return found


def is_alive(record: ProcessRecord) -> bool:
    """Tell whether that very process still runs.

    One that ended and only waits to be reaped does not.
    """
    current = _read_record(record.pid) if CAN_PROVE else all_processes().get(record.pid)
    return (
        current is not None and current.began == record.began and current.state not in _ENDED_STATES
    )


def send_signal(record: ProcessRecord, number: signal.Signals) -> None:
    """Signal that very process; nothing happens when it has ended."""
    if is_alive(record):
        try:
            os.kill(record.pid, number)
        except ProcessLookupError:
            return


def working_in(directory: Path, program: str, uid: int) -> list[ProcessRecord]:
    """Return the live processes of user `uid` whose working directory is `directory`.

    They must be named `program` or have been given the directory as an argument. Both servers make
    their data directory their working directory, and so do all their children. Empty where
    `CAN_PROVE` is false or the directory does not exist.
    """
    if not CAN_PROVE or not directory.exists():
        return []
    wanted = directory.stat()
    return [
        record
        for record in all_processes().values()
        if record.state not in _ENDED_STATES
        and (record.program == program or names_argument(record, str(directory)))
        and _works_there(record.pid, (wanted.st_dev, wanted.st_ino), uid)
    ]


def names_argument(record: ProcessRecord, argument: str) -> bool:
    """Tell whether `argument` is, whole, one of those the process was started with."""
    try:
        arguments = Path(f"/proc/{record.pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return os.fsencode(argument) in arguments


def _works_there(pid: int, directory: tuple[int, int], uid: int) -> bool:
    try:
        owner = Path(f"/proc/{pid}").stat().st_uid
        place = Path(f"/proc/{pid}/cwd").stat()
    except OSError:
        return False
    return owner == uid and (place.st_dev, place.st_ino) == directory


def _read_record(pid: int) -> ProcessRecord | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The name stands in brackets and may hold brackets and spaces itself: everything after the last
    # one is plain fields.
    name_start, name_end = text.index("("), text.rindex(")")
    fields = text[name_end + 2 :].split()
    return ProcessRecord(
        pid=pid,
        parent_pid=int(fields[1]),
        state=fields[0],
        began=fields[19],
        program=text[name_start + 1 : name_end],
    )


def _processes_from_ps() -> dict[int, ProcessRecord]:
    listing = subprocess.run(
        ["/bin/ps", "-axo", "pid=,ppid=,state="],
        capture_output=True,
        text=True,
        timeout=_PS_TIMEOUT_S,
        check=True,
    )
    return {record.pid: record for record in _parse_ps(listing.stdout.splitlines())}


def _parse_ps(lines: Iterable[str]) -> Iterable[ProcessRecord]:
    for line in lines:
        pid, parent_pid, state = line.split()[:3]
        yield ProcessRecord(int(pid), int(parent_pid), state[0], "", "")
