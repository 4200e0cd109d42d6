"""Other processes, as the system knows them: who descends from whom, and in what state."""

import os
import signal
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path


def descendants(pid: int) -> list[int]:
    """Return the children of a process, their children and so on, without itself."""
    parents = {child: parent for child, (parent, _) in _processes().items()}
    found = [pid]
    for member in found:
        found += [child for child, parent in parents.items() if parent == member]
    return found[1:]


def state(pid: int) -> str:
    """Return the letter of a process's state: `T` stopped, `Z` ended and not reaped, or nothing."""
    return _processes().get(pid, (0, ""))[1]


def is_running(pid: int) -> bool:
    """Tell whether a process is there and has not ended."""
    return state(pid) not in {"", "Z"}


def send(pids: Iterable[int], number: signal.Signals) -> None:
    """Signal every process that is still there."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def _processes() -> dict[int, tuple[int, str]]:
    """Return every process with its parent and state."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The name before them stands in brackets and may hold brackets itself.
            fields = stat.read_text("utf-8", "replace").rpartition(")")[2].split()
        except OSError:
            continue  # it has ended meanwhile
        found[int(stat.parent.name)] = (int(fields[1]), fields[0])
    return found
