"""What ops do with a waiting list on the command line, and by importing and archiving its exam."""

import dataclasses

import pytest

from quota_service.app.opening import Service
from quota_service.domain.errors import CandidatesWaiting
from quota_service.domain.exam import ListOrder, ReturnedSeats, ReturnRule, WaitingListRules
from quota_service.registration.archive import archive_exam
from quota_service.registration.import_exam import check_import, import_exam
from quota_service.registration.join_list import Wish, join_list
from tests.support.command_line import CommandLine
from tests.support.exams import make_exam
from tests.support.lost_shards import rows
from tests.support.retirement import finish, over, retain

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


async def test_a_list_keeps_its_order_while_somebody_waits(listed: Service) -> None:
    drawn = WaitingListRules(offer_ttl_s=600, order=ListOrder.DRAW)
    stored = listed.stores.registry.find("exam-1")
    exam = dataclasses.replace(stored, waiting_list=drawn)

    checked = await check_import(listed.stores.maintenance, exam)

    assert [str(problem) for problem in checked.problems] == [
        "waiting_list.order: cannot change from number to draw while 1 entry waits"
    ]


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


async def test_a_list_is_not_removed_while_candidates_wait_unless_it_is_forced(
    listed: Service,
) -> None:
    stores = listed.stores
    without = dataclasses.replace(stores.registry.find("exam-1"), waiting_list=None)

    with pytest.raises(CandidatesWaiting) as refused:
        await import_exam(stores.maintenance, without)
    checked = await check_import(stores.maintenance, without)
    await import_exam(stores.maintenance, without, force=True)
    again = await import_exam(stores.maintenance, without)

    assert (refused.value.waiting, str(refused.value)[:35]) == (
        1,
        "the definition has no waiting list,",
    )
    assert [problem.where for problem in checked.problems] == ["waiting_list"]
    assert await states(listed) == ["over"]
    assert again.changes == ()


async def test_a_list_ends_with_its_archived_exam(listed: Service) -> None:
    stores = listed.stores
    await import_exam(stores.maintenance, over(stores.registry.find("exam-1"), 1))

    await archive_exam(stores.maintenance, "exam-1")

    assert await states(listed) == ["over"]


async def test_entries_go_when_the_retention_of_the_journal_is_over(listed: Service) -> None:
    stores = listed.stores
    await import_exam(stores.maintenance, over(stores.registry.find("exam-1"), 20))
    await finish(listed)
    await retain(listed)

    await retain(listed, journal_retention_days=30)
    kept = await states(listed)
    while (await retain(listed, journal_retention_days=10))["journal"]:
        pass

    assert kept == ["waiting"]
    assert await states(listed) == []


async def states(service: Service) -> list[str]:
    """Return the states of all entries."""
    return [state for (state,) in await rows(service, "SELECT state FROM waiting_list_entries")]
