"""The migration files: numbered without a gap, and their constraints known by name."""

import re
from pathlib import Path

import pytest

from quota_service.ledger import errors, migrations
from quota_service.ledger.migrations import MigrationError, load_migrations

LAST_BEFORE_THE_PROMISE = 14
"""The last migration that may stop processes of the version before it."""

NARROWS = (
    r"(?i)\bRENAME\b|\bDROP (TABLE|COLUMN|FUNCTION|VIEW|TYPE)\b"
    r"|\bALTER COLUMN \w+ (SET DATA )?(TYPE|SET NOT NULL)|\bSET NOT NULL"
    r"|\bADD COLUMN (?!.*\bDEFAULT\b).*\bNOT NULL"
)


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


def narrowing(sql: str) -> list[str]:
    """Return the lines of a migration that processes of the version before may not bear."""
    return [
        line.strip()
        for line in sql.splitlines()
        if not line.lstrip().startswith("--")
        and re.search(NARROWS, line)
        and not before(sql, line).lstrip().startswith("-- contract: ")
    ]


def test_migrations_only_add_so_that_processes_of_the_version_before_go_on() -> None:
    found = {
        migration.name: narrowing(migration.sql)
        for migration in load_migrations()
        if migration.number > LAST_BEFORE_THE_PROMISE
    }

    assert {name: lines for name, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    "line",
    [
        "ALTER TABLE bookings RENAME COLUMN event TO payment;",
        "    DROP COLUMN revision,",
        "DROP TABLE imports;",
        "DROP FUNCTION settle_payments;",
        "    ALTER COLUMN amount TYPE integer;",
        "    ALTER COLUMN reason SET NOT NULL;",
        "    ADD COLUMN closed text[] NOT NULL,",
    ],
)
def test_what_narrows_the_schema_is_found_unless_the_line_before_says_why_it_may(line: str) -> None:
    assert narrowing(f"-- What it is for.\n{line}\n") == [line.strip()]
    assert narrowing(f"-- contract: unused since 0016.\n{line}\n") == []
    assert (
        narrowing("-- What it is for.\n    ADD COLUMN closed text[] NOT NULL DEFAULT '{}';") == []
    )


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
