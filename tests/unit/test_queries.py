"""The ledger's queries: described, complete, and each of them used."""

import re
from pathlib import Path

import pytest

from quota_service.ledger import queries
from quota_service.ledger.queries import load_queries

LEDGER = Path(queries.__file__).parent
QUERIES = load_queries()
USE = re.compile(r"""(?:quer(?:y|ies)\[|\b(?:fetch|commit)\()\s*"(\w+)["]""")

each_query = pytest.mark.parametrize("name", sorted(QUERIES))


def header(text: str) -> list[str]:
    lines = text.splitlines()
    end = next(i for i, line in enumerate(lines) if not line.startswith("--"))
    return lines[:end]


def statement(text: str) -> str:
    return "\n".join(text.splitlines()[len(header(text)) :])


def used_names() -> set[str]:
    return {
        name
        for module in LEDGER.glob("*.py")
        for name in USE.findall(module.read_text(encoding="utf-8"))
    }


@each_query
def test_a_query_says_first_what_it_is_for(name: str) -> None:
    purpose = [line for line in header(QUERIES[name]) if not line.startswith("-- $")]

    assert re.match(r"-- \S.*", purpose[0])
    assert purpose[-1].endswith(".")


@each_query
def test_a_query_describes_exactly_the_parameters_it_takes_in_order(name: str) -> None:
    described = [line for line in header(QUERIES[name]) if line.startswith("-- $")]

    numbers = [int(re.match(r"-- \$(\d+) \w[\w ]*, \w|-- \$(\d+) ", line)[1]) for line in described]

    used = sorted({int(number) for number in re.findall(r"\$(\d+)", statement(QUERIES[name]))})
    assert numbers == used == list(range(1, len(used) + 1))


@each_query
def test_a_described_type_is_the_one_the_statement_casts_to(name: str) -> None:
    casts = dict(re.findall(r"\$(\d+)::(\w+(?:\[\])?)", statement(QUERIES[name])))
    for line in header(QUERIES[name]):
        described = re.match(r"-- \$(\d+) .*, (\w+(?:\[\])?)", line)
        if described and described[1] in casts:
            types = re.findall(r", (\w+(?:\[\])?)", line)

            assert casts[described[1]] in types, line


@each_query
def test_a_query_is_one_statement(name: str) -> None:
    text = statement(QUERIES[name])

    assert ";" not in text
    assert re.match(r"(SELECT|INSERT|UPDATE|DELETE|WITH)\b", text)


@each_query
def test_rows_that_workers_compete_for_are_skipped_not_waited_for(name: str) -> None:
    text = statement(QUERIES[name])

    if "SKIP LOCKED" in text:
        assert re.search(r"LIMIT|shard = \$2", text), "a claim takes a bounded number of rows"


def test_every_query_is_used_and_every_name_used_is_a_query() -> None:
    assert used_names() == set(QUERIES)


def test_whatever_writes_bookings_holds_the_epoch_of_their_shard() -> None:
    """A write that does not could commit while a recovery reads, and leak its seats."""
    writes = r"(INSERT INTO|UPDATE|DELETE FROM) (bookings|booking_items)\b|SET\s+confirmed\b"
    of_bookings = {name for name, text in QUERIES.items() if re.search(writes, text)}
    writers = {
        module: text
        for module in LEDGER.glob("*.py")
        if of_bookings & set(USE.findall(text := module.read_text(encoding="utf-8")))
    }

    assert {module.stem for module in writers} == {
        "auditing",
        "changes",
        "quotas",
        "refunds",
    }
    for module, text in writers.items():
        # `quotas` is handed the connection of those who call it.
        if module.stem != "quotas":
            assert "fenced_transaction" in text or "FencedTransaction" in text, module
        assert ".transaction()" not in text, module


def test_no_statement_hides_in_the_modules() -> None:
    written = re.compile(r"\"(?!SELECT 1\")(?:SELECT|INSERT|UPDATE|DELETE) ")  # not the ping
    for module in LEDGER.glob("*.py"):
        if module.name != "migrations.py":  # its own table
            assert written.findall(module.read_text(encoding="utf-8")) == [], module.name
