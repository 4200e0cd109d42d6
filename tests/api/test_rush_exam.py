"""The rehearsal on a service that is used: it makes its own exam, ends it, and touches no other."""

import asyncio
import json
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from loadtest.rush.exam import (
    capacities,
    copied,
    definition,
    kept_back,
    more_seats,
    seats_of,
    seconds,
)
from loadtest.rush.options import read_options
from loadtest.rush.own_exam import NotOurExamError, OwnExam
from quota_service.client.call import Call
from quota_service.registration.drain_journal import drain_journal
from tests.conftest import Running
from tests.support.exams import exam_definition
from tests.support.lost_shards import rows
from tests.support.patience import LIMIT_S
from tests.support.refusals import assert_refused

OPTIONS = read_options(["--no-room", "--exam", "rehearsal-1"])
OPENS_S = 1_700_000_000.0


@dataclass(frozen=True, slots=True)
class Answered:
    status: int
    body: Any

    @property
    def is_ok(self) -> bool:
        return self.status in {200, 201}

    @property
    def slug(self) -> str:
        return "" if self.is_ok else str(self.body.get("type", "")).rpartition("/")[2]


@dataclass(slots=True)
class Desk:
    """Ops as the rehearsal calls them: one request after the other."""

    url: str
    key: str
    instead: Callable[[str, str], Answered | None] = lambda _method, _path: None

    def send(self, _step: str, call: Call) -> Answered:
        told = self.instead(call.method, call.path)
        if told is not None:
            return told
        request = urllib.request.Request(  # noqa: S310  loopback
            f"{self.url}{call.path}",
            method=call.method,
            data=call.body,
            headers={"Authorization": f"Bearer {self.key}"},
        )
        try:
            with urllib.request.urlopen(request, timeout=LIMIT_S) as response:  # noqa: S310  loopback
                return Answered(response.status, json.load(response))
        except urllib.error.HTTPError as error:
            with error:
                return Answered(error.code, json.load(error))

    def get(self, path: str) -> Any:
        return self.send("", Call("GET", path)).body


@pytest.fixture
def desk(running: Running) -> Desk:
    return Desk(running.addresses.api, running.client.ops_key)


async def everything(running: Running) -> list[Any]:
    """Every exam as it is stored."""
    return await rows(running.service, "SELECT id, definition, revision FROM exams ORDER BY id")


async def test_an_exam_that_is_there_is_never_touched(running: Running, desk: Desk) -> None:
    await running.client.import_exam(exam_definition("rehearsal-1"))
    before = await everything(running)
    own = OwnExam("rehearsal-1", desk)
    mine = definition(OPTIONS, OPENS_S, seats_of(100))

    with pytest.raises(NotOurExamError, match="there already"):
        await asyncio.to_thread(own.make, mine)
    with pytest.raises(NotOurExamError, match="not made by this rehearsal"):
        await asyncio.to_thread(own.change, mine)
    with pytest.raises(NotOurExamError, match="not made by this rehearsal"):
        await asyncio.to_thread(own.end, mine, [])

    assert await everything(running) == before


async def test_an_exam_with_a_name_of_a_real_one_is_no_rehearsals(desk: Desk) -> None:
    for name in ("exam-1", "rush-1", "rehearsal"):
        with pytest.raises(NotOurExamError, match="no name for a rehearsal"):
            OwnExam(name, desk)


async def test_nothing_is_made_on_a_service_that_cannot_tell_which_exams_there_are(
    running: Running, desk: Desk
) -> None:
    before = await everything(running)
    away = {"type": "/problems/not-ready"}
    desk.instead = lambda method, _: Answered(503, away) if method == "GET" else None

    with pytest.raises(NotOurExamError, match="503 not-ready"):
        await asyncio.to_thread(
            OwnExam("rehearsal-1", desk).make, definition(OPTIONS, OPENS_S, seats_of(100))
        )

    assert await everything(running) == before


async def test_at_its_end_the_exam_is_archived_and_only_its_own_money_is_settled(
    running: Running, desk: Desk
) -> None:
    api, stores = running.client, running.service.stores
    clock_s = (await running.service.stores.seats.clock_ms()) / 1000
    mine = definition(OPTIONS, clock_s - 60, seats_of(100))
    own = OwnExam("rehearsal-1", desk)
    await asyncio.to_thread(own.make, mine)
    held = {
        exam: (
            await api.reserve("c-1", ("general",), ("jinan",), exam=exam, accepted_notice=notice)
        ).json
        for exam, notice in (("exam-1", "2023-1"), ("rehearsal-1", "rush-1"))
    }
    for reservation in held.values():
        assert (await api.pay(reservation, amount=1)).json["outcome"] == "refund_due"
        await api.call("DELETE", f"/v1/reservations/{reservation['id']}")
    due = (await api.get("/v1/exams/rehearsal-1/refunds-due", key=api.ops_key)).json["refunds_due"]
    await drain_journal(stores.maintenance, stores.registry.shard("rehearsal-1"), 1000, 3)
    real = [row for row in await everything(running) if row[0] == "exam-1"]

    left = await asyncio.to_thread(own.end, mine, [row["id"] for row in due])

    shown = await api.get("/v1/exams/rehearsal-1", key=None)
    still_due = {
        exam: (await api.get(f"/v1/exams/{exam}/refunds-due", key=api.ops_key)).json["refunds_due"]
        for exam in held
    }
    assert left == ""
    assert_refused(shown, 410, "exam-archived")
    with pytest.raises(NotOurExamError, match="410 exam-archived"):
        await asyncio.to_thread(OwnExam("rehearsal-1", desk).make, mine)
    assert (len(still_due["exam-1"]), still_due["rehearsal-1"]) == (1, [])
    assert [row for row in await everything(running) if row[0] == "exam-1"] == real


async def test_the_seats_kept_back_come_by_a_release_that_the_service_carries_out(
    running: Running, desk: Desk
) -> None:
    whole = seats_of(100)
    early = kept_back(whole, 0.5)
    more = more_seats(whole, early)
    own = OwnExam("rehearsal-1", desk)
    opens_s = (await running.service.stores.seats.clock_ms()) / 1000
    await asyncio.to_thread(own.make, definition(OPTIONS, opens_s, early))

    await asyncio.to_thread(own.plan_release, opens_s + 600, more)

    planned = await running.client.call(
        "GET", "/v1/exams/rehearsal-1/seat-releases", key=running.client.ops_key
    )
    (release,) = planned.json["releases"]
    assert (release["state"], release["seats"]) == ("planned", more)
    for venue, by_subject in whole.items():
        for subject, seats in by_subject.items():
            assert early[venue][subject] + more.get(venue, {}).get(subject, 0) == seats


@pytest.mark.parametrize(
    ("answers", "left"),
    [
        ([200], ""),
        ([409, 503, 200], ""),
        ([404], "over, and not archived: 404 not-found"),
        ([409] * 30, "over, and not archived: 409 not-over"),
    ],
)
async def test_the_exam_is_archived_or_it_is_told_that_it_is_not(
    running: Running, desk: Desk, answers: list[int], left: str
) -> None:
    clock_s = (await running.service.stores.seats.clock_ms()) / 1000
    mine = definition(OPTIONS, clock_s - 60, seats_of(100))
    own = OwnExam("rehearsal-1", desk, lambda _: None)
    await asyncio.to_thread(own.make, mine)
    slugs = {404: "not-found", 409: "not-over", 503: "not-ready"}

    def archived(_method: str, path: str) -> Answered | None:
        if not path.endswith("/archive"):
            return None
        status = answers.pop(0)
        return Answered(status, {"type": f"/problems/{slugs.get(status, '')}"})

    desk.instead = archived
    told = await asyncio.to_thread(own.end, mine, [])

    assert told.endswith(left)
    assert (told == "") == (left == "")


@pytest.mark.parametrize("has_room", [False, True])
async def test_a_copy_has_all_of_the_exam_but_its_id_windows_and_times(
    running: Running, desk: Desk, has_room: bool
) -> None:
    room = {"rate_per_s": 7.5, "rate_max_per_s": 9, "rate_min_per_s": 2, "idle_s": 500}
    document = {**exam_definition("exam-1"), **({"waiting_room": room} if has_room else {})}
    await running.client.import_exam(document)
    given = await asyncio.to_thread(desk.get, "/v1/exams/exam-1")
    seats = capacities(await asyncio.to_thread(desk.get, "/v1/exams/exam-1/availability"))
    options = read_options(
        ["--like", "exam-1", "--target", desk.url, "--exam", "rehearsal-1", "--size", "15s"]
    )
    opens_s = (await running.service.stores.seats.clock_ms()) / 1000 + 60
    before = [row for row in await everything(running) if row[0] == "exam-1"]

    early = copied(given, options, opens_s, kept_back(seats, 0.5))
    whole = copied(given, options, opens_s, seats)
    own = OwnExam("rehearsal-1", desk)
    await asyncio.to_thread(own.make, early)
    assert await asyncio.to_thread(own.change, whole)

    made = await asyncio.to_thread(desk.get, "/v1/exams/rehearsal-1")
    shown = await asyncio.to_thread(desk.get, "/v1/exams/rehearsal-1/availability")
    for name in ("title", "time_zone", "fee", "fair_use", "notice", "subjects", "venues"):
        assert made[name] == given[name]
    assert capacities(shown) == seats
    assert seconds(made["registration"]["opens_at"]) == pytest.approx(opens_s, abs=0.002)
    assert made["hold"]["ttl_s"] == options.hold_ttl_s
    assert lengths(made) == lengths(given)
    if has_room:
        taken = {**given["waiting_room"], "pass_ttl_s": 60, "idle_s": 60, "claim_grace_s": 2}
        assert made["waiting_room"] == taken
    else:
        assert made.get("waiting_room") is None
    assert [row for row in await everything(running) if row[0] == "exam-1"] == before


def lengths(exam: Any) -> list[tuple[str, float, float]]:
    """How long each session is, and how long after the first it begins."""
    first_s = seconds(exam["sessions"][0]["starts_at"])
    return [
        (
            each["id"],
            seconds(each["starts_at"]) - first_s,
            seconds(each["ends_at"]) - seconds(each["starts_at"]),
        )
        for each in exam["sessions"]
    ]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "--like needs --host"),
        (["--host", "http://q", "--seats", "9"], "leave out --seats and --rate"),
    ],
)
def test_a_copy_needs_a_service_and_has_the_seats_of_its_exam(
    words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        read_options(["--like", "exam-1", *words])

    assert told in capsys.readouterr().err
