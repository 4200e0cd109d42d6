"""Looks at the children of a process, as the system knows them."""

from pathlib import Path


def children(pid: int, *, named: str) -> list[int]:
    """Return the pids of a process's children whose command line has a word in it."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = stat.read_text("ascii", "replace").rpartition(")")[2].split()[:2]
            command = (stat.parent / "cmdline").read_bytes().decode("utf-8", "replace")
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended meanwhile
        if int(parent) == pid and state != "Z" and named in command:
            found.append(int(stat.parent.name))
    return found


def open_files(pid: int) -> list[str]:
    """Return the descriptors a process has open."""
    return [found.name for found in Path(f"/proc/{pid}/fd").iterdir()]
