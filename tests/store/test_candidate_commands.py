"""What ops do for a candidate on the command line is what the calls of ops do."""

import pytest

from quota_service.app.opening import Service
from quota_service.domain.reservation import Reservation
from quota_service.observability.caller import Caller
from tests.support.bookings import check_agreement, recover
from tests.support.command_line import CommandLine, Done
from tests.support.lost_shards import rows
from tests.support.use_cases import hold

WHY = ("--reason", "told on the telephone")


async def columns(command_line: CommandLine, *arguments: str) -> list[str]:
    """Return the columns of the one line that a command prints."""
    done = await command_line(*arguments)
    assert (done.status, done.complaints) == (0, ""), done
    (line,) = done.printed.splitlines()
    return line.split("\t")


async def act(command_line: CommandLine, what: str, reservation: str, *more: str) -> list[str]:
    return await columns(command_line, "candidate", what, reservation, *more, *WHY)


async def test_a_candidate_is_reserved_for_moved_marked_as_paid_and_refunded(
    service: Service, command_line: CommandLine
) -> None:
    order = ("--subject", "general", "--venue", "jinan", "--key", "telephone-1")
    made = await act(command_line, "reserve", "exam-1", "candidate-1", *order)
    again = await act(command_line, "reserve", "exam-1", "candidate-1", *order)
    moved = await act(command_line, "move", made[0], "tianjin")
    paid = await act(command_line, "mark-paid", made[0], "bank 7")
    (shown,) = (
        await command_line("candidate", "show", "exam-1", "candidate-1")
    ).printed.splitlines()
    refunded = [await act(command_line, "refund", made[0]) for _ in range(2)]

    assert made[1:5] == ["held", "jinan", "general", "8000 CNY"]
    assert again == made
    assert moved[1:3] == ["held", "tianjin"]
    assert paid == [made[0], "confirmed"]
    assert shown.split("\t")[1:] == ["confirmed", *moved[2:6], "confirmed bank 7"]
    assert [each[1] for each in refunded] == ["refunded"] * 2
    told = (await command_line("candidate", "show", "exam-1", "candidate-1")).printed
    assert told.splitlines()[1].split("\t")[-2:] == ["by ops", "due"]
    noted = await rows(service, "SELECT action, reason, key_id FROM ops_actions")
    assert [action for action, _, _ in noted] == (
        ["reserve", "reserve", "move", "mark-paid", "refund", "refund"]
    )
    assert {reason for _, reason, _ in noted} == {WHY[1]}
    assert all(by.startswith("cli:") for _, _, by in noted)
    await recover(service)
    await check_agreement(service, booked=0)


async def test_a_candidate_is_shown_with_what_it_was_refused(
    service: Service, command_line: CommandLine
) -> None:
    history = service.context.refusals.history
    for request in ("request-1", "request-2"):
        caller = Caller("key-1", request)
        history.add("sold-out", {"exam": "exam-1"}, "candidate-1", caller)
    await history.write()

    done = await command_line("candidate", "show", "exam-1", "candidate-1")

    lines = [line.split("\t") for line in done.printed.splitlines()]
    assert {(word, reservation, slug) for word, reservation, _, slug, *_ in lines} == {
        ("refused", "-", "sold-out")
    }
    assert sum(int(line[4]) for line in lines) == 2  # in a minute, or in two
    assert lines[0][5:] == ["key-1", "request-2"]


async def test_a_hold_is_given_back(service: Service, command_line: CommandLine) -> None:
    held: Reservation = await hold(service)

    released = await act(command_line, "release", held.id)

    assert released[1] == "released"


async def test_money_that_did_not_arrive_is_due_again(
    service: Service, command_line: CommandLine
) -> None:
    held = await hold(service)
    await act(command_line, "mark-paid", held.id, "bank 7")
    await act(command_line, "refund", held.id)
    refund, *_ = await columns(command_line, "refunds", "due", "list")
    await columns(command_line, "refunds", "due", "settle", refund)

    listed = await columns(command_line, "refunds", "due", "list", "--reservation", held.id)
    when = ("--settled-at", listed[-1].removeprefix("settled "))
    reopen = ("refunds", "due", "reopen", refund)
    (opened,) = await columns(command_line, *reopen, *when, *WHY)
    due = await columns(command_line, "refunds", "due", "list")
    await columns(command_line, "refunds", "due", "settle", refund)
    await rows(service, "UPDATE refunds_due SET settled_at = settled_at + interval '1 s'")
    again = await command_line(*reopen, *when, *WHY)

    assert opened == f"due again {refund}: 8000 CNY, {held.id}"
    assert due[0] == refund
    assert (again.status, again.printed) == (1, "")
    assert "settled last" in again.complaints
    assert await rows(service, "SELECT settled_at FROM refunds_due WHERE settled_at IS NULL") == []


REFUSED = {
    ("show", "exam-1", "no such"): "candidate",
    ("show", "exam-9", "candidate-1"): "exam-9",
    ("release", "exam-1.0.x", *WHY): "no reservation",
    ("refund", "exam-1.0.x", "--reason", " late"): "reason",
    ("refund", "exam-1.0.x", "--reason", "x" * 501): "reason",
    ("refund", "exam-1.0.x", "--reason", "a\nb"): "reason",
    ("refund", "exam-1.0.x", "--reason", "\udcff"): "reason",
    ("move", "exam-1.0.x", "Tianjin", *WHY): "venue",
    ("mark-paid", "exam-1.0.x", "", *WHY): "reference",
    (
        *("reserve", "exam-1", "c-1", "--venue", "jinan", "--venue", "jinan"),
        *("--subject", "general", *WHY),
    ): "duplicated",
}


@pytest.mark.parametrize(("arguments", "named"), REFUSED.items())
async def test_what_is_wrong_is_named_in_one_line_and_nothing_is_done(
    service: Service, command_line: CommandLine, arguments: tuple[str, ...], named: str
) -> None:
    done: Done = await command_line("candidate", *arguments)

    assert (done.status, done.printed) == (1, "")
    assert named in done.complaints
    assert len(done.complaints.splitlines()) == 1
    assert await rows(service, "SELECT * FROM ops_actions") == []


@pytest.mark.usefixtures("service")
@pytest.mark.parametrize("refund", ["0", "-1", "9" * 30, "x"])
async def test_an_id_that_is_none_is_called_wrong(
    command_line: CommandLine, capsys: pytest.CaptureFixture[str], refund: str
) -> None:
    for command in (("settle",), ("reopen", "--settled-at", "2023-03-15T01:00:00Z", *WHY)):
        with pytest.raises(SystemExit) as ended:
            await command_line("refunds", "due", *command, "--", refund)

        assert ended.value.code == 2
        assert repr(refund) in capsys.readouterr().err
