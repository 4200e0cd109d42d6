"""What ops do on the command line while an exam runs: the waiting room, refunds due, exports."""

import csv
import io
from dataclasses import replace

import pytest

from quota_service.app.opening import Service
from quota_service.domain.errors import UnknownVenue
from quota_service.registration.act_for import move, release_for
from quota_service.registration.confirm import confirm
from quota_service.registration.waiting_room import join
from tests.support.bookings import book
from tests.support.command_line import CommandLine
from tests.support.draws import OUTCOME, DrawUnderTest
from tests.support.lost_shards import rows
from tests.support.rooms import open_room, stored
from tests.support.use_cases import hold, payment


async def told(command_line: CommandLine, *arguments: str) -> dict[str, str]:
    done = await command_line("room", *arguments)
    assert done.status == 0, done
    return dict(line.split("\t") for line in done.printed.splitlines())


async def test_a_waiting_room_is_shown_and_administered(
    service: Service, command_line: CommandLine
) -> None:
    await open_room(service)
    await join(service.stores.waiting_room, "exam-1", "candidate-1")

    shown = await told(command_line, "show", "exam-1")
    fixed = await told(command_line, "rate", "exam-1", "7.5")
    paused = await told(command_line, "pause", "exam-1")
    is_paused = (await stored(service)).is_paused
    resumed = await told(command_line, "resume", "exam-1")
    adaptive = await told(command_line, "rate", "exam-1", "adaptive")

    assert (shown["phase"], shown["waiting"], shown["paused"]) == ("before", "1", "no")
    assert (fixed["rate"], adaptive["rate"]) == ("7.5/s, set by ops", "20/s, adaptive")
    assert (paused["paused"], is_paused, resumed["paused"]) == ("yes", True, "no")


async def test_the_source_of_a_draw_is_put_in_and_shown(
    service: Service, command_line: CommandLine
) -> None:
    draw = DrawUnderTest(service)
    await draw.define()
    await join(service.stores.waiting_room, "exam-1", "candidate-1")
    joining = await told(command_line, "show", "exam-1")
    await draw.freeze(at_in_s=-20)

    reason = ("--reason", "drawn at noon")
    known = await told(command_line, "source", "exam-1", OUTCOME, *reason)
    other = await command_line("room", "source", "exam-1", "1 2 3", *reason)
    without = await command_line("room", "open-without-draw", "exam-1", *reason)

    assert (joining["entries"], joining["source"]) == ("not frozen", "not known")
    assert (known["entries"], known["source"]) == ("1", OUTCOME)
    assert (other.status, without.status) == (1, 1)
    assert "known already" in other.complaints
    (noted,) = await rows(service, "SELECT action, reason, key_id FROM ops_actions")
    assert noted[:2] == ("put-in-source", "drawn at noon")
    assert noted[2].startswith("cli:")


@pytest.mark.usefixtures("service")
async def test_an_exam_without_a_waiting_room_says_so(command_line: CommandLine) -> None:
    done = await command_line("room", "show", "exam-1")

    assert (done.status, done.printed) == (1, "")
    assert "has no waiting room" in done.complaints


@pytest.mark.parametrize("rate", ["fast", "0", "nan", "100001"])
async def test_a_rate_that_is_none_is_called_wrong(
    command_line: CommandLine, capsys: pytest.CaptureFixture[str], rate: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        await command_line("room", "rate", "exam-1", rate)

    assert ended.value.code == 2
    assert repr(rate) in capsys.readouterr().err


async def test_refunds_due_are_listed_and_settled_once_the_money_is_sent(
    service: Service, command_line: CommandLine
) -> None:
    unknown = replace(await hold(service, "candidate-1"), id=f"exam-1.0.{'a' * 24}")
    await confirm(service.stores.payments, payment(unknown, "event-1"))

    listed = (await command_line("refunds", "due", "list", "--exam", "exam-1")).printed
    refund, _, amount, reason, *whose = listed.rstrip("\n").split("\t")
    settled = await command_line("refunds", "due", "settle", refund)
    left = await command_line("refunds", "due", "list")
    missing = await command_line("refunds", "due", "settle", "999")

    assert (amount, reason) == ("8000 CNY", "unknown-reservation")
    assert whose[:2] == ["exam-1", unknown.id]
    assert (settled.status, settled.printed) == (
        0,
        f"settled {refund}: 8000 CNY, {unknown.id}\n",
    )
    assert left.printed == ""
    assert (missing.status, missing.complaints) == (1, "quota-service: no refund 999 is due\n")
    ((settled_by,),) = await rows(service, "SELECT settled_by FROM refunds_due")
    assert settled_by.startswith("cli:")


async def test_bookings_and_rosters_are_written_as_the_api_answers_them(
    service: Service, command_line: CommandLine
) -> None:
    booked = await book(service, "candidate-1")

    plain = await command_line("export", "bookings", "exam-1")
    for_people = await command_line("export", "bookings", "exam-1", "--excel")
    roster = await command_line("export", "roster", "exam-1", "--venue", booked.venue)
    odd = await command_line("export", "roster", "exam-1", "--venue", "atlantis")
    held = await hold(service, "candidate-2", booked.venue)
    both = await command_line("export", "roster", "exam-1", "--venue", booked.venue, "--holds")

    lines = list(csv.DictReader(io.StringIO(both.printed)))
    assert [(line["reservation"], line["state"]) for line in lines] == [
        (booked.id, "confirmed"),
        (held.id, "held"),
    ]
    (row,) = csv.DictReader(io.StringIO(plain.printed))
    (sitting,) = csv.DictReader(io.StringIO(roster.printed))
    assert (row["reservation"], row["state"]) == (booked.id, "confirmed")
    assert "venue_title" in for_people.printed.splitlines()[0]
    assert sitting["candidate"] == "candidate-1"
    assert (odd.status, odd.complaints) == (
        1,
        "quota-service: the exam has no venue 'atlantis'\n",
    )


async def test_a_venue_is_closed_emptied_and_opened_again(
    service: Service, command_line: CommandLine
) -> None:
    booked = await book(service, "candidate-1")
    held = await hold(service, "candidate-2")
    why = ("--reason", "burst pipe")

    closed = await command_line("venue", "close", "exam-1", "jinan", *why)
    moved = await command_line(
        "venue", "move-out", "exam-1", "jinan", "--to", "beijing", "tianjin", *why
    )
    nothing = await command_line("venue", "move-out", "exam-1", "jinan", *why)
    opened = await command_line(
        "venue", "open", "exam-1", "jinan", "--subject", "qms", "general", *why
    )
    shown = await command_line("venue", "show", "exam-1", "jinan")

    title, *general = [line.split("\t") for line in closed.printed.splitlines()][:2]
    assert dict(zip(title, *general, strict=True)) == {
        "subject": "general",
        "sale": "closed",
        "booked": "1",
        "held": "1",
        "left": "1",
    }
    ends = {line.split("\t")[0]: line.split("\t")[1:] for line in moved.printed.splitlines()}
    assert moved.status == 0
    assert ends[booked.id][:3] == ["candidate-1", "confirmed", "moved"]
    assert ends[held.id][:3] == ["candidate-2", "held", "moved"]
    assert sorted(end[3:] for end in ends.values()) == [["beijing", "list"], ["tianjin", "list"]]
    assert (nothing.status, nothing.printed) == (0, "")
    assert opened.printed == shown.printed
    sales = [line.split("\t")[:3] for line in shown.printed.splitlines()[1:]]
    assert sales[:3] == [["general", "open", "0"], ["qms", "open", "0"], ["ems", "closed", "0"]]
    actions = await rows(service, "SELECT action, reason FROM ops_actions ORDER BY id")
    assert actions == [
        (action, "burst pipe") for action in ("close-venue", "move-out", "move-out", "open-venue")
    ]


async def test_what_stays_at_a_venue_is_told_by_the_exit_status(
    service: Service, command_line: CommandLine
) -> None:
    booked = await book(service, "candidate-1")
    await command_line("venue", "close", "exam-1", "jinan", "--reason", "burst pipe")

    stayed = await command_line("venue", "move-out", "exam-1", "jinan", "--reason", "burst pipe")
    odd = await command_line("venue", "show", "exam-1", "atlantis")

    line = f"{booked.id}\tcandidate-1\tconfirmed\tstayed\t\tsold-out\n"
    assert (stayed.status, stayed.printed) == (1, line)
    assert (odd.status, odd.complaints) == (
        1,
        "quota-service: the exam has no venue 'atlantis'\n",
    )


@pytest.mark.parametrize("reason", ["", " no", "two\nlines"])
async def test_a_venue_is_not_closed_without_a_reason(
    service: Service, command_line: CommandLine, reason: str
) -> None:
    done = await command_line("venue", "close", "exam-1", "jinan", "--reason", reason)

    assert (done.status, done.printed) == (1, "")
    assert "reason" in done.complaints
    assert await rows(service, "SELECT action FROM ops_actions") == []


async def test_what_ops_did_is_listed_with_its_reason_and_outcome(
    service: Service, command_line: CommandLine
) -> None:
    held = await hold(service, "candidate-1")
    with pytest.raises(UnknownVenue):
        await move(service.stores.payments, held.id, "nowhere", "asked for it")
    await release_for(service.stores, held.id, "gave up")

    listed = await command_line("ops", "list", "--reservation", held.id)
    other = await command_line("ops", "list", "--exam", "exam-2")

    told = [line.split("\t")[1:] for line in listed.printed.splitlines()]
    assert told == [
        ["exam-1", "move", held.id, "unknown-venue", "", "-", "asked for it"],
        ["exam-1", "release", held.id, "done", "", "-", "gave up"],
    ]
    assert (other.status, other.printed) == (0, "")


async def test_an_exam_is_paused_resumed_and_its_holds_are_extended(
    service: Service, command_line: CommandLine
) -> None:
    held = await hold(service)

    paused = await command_line(
        "exam", "pause", "exam-1", "--venue", "jinan", "--reason", "no payments"
    )
    again = await command_line("exam", "pause", "exam-1", "--venue", "jinan", "--reason", "x")
    resumed = await command_line("exam", "resume", "exam-1", "--venue", "jinan", "--extend-holds")
    one = await command_line(
        *("exam", "extend-holds", "exam-1", "60", "--reservation", held.id, "--reason", "asked")
    )
    wrong = await command_line("exam", "extend-holds", "exam-1", "0", "--reason", "asked")
    await command_line("exam", "pause", "exam-1", "--stops", "changes", "--reason", "no payments")
    shown = await command_line("exam", "operations", "exam-1", "--last", "2")

    assert paused.printed.split("\t")[:3] == ["paused", "jinan/*", "reserving"]
    assert (again.status, "jinan/* is paused already" in again.complaints) == (1, True)
    told = [line.split("\t") for line in resumed.printed.splitlines()]
    assert [line[:2] for line in told] == [["resumed", "jinan/*"], ["extended", "1 holds"]]
    assert one.printed.split("\t") == ["extended", "1 holds", "60000 ms", "done\n"]
    assert wrong.status == 1
    told = [line.split("\t") for line in shown.printed.splitlines()]
    assert told[0][:3] == ["paused", "*/*", "changes"]
    assert [line[1:5] for line in told[1:]] == [
        ["pause", "*/*", "done", ""],
        ["extend-holds", held.id, "done", "1 holds"],
    ]
    assert told[1][5].startswith("cli:")
