"""What ops do with a waiting list on the command line."""

import dataclasses

import pytest

from quota_service.app.opening import Service
from quota_service.domain.exam import ReturnedSeats, ReturnRule, WaitingListRules
from quota_service.registration.import_exam import import_exam
from quota_service.registration.join_list import Wish, join_list
from tests.support.command_line import CommandLine
from tests.support.exams import make_exam

REASON = ("--reason", "the hall is counted again")


async def told(command_line: CommandLine, *arguments: str) -> dict[str, str]:
    done = await command_line("list", *arguments)
    assert done.status == 0, done
    return dict(line.split("\t") for line in done.printed.splitlines())


@pytest.fixture
async def listed(service: Service) -> Service:
    exam = dataclasses.replace(
        make_exam(),
        returned=ReturnedSeats(ReturnRule.LIST_FIRST),
        waiting_list=WaitingListRules(offer_ttl_s=600),
    )
    await import_exam(service.stores.maintenance, exam)
    wish = Wish("candidate-1", ("ems",), ("tianjin",))
    await join_list(service.stores.waiting_list, "exam-1", wish, "key-1")
    return service


@pytest.mark.usefixtures("listed")
async def test_a_waiting_list_is_shown_and_administered(command_line: CommandLine) -> None:
    shown = await told(command_line, "show", "exam-1")
    paused = await told(command_line, "pause", "exam-1", *REASON)
    suspended = await told(command_line, "suspend", "exam-1", *REASON)
    capped = await told(command_line, "cap", "exam-1", "50", *REASON)
    resumed = await told(command_line, "resume", "exam-1", *REASON)
    reopened = await told(command_line, "reopen", "exam-1", *REASON)
    defined = await told(command_line, "cap", "exam-1", "defined", *REASON)

    assert (shown["waiting"], shown["tianjin/ems"], shown["last_number"]) == ("1", "1", "1")
    assert (paused["paused"], resumed["paused"]) == ("yes", "no")
    assert (suspended["suspended"], reopened["suspended"]) == ("yes", "no")
    assert (capped["length_max"], defined["length_max"]) == ("50", "10000")


@pytest.mark.usefixtures("listed")
async def test_a_candidate_is_printed_with_its_entries(command_line: CommandLine) -> None:
    done = await command_line("candidate", "show", "exam-1", "candidate-1")

    (line,) = done.printed.splitlines()
    kind, _, *columns = line.split("\t")
    assert (kind, columns) == ("listed", ["waiting", "1", "ems", "tianjin", "-"])


@pytest.mark.usefixtures("service")
async def test_an_exam_without_a_waiting_list_says_so(command_line: CommandLine) -> None:
    done = await command_line("list", "show", "exam-1")

    assert (done.status, done.printed) == (1, "")
    assert "has no waiting list" in done.complaints
