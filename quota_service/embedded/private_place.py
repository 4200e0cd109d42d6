"""Directories that root makes for servers which run as somebody else.

Root's own directories are often closed to everybody else (/root, a virtual environment below it, a
data directory with mode 0700), and their rights are not ours to change. What the server's account
must reach then goes below one directory of our own, `/var/lib/quota-service-embedded`, or
`/var/tmp/quota-service-embedded` where the former cannot be written: owned by root, writable by
root alone, and verified to be so before each use, because programs are executed from it.
"""

import os
import stat
from pathlib import Path

from quota_service.embedded.account import Account
from quota_service.embedded.errors import EmbeddedError

__all__ = [
    "BINARIES",
    "is_ours_alone",
    "is_private_place",
    "make_directory",
    "private_directory",
    "write_private_file",
]

_ROOTS = (
    Path("/var/lib/quota-service-embedded"),
    Path("/var/tmp/quota-service-embedded"),  # noqa: S108 - verified before use
)
_MODE = 0o755

BINARIES = "binaries"
"""The kind of what is a cache of programs; any other kind is data."""


def private_directory(kind: str, account: Account) -> Path:
    """Return our directory for things of `kind`, made if need be, which `account` can reach.

    Only we can write to it. Raises EmbeddedError when none of the places can be used.
    """
    reasons = []
    for root in _ROOTS:
        try:
            make_directory(root)
            make_directory(root / kind)
        except (OSError, EmbeddedError) as error:
            reasons.append(str(error))
            continue
        if account.can_enter(root / kind):
            return root / kind
        reasons.append(f"user {account.name} cannot reach {root / kind}")
    raise EmbeddedError(
        "there is no place that both we and the server can use: " + "; ".join(reasons)
    )


def is_private_place(directory: Path) -> bool:
    """Tell whether `directory` lies where what is made in a `private_directory` lies."""
    return directory.parent.parent in _ROOTS


def make_directory(directory: Path) -> None:
    """Make `directory`, open to all for reading, or accept one that only we can write to.

    Raises EmbeddedError when it is there and is not ours alone, OSError when it cannot be made.
    """
    try:
        directory.mkdir()
    except FileExistsError:
        if not is_ours_alone(directory):
            raise EmbeddedError(
                f"{directory} is not a directory that only we can write to; remove it"
            ) from None
    else:
        # Not by the argument of mkdir, which a strict umask would narrow.
        directory.chmod(_MODE)


def is_ours_alone(directory: Path) -> bool:
    """Tell whether `directory` is one, owned by us, and nobody else can write to it.

    A link to a directory is not one.
    """
    found = directory.lstat()
    others_write = stat.S_IWGRP | stat.S_IWOTH
    return (
        stat.S_ISDIR(found.st_mode)
        and found.st_uid == os.geteuid()
        and not found.st_mode & others_write
    )


def write_private_file(file: Path, content: str) -> None:
    """Write `file` whole or not at all, readable by us alone from the first moment."""
    staged = file.with_name(f"{file.name}.new")
    staged.unlink(missing_ok=True)
    descriptor = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
        opened.write(content)
    staged.replace(file)
