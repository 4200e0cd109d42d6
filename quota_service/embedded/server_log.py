"""The file a server writes its output to, and the part of it that belongs to the present start."""

from pathlib import Path

__all__ = ["ServerLog"]

_LARGEST_BYTES = 8 * 1024 * 1024
_TAIL_BYTES = 4_000


class ServerLog:
    """The log at `path`, appended to at each start.

    A start that finds it longer than 8 MiB sets it aside as `<name>.old`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._start_bytes = 0

    def begin(self) -> None:
        """Make the file ready for another start, readable by us alone."""
        if self.path.exists() and self.path.stat().st_size > _LARGEST_BYTES:
            self.path.replace(self.path.with_name(f"{self.path.name}.old"))
        self.path.touch(mode=0o600)
        self._start_bytes = self.path.stat().st_size

    def says(self, words: str) -> bool:
        """Tell whether `words` stand near the end of the output since the present start."""
        return words in self.tail()

    def tail(self) -> str:
        """Return at most the last 4000 bytes of what was written since the present start."""
        if not self.path.exists():
            return "(nothing)"
        with self.path.open("rb") as log:
            log.seek(max(self._start_bytes, self.path.stat().st_size - _TAIL_BYTES))
            text = log.read(_TAIL_BYTES).decode("utf-8", errors="replace").strip()
        return text or "(nothing)"
