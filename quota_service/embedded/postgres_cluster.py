"""The data directory of a Postgres: where it lies, who owns it, how it is made.

A cluster is made under another name and renamed when it is complete, so a start that is killed
half-way leaves nothing that looks like one. The superuser `quota` and the database `quota` come
from single-user mode, which needs neither a client program nor a moment in which the server is open
without a password.
"""

import hashlib
import os
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path

from quota_service.embedded.account import Account
from quota_service.embedded.deadline import Deadline
from quota_service.embedded.errors import EmbeddedError
from quota_service.embedded.private_place import (
    BINARIES,
    is_ours_alone,
    is_private_place,
    make_directory,
    private_directory,
)

__all__ = [
    "DATABASE",
    "ClusterPlace",
    "choose_place",
    "ensure_cluster",
    "place_of",
    "remove_cluster",
]

DATABASE = "quota"
"""The database, and the superuser that owns it."""

_POINTER = "postgres.place"
_PASSWORD = "postgres.password"  # noqa: S105 - the name of a file
_PASSWORD_BYTES = 24
_HBA = """\
# Written by quota-service: everybody on loopback, with the password, and nobody else.
host all all 127.0.0.1/32 scram-sha-256
"""


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


@dataclass(frozen=True, slots=True)
class _Tools:
    """What it takes to make a cluster: programs, the account they run as, and a time limit."""

    bin_dir: Path
    account: Account
    deadline: Deadline


def place_of(data_dir: Path) -> ClusterPlace | None:
    """Return where the cluster of `data_dir` was put before, None when it has none.

    Raises EmbeddedError when the pointer file does not point to a directory of ours.
    """
    pointer = data_dir / _POINTER
    if pointer.exists():
        home = Path(pointer.read_text(encoding="utf-8").strip())
        if not is_private_place(home) or (home.exists() and not is_ours_alone(home)):
            raise EmbeddedError(
                f"{pointer} does not name a directory that we made; remove it to start afresh"
            )
        return ClusterPlace(home)
    if (data_dir / "pgdata").exists():
        return ClusterPlace(data_dir)
    return None


def choose_place(data_dir: Path, account: Account) -> ClusterPlace:
    """Choose where the cluster of `data_dir` lies; where it is already, if it is.

    A new one lies in `data_dir`, unless the server runs as another user and that user cannot reach
    it or it is not ours alone: then among root's directories for such servers, and a pointer file
    in `data_dir` names the place. Raises EmbeddedError when the account cannot reach an existing
    cluster.
    """
    place = place_of(data_dir)
    if place is None and (not account.switched or account.can_enter(data_dir)):
        place = ClusterPlace(data_dir)
    if place is None:
        name = hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:16]
        place = ClusterPlace(private_directory("clusters", account) / name)
        _write_private_file(data_dir / _POINTER, f"{place.home}\n")
    if place.home != data_dir:
        private_directory("clusters", account)
        make_directory(place.home)
    if account.switched and not account.can_enter(place.home):
        raise EmbeddedError(
            f"user {account.name}, as whom Postgres runs, can no longer reach {place.home}; let "
            "others pass through its parent directories again (chmod o+x), or choose another data "
            "directory"
        )
    return place


def ensure_cluster(
    place: ClusterPlace, data_dir: Path, bin_dir: Path, account: Account, deadline: Deadline
) -> str:
    """Make the cluster if it is not there, and return the password of `quota`.

    The password is generated once and kept in `data_dir`, readable by us alone; if it was deleted
    there is a new one. Raises EmbeddedError when the cluster belongs to another user or one of the
    programs fails.
    """
    _write_hba(place)
    tools = _Tools(bin_dir, account, deadline)
    password = _read_password(data_dir)
    if not place.pgdata.exists():
        password = password or _new_password(data_dir)
        _make_cluster(place, password, tools)
    elif place.pgdata.stat().st_uid != account.uid:
        raise EmbeddedError(
            f"{place.pgdata} belongs to the user with id {place.pgdata.stat().st_uid}, but "
            f"Postgres would run as {account.name}; start it as before, or pass run_as"
        )
    elif password is None:
        password = _new_password(data_dir)
        _set_up(place.pgdata, [_password_statement(password)], password, tools)
    return password


def remove_cluster(data_dir: Path) -> None:
    """Remove the cluster of `data_dir` wherever it lies, its password and its pointer file."""
    place = place_of(data_dir)
    if place is not None:
        for tree in (place.pgdata, place.home / "pgdata.new"):
            if tree.exists():
                shutil.rmtree(tree)
        place.hba_file.unlink(missing_ok=True)
        if place.home != data_dir and place.home.exists():
            shutil.rmtree(place.home)
    if (data_dir / BINARIES).exists():
        shutil.rmtree(data_dir / BINARIES)
    for name in (_POINTER, _PASSWORD):
        (data_dir / name).unlink(missing_ok=True)


def _read_password(data_dir: Path) -> str | None:
    """Return the password kept in `data_dir`, None when there is none."""
    file = data_dir / _PASSWORD
    return file.read_text(encoding="ascii").strip() if file.exists() else None


def _new_password(data_dir: Path) -> str:
    password = secrets.token_hex(_PASSWORD_BYTES)
    _write_private_file(data_dir / _PASSWORD, f"{password}\n")
    return password


def _password_statement(password: str) -> str:
    # Hexadecimal digits only: nothing to quote.
    return f"ALTER ROLE {DATABASE} PASSWORD '{password}';"


def _make_cluster(place: ClusterPlace, password: str, tools: _Tools) -> None:
    """Make the cluster under another name and rename it when it is complete."""
    staging = place.home / "pgdata.new"
    if staging.exists():
        shutil.rmtree(staging)
    staging.mkdir(mode=0o700)
    if tools.account.switched:
        os.chown(staging, tools.account.uid, tools.account.gid, follow_symlinks=False)
    options = (
        *("--pgdata", staging),
        *("--username", DATABASE),
        *("--encoding", "UTF8"),
        *("--locale", "C"),
        *("--auth", "reject"),  # our own pg_hba.conf takes its place
        "--data-checksums",
        "--no-instructions",
    )
    done = tools.account.run([tools.bin_dir / "initdb", *options], tools.deadline)
    if done.returncode != 0:
        raise EmbeddedError(f"initdb failed in {staging}:\n{done.stdout[-4000:]}")
    create_database = f"CREATE DATABASE {DATABASE} OWNER {DATABASE};"
    _set_up(staging, [_password_statement(password), create_database], password, tools)
    staging.rename(place.pgdata)


def _set_up(pgdata: Path, statements: list[str], password: str, tools: _Tools) -> None:
    """Execute `statements` without a server running.

    Single-user mode reports a failed statement in its output alone, not in its exit status.
    """
    options = ("-c", "log_min_error_statement=panic", "-c", "log_min_messages=error")
    done = tools.account.run(
        [tools.bin_dir / "postgres", "--single", "-D", pgdata, *options, "postgres"],
        tools.deadline,
        stdin="".join(f"{statement}\n" for statement in statements),
    )
    if done.returncode != 0 or "ERROR:" in done.stdout or "FATAL:" in done.stdout:
        output = done.stdout[-4000:].replace(password, "(password)")
        raise EmbeddedError(f"the cluster in {pgdata} could not be set up:\n{output}")


def _write_hba(place: ClusterPlace) -> None:
    staged = place.hba_file.with_name("pg_hba.conf.new")
    staged.write_text(_HBA, encoding="ascii")
    staged.chmod(0o644)
    staged.replace(place.hba_file)


def _write_private_file(file: Path, content: str) -> None:
    """Write whole or not at all, readable by us alone from the first moment."""
    staged = file.with_name(f"{file.name}.new")
    staged.unlink(missing_ok=True)
    descriptor = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
        opened.write(content)
    staged.replace(file)
