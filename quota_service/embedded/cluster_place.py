"""Choosing where a Postgres cluster lies, and finding it again.

Usually that is the data directory itself. Root's Postgres, however, runs as another user, and when
that user cannot reach the data directory, the cluster goes to a `private_place`. A pointer file in
the data directory then names the cluster's home, and a file in the home names the data directory:
so neither is taken for another's, and homes whose data directory is gone can be told and removed.
"""

import secrets
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from quota_service.embedded.account import Account
from quota_service.embedded.directory_lock import DirectoryLock
from quota_service.embedded.errors import EmbeddedError
from quota_service.embedded.private_place import (
    is_ours_alone,
    is_private_place,
    make_directory,
    private_directory,
    write_private_file,
)
from quota_service.embedded.process_table import working_in

__all__ = ["ClusterPlace", "choose_place", "place_of", "remove_place"]

_POINTER = "postgres.place"
_ORIGIN = "data-directory"
_NAME_BYTES = 8


@dataclass(frozen=True, slots=True)
class ClusterPlace:
    """Where a cluster lies: `home` is ours, `pgdata` in it belongs to the server's account."""

    home: Path

    @property
    def pgdata(self) -> Path:
        """What Postgres calls its data directory."""
        return self.home / "pgdata"

    @property
    def hba_file(self) -> Path:
        """Who may connect, and how; outside of `pgdata`, which is another user's to write to."""
        return self.home / "pg_hba.conf"


def place_of(data_dir: Path) -> ClusterPlace | None:
    """Return where the cluster of `data_dir` was put before, None when it has none.

    Raises EmbeddedError when the pointer file names no directory of ours, or another's cluster, as
    it does in a data directory that was moved or copied.
    """
    home = _read_path(data_dir / _POINTER)
    if home is None:
        return ClusterPlace(data_dir) if (data_dir / "pgdata").exists() else None
    if not is_private_place(home) or (home.exists() and not is_ours_alone(home)):
        raise EmbeddedError(
            f"{data_dir / _POINTER} names no directory that we made; remove it to start afresh"
        )
    origin = _read_path(home / _ORIGIN)
    if origin not in (None, data_dir):
        raise EmbeddedError(
            f"the cluster of {data_dir} lies in {home} and belongs to {origin}, from which the "
            f"directory was moved or copied; move it back, or remove {data_dir / _POINTER} to "
            "start afresh"
        )
    return ClusterPlace(home)


def choose_place(data_dir: Path, account: Account) -> ClusterPlace:
    """Choose where the cluster of `data_dir` lies; where it is already, if it is.

    A new one lies in `data_dir`, unless `account` is not us and cannot reach it. Raises
    EmbeddedError when the account cannot reach the place, or no place can be made.
    """
    place = place_of(data_dir)
    if place is None and (not account.switched or account.can_enter(data_dir)):
        place = ClusterPlace(data_dir)
    if place is None:
        directory = private_directory("clusters", account)
        _remove_abandoned(directory, account)
        place = ClusterPlace(directory / secrets.token_hex(_NAME_BYTES))
        write_private_file(data_dir / _POINTER, f"{place.home}\n")
    if place.home != data_dir:
        private_directory("clusters", account)
        make_directory(place.home)
        write_private_file(place.home / _ORIGIN, f"{data_dir}\n")
    if account.switched and not account.can_enter(place.home):
        raise EmbeddedError(
            f"user {account.name}, as whom Postgres runs, can no longer reach {place.home}; let "
            "others pass through its parent directories again (chmod o+x), or choose another data "
            "directory"
        )
    return place


def remove_place(data_dir: Path) -> None:
    """Remove the cluster of `data_dir`, wherever it lies, and the pointer to it."""
    place = place_of(data_dir)
    if place is not None and place.home != data_dir:
        if place.home.exists():
            shutil.rmtree(place.home)
        (data_dir / _POINTER).unlink()
    elif place is not None:
        shutil.rmtree(place.pgdata)
        place.hba_file.unlink(missing_ok=True)


def _remove_abandoned(directory: Path, account: Account) -> None:
    """Remove the homes below `directory` that nothing leads to any more and nothing uses."""
    for home in directory.iterdir():
        lock = DirectoryLock(home / "postgres.lock")
        if not _is_abandoned(home) or working_in(home / "pgdata", "postgres", account.uid):
            continue
        try:
            lock.acquire()
            shutil.rmtree(home)
        except (EmbeddedError, FileNotFoundError):
            continue  # somebody else is at it
        finally:
            lock.release()


def _is_abandoned(home: Path) -> bool:
    """Tell whether the data directory of `home` has let go of it.

    One that does not exist may be on a disk that is not mounted at present; that counts only for
    temporary directories.
    """
    origin = _read_path(home / _ORIGIN)
    if origin is None:
        return False
    if not origin.exists():
        return Path(tempfile.gettempdir()).resolve() in origin.parents
    return _read_path(origin / _POINTER) != home


def _read_path(file: Path) -> Path | None:
    try:
        return Path(file.read_text(encoding="utf-8").removesuffix("\n"))
    except (FileNotFoundError, NotADirectoryError):
        return None
