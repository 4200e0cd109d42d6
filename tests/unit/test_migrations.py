"""The migration files: numbered without a gap, and their constraints known by name."""

import re
from pathlib import Path

import pytest

from quota_service.ledger import errors, migrations
from quota_service.ledger.migrations import MigrationError, load_migrations


def written_in(folder: Path, monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    (folder / "ledger" / "migrations").mkdir(parents=True)
    for name in names:
        (folder / "ledger" / "migrations" / name).write_text("SELECT 1", encoding="utf-8")
    monkeypatch.setattr(migrations.resources, "files", lambda _: folder)


def test_migrations_are_numbered_from_one_without_a_gap() -> None:
    found = load_migrations()

    assert [migration.number for migration in found] == list(range(1, len(found) + 1))
    assert [
        migration.name for migration in found if not re.match(r"\d{4}_\w+\.sql$", migration.name)
    ] == []


def test_a_migration_says_first_what_it_is_for() -> None:
    for migration in load_migrations():
        assert re.match(r"-- \S", migration.sql), migration.name


def test_migrations_come_in_the_order_of_their_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written_in(tmp_path, monkeypatch, "0002_b.sql", "0001_z.sql", "0003_a.sql", "README.md")

    found = load_migrations()

    assert [migration.name for migration in found] == ["0001_z.sql", "0002_b.sql", "0003_a.sql"]


@pytest.mark.parametrize(
    "names",
    [
        ("0002_a.sql",),
        ("0001_a.sql", "0003_b.sql"),
        ("0001_a.sql", "0001_b.sql"),
        ("0001_a.sql", "next.sql"),
    ],
)
def test_a_number_that_is_missing_or_doubled_is_refused(
    names: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written_in(tmp_path, monkeypatch, *names)

    with pytest.raises(MigrationError, match="not numbered"):
        load_migrations()


def test_every_constraint_carries_a_name() -> None:
    for migration in load_migrations():
        for line in migration.sql.splitlines():
            constrains = re.search(r"\b(PRIMARY KEY|REFERENCES|CHECK|UNIQUE)\b", line)
            if constrains and not line.startswith(("--", "CREATE UNIQUE INDEX")):
                named = "CONSTRAINT" in line or re.search(
                    r"CONSTRAINT \w+\s*$", before(migration.sql, line)
                )

                assert named, f"{migration.name}: {line}"


def test_every_constraint_that_has_an_error_of_its_own_exists() -> None:
    schema = "\n".join(migration.sql for migration in load_migrations())

    for name in errors._BY_CONSTRAINT:  # noqa: SLF001  the table is held against the schema
        assert re.search(rf"(CONSTRAINT|UNIQUE INDEX) {name}\b", schema), name


def before(text: str, line: str) -> str:
    """Return the line that stands before one."""
    lines = text.splitlines()
    return lines[lines.index(line) - 1].rstrip()
