"""The ledger's queries: described, complete, and each of them used."""

import re
from pathlib import Path

from quota_service.ledger import pool
from quota_service.ledger.pool import load_queries
from tests.support.facts import for_each

LEDGER = Path(pool.__file__).parent
QUERIES = load_queries()
USE = re.compile(r"""(?:quer(?:y|ies)\[|\b(?:fetch|commit)\()\s*"(\w+)["]""")

each_query = for_each(QUERIES)


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
def test_a_query_says_first_what_it_is_for(query: str) -> None:
    purpose = [line for line in header(query) if not line.startswith("-- $")]

    assert re.match(r"-- \S.*", purpose[0])
    assert purpose[-1].endswith(".")


@each_query
def test_a_query_describes_exactly_the_parameters_it_takes_in_order(query: str) -> None:
    described = [line for line in header(query) if line.startswith("-- $")]

    numbers = [int(re.match(r"-- \$(\d+) \w[\w ]*, \w|-- \$(\d+) ", line)[1]) for line in described]

    used = sorted({int(number) for number in re.findall(r"\$(\d+)", statement(query))})
    assert numbers == used == list(range(1, len(used) + 1))


@each_query
def test_a_described_type_is_the_one_the_statement_casts_to(query: str) -> None:
    casts = dict(re.findall(r"\$(\d+)::(\w+(?:\[\])?)", statement(query)))
    for line in header(query):
        described = re.match(r"-- \$(\d+) .*, (\w+(?:\[\])?)", line)
        if described and described[1] in casts:
            types = re.findall(r", (\w+(?:\[\])?)", line)

            assert casts[described[1]] in types, line


@each_query
def test_a_query_is_one_statement(query: str) -> None:
    text = statement(query)

    assert ";" not in text
    assert re.match(r"(SELECT|INSERT|UPDATE|DELETE|WITH)\b", text)


@each_query
def test_rows_that_workers_compete_for_are_skipped_not_waited_for(query: str) -> None:
    text = statement(query)

    if "SKIP LOCKED" in text:
        assert re.search(r"LIMIT|journal_positions", text), "a claim takes a bounded number of rows"


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
