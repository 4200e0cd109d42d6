"""What ops do with seats that are kept for a group, on the command line."""

import time
from pathlib import Path

import pytest

from quota_service.app.opening import Service
from quota_service.definitions.reading import parse_exam
from quota_service.domain.definition import rfc3339
from quota_service.registration.import_exam import import_exam
from quota_service.registration.reserve import Order, reserve
from tests.support.command_line import CommandLine
from tests.support.exams import exam_definition

REASON = ("--reason", "the letters of 10 March")


@pytest.fixture
async def kept(service: Service) -> Service:
    """A service whose exam keeps two seats for teachers."""
    table = {
        "id": "teachers",
        "title": "Teachers",
        "until": rfc3339(round((time.time() + 1800) * 1000)),
        "seats": {"jinan": {"general": 2}},
    }
    exam = parse_exam({**exam_definition(), "set_asides": [table]})
    await import_exam(service.stores.maintenance, exam)
    return service


async def printed(command_line: CommandLine, *arguments: str) -> list[list[str]]:
    done = await command_line("set-aside", *arguments)
    assert done.status == 0, done
    return [line.split("\t") for line in done.printed.splitlines()]


async def test_codes_are_made_listed_used_and_revoked(
    kept: Service, command_line: CommandLine, tmp_path: Path
) -> None:
    at = ("exam-1", "teachers")
    given = tmp_path / "codes.txt"
    given.write_text("q4tw-81mz-7xke-02rv\n\n", encoding="utf-8")

    [[made, code]] = await printed(command_line, "new", *at, "--count", "1", *REASON)
    [[taken, told]] = await printed(command_line, "new", *at, "--codes", str(given), *REASON)
    order = Order("c-1", ("general",), ("jinan",), accepted_notice=True, code=code)
    await reserve(kept.stores.reservations, "exam-1", order, "key-1")
    listed = await printed(command_line, "codes", *at)
    [revoked] = await printed(command_line, "revoke", *at, taken, *REASON)
    await printed(
        command_line, "hand-out", *at, "c-2", "--subject", "general", "--venue", "jinan", *REASON
    )
    shown = await printed(command_line, "show", "exam-1")

    assert told == "given"
    assert [line[:2] for line in listed] == [[made, "1 of 1"], [taken, "0 of 1"]]
    assert revoked[3].startswith("revoked ")
    assert [shown[1][0], *shown[1][2:]] == ["teachers", "on", "jinan/general", "2", "0"]
