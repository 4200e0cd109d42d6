"""Making the cluster of a Postgres, its superuser and its database.

A cluster is made under another name and renamed when it is complete, so a start that is killed
half-way leaves nothing that looks like one. The superuser `quota` and the database `quota` come
from single-user mode, which needs neither a client program nor a moment in which the server is open
without a password.
"""

import os
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path

from quota_service.embedded.account import Account
from quota_service.embedded.cluster_place import ClusterPlace, remove_place
from quota_service.embedded.deadline import Deadline
from quota_service.embedded.errors import EmbeddedError
from quota_service.embedded.private_place import BINARIES, write_private_file

__all__ = ["DATABASE", "ensure_cluster", "remove_cluster"]

DATABASE = "quota"
"""The database, and the superuser that owns it."""

_PASSWORD = "postgres.password"  # noqa: S105 - the name of a file
_PASSWORD_BYTES = 24
_HBA = """\
# Written by quota-service: everybody on loopback, with the password, and nobody else.
host all all 127.0.0.1/32 scram-sha-256
"""


@dataclass(frozen=True, slots=True)
class _Tools:
    """What it takes to make a cluster: programs, the account they run as, and a time limit."""

    bin_dir: Path
    account: Account
    deadline: Deadline


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
    """Remove the cluster of `data_dir` wherever it lies, and everything else kept for it."""
    remove_place(data_dir)
    for tree in (data_dir / "pgdata.new", data_dir / BINARIES):
        if tree.exists():
            shutil.rmtree(tree)
    for name in ("pg_hba.conf", _PASSWORD):
        (data_dir / name).unlink(missing_ok=True)


def _read_password(data_dir: Path) -> str | None:
    """Return the password kept in `data_dir`, None when there is none."""
    file = data_dir / _PASSWORD
    return file.read_text(encoding="ascii").strip() if file.exists() else None


def _new_password(data_dir: Path) -> str:
    password = secrets.token_hex(_PASSWORD_BYTES)
    write_private_file(data_dir / _PASSWORD, f"{password}\n")
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
