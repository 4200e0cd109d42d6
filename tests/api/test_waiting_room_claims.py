"""Claims over HTTP: one place for one turn, in time, by the candidate's own ticket."""

import datetime as dt
import io

import pytest
import redis.asyncio

from quota_service.waiting_room.room import LAST_RANK
from quota_service.waiting_room.tickets import IN_DRAW, Ticket, write_ticket
from tests.api.conftest import NothingChanges
from tests.api.test_refusals_logged import key_id, lines
from tests.conftest import Running
from tests.support.records import redis_now_ms
from tests.support.refusals import assert_refused
from tests.support.room_calls import SHARD, claim, finish, join
from tests.support.rooms import admit, admit_draw, let_open, make_room


async def test_a_pass_says_whose_it_is_and_until_when(
    queueing: Running, redis_client: "redis.asyncio.Redis"
) -> None:
    ticket = (await join(queueing.client)).json["ticket"]
    await admit(queueing.service, serving=1)

    granted = (await claim(queueing.client, ticket)).json

    left = dt.datetime.fromisoformat(granted["expires_at"]).timestamp() * 1000
    assert left - await redis_now_ms(redis_client) == pytest.approx(600_000, abs=60_000)
    assert (granted["exam"], granted["candidate"], granted["idle_s"]) == (
        "exam-1", "candidate-1", 300
    )  # fmt: skip


async def test_a_finished_candidate_frees_the_place_and_starts_again_at_the_back(
    queueing: Running, redis_client: "redis.asyncio.Redis"
) -> None:
    ticket = (await join(queueing.client)).json["ticket"]
    await join(queueing.client, "candidate-2")
    await admit(queueing.service, serving=1)
    await claim(queueing.client, ticket)
    assert await redis_client.zcard(SHARD.key("places")) == 1

    done = [await finish(queueing.client) for _ in range(2)]
    used = await claim(queueing.client, ticket)
    again = (await join(queueing.client)).json

    assert [reply.status for reply in done] == [200, 200]
    assert done[0].json == done[1].json
    assert await redis_client.zcard(SHARD.key("places")) == 0
    assert_refused(used, 409, "ticket-used")
    assert again["number"] == 3


async def test_a_claim_and_a_place_given_up_have_a_line_each_and_repeats_have_none(
    queueing: Running, log_lines: io.StringIO
) -> None:
    ticket = (await join(queueing.client)).json["ticket"]
    await admit(queueing.service, serving=1)

    claims = [await claim(queueing.client, ticket) for _ in range(2)]
    ends = [await finish(queueing.client) for _ in range(2)]

    told = lines(log_lines, message="waiting room step", exam="exam-1", candidate="candidate-1")
    asked = [reply.headers["X-Request-ID"] for reply in (claims[0], ends[0])]
    assert [(line["step"], line["request_id"]) for line in told] == [
        ("claim", asked[0]),
        ("finish", asked[1]),
    ]
    assert told[0]["place"] == 1
    assert told[0]["key_id"] == key_id(queueing.client.frontend_key)


async def test_an_idle_place_is_free_for_others_and_its_ticket_is_used(
    queueing: Running, redis_client: "redis.asyncio.Redis"
) -> None:
    ticket = (await join(queueing.client)).json["ticket"]
    await admit(queueing.service, serving=1)
    await claim(queueing.client, ticket)

    now_ms = await redis_now_ms(redis_client)
    await redis_client.zadd(SHARD.key("places"), {"candidate-1": now_ms})
    used = await claim(queueing.client, ticket)
    statistics = await queueing.service.stores.waiting_room.room_statistics.read(SHARD)

    assert_refused(used, 409, "ticket-used")
    assert statistics.places == 0
    assert (await join(queueing.client)).json["number"] == 2


async def test_a_turn_that_has_passed_goes_to_the_back_but_a_pass_stays_a_pass(
    queueing: Running,
) -> None:
    late, prompt = [
        (await join(queueing.client, candidate)).json["ticket"] for candidate in ("late", "prompt")
    ]
    await admit(queueing.service, serving=2)
    first = await claim(queueing.client, prompt, "prompt")
    await admit(queueing.service, late_through=2)

    refused = await claim(queueing.client, late, "late")
    again = await claim(queueing.client, prompt, "prompt")
    behind = (await join(queueing.client, "late")).json

    assert_refused(refused, 409, "turn-passed")
    assert (again.status, again.body) == (200, first.body)
    assert behind["number"] == 3


async def test_a_late_rank_joins_the_queue_while_the_draw_goes_on(drawing: Running) -> None:
    ticket = (await join(drawing.client)).json["ticket"]
    await let_open(drawing.service)
    rank = drawing.service.stores.waiting_room.rooms.current("exam-1").status.rank("candidate-1")
    await admit(drawing.service, threshold=rank, late_threshold=rank)

    refused = await claim(drawing.client, ticket)
    behind = await join(drawing.client)

    assert_refused(refused, 409, "turn-passed")
    assert (behind.json["kind"], behind.json["number"]) == ("number", 1)
    early = await claim(drawing.client, behind.json["ticket"])
    assert_refused(early, 409, "not-your-turn")


async def test_a_later_ticket_spends_the_ones_before_it(drawing: Running) -> None:
    """Somebody in the draw who takes a number too has one place after the other, never two."""
    drawn = (await join(drawing.client)).json["ticket"]
    await let_open(drawing.service)
    number = (await join(drawing.client)).json["ticket"]
    await admit(drawing.service, threshold=LAST_RANK, serving=1)

    by_number = await claim(drawing.client, number)
    meanwhile = await claim(drawing.client, drawn)
    await finish(drawing.client)
    replayed = [await claim(drawing.client, each) for each in (drawn, number)]

    assert (by_number.status, meanwhile.status) == (201, 200)
    assert by_number.body == meanwhile.body
    assert [reply.slug for reply in replayed] == ["ticket-used", "ticket-used"]


async def test_a_draw_ticket_spends_the_number_that_was_taken_besides(drawing: Running) -> None:
    """One wait is one place: a number got after the opening is no second go for the draw."""
    drawn = (await join(drawing.client)).json["ticket"]
    await let_open(drawing.service)
    number = (await join(drawing.client)).json["ticket"]
    other = (await join(drawing.client, "candidate-2")).json["ticket"]
    await admit(drawing.service, threshold=LAST_RANK, serving=2)

    by_draw = await claim(drawing.client, drawn)
    await finish(drawing.client)
    replayed = [await claim(drawing.client, each) for each in (number, drawn)]
    by_another = await claim(drawing.client, other, "candidate-2")

    assert by_draw.status == 201
    assert [reply.slug for reply in replayed] == ["ticket-used", "ticket-used"]
    assert by_another.status == 201


async def test_before_the_opening_all_are_told_to_ask_again_at_the_same_time(
    drawing: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rank is as secret as the seed until then, and a wait by rank would tell it."""
    await admit(drawing.service, drawn=10_000)
    cache = drawing.service.stores.waiting_room.rooms
    by_rank = sorted(
        (f"candidate-{n}" for n in range(400)), key=cache.current("exam-1").status.rank
    )
    monkeypatch.setattr(cache, "_jitter", lambda: 0.0)

    told = []
    for candidate in (*by_rank[:3], *by_rank[-3:]):
        ticket = (await join(drawing.client, candidate)).json["ticket"]
        refused = await claim(drawing.client, ticket, candidate)
        assert_refused(refused, 409, "not-your-turn")
        told.append(refused.json["poll_after"])

    assert told == [drawing.service.settings.waiting_room_poll_max_s] * 6


def forged(ticket: str) -> dict[str, tuple[str, str, str]]:
    """Return wrong claims by name: candidate, ticket, and the slug it is refused with."""
    mine = make_room()
    payload, _, signature = ticket.partition(".")
    later = write_ticket(mine, Ticket("exam-1", "candidate-1", 1)).partition(".")[0]
    foreign = Ticket("exam-2", "candidate-1", IN_DRAW)
    return {
        "empty": ("candidate-1", "", "ticket-invalid"),
        "no ticket": ("candidate-1", "ticket", "ticket-invalid"),
        "control characters": ("candidate-1", "\x00\n|.", "ticket-invalid"),
        "not ASCII": ("candidate-1", "票.票", "ticket-invalid"),
        "unsigned": ("candidate-1", f"{payload}.", "ticket-invalid"),
        "signature of other bytes": (
            "candidate-1", f"{payload}.{signature[::-1]}", "ticket-invalid",
        ),
        "another place": ("candidate-1", f"{later}.{signature}", "ticket-invalid"),
        "by another key": (
            "candidate-1", write_ticket(mine, Ticket("exam-1", "candidate-1", 1)), "ticket-invalid",
        ),
        "of another candidate": ("candidate-2", ticket, "ticket-invalid"),
        "of another exam": (
            "candidate-1", write_ticket(make_room(exam="exam-2"), foreign),
            "ticket-of-another-exam",
        ),
    }  # fmt: skip


async def test_a_forged_or_foreign_ticket_is_refused_and_nothing_changes(
    drawing: Running, nothing_changes: NothingChanges
) -> None:
    ticket = (await join(drawing.client)).json["ticket"]
    await let_open(drawing.service)
    await admit_draw(drawing.service)

    for name, (candidate, text, slug) in forged(ticket).items():
        async with nothing_changes():
            refused = await claim(drawing.client, text, candidate)
        assert refused.slug == slug, name
        assert_refused(refused, 422, slug, "ticket")
    assert (await claim(drawing.client, ticket)).status == 201


async def test_claims_that_are_refused_change_nothing(
    queueing: Running, nothing_changes: NothingChanges
) -> None:
    early = (await join(queueing.client, "early")).json["ticket"]
    late = (await join(queueing.client, "late")).json["ticket"]
    done = (await join(queueing.client, "done")).json["ticket"]
    await admit(queueing.service, serving=3)
    await claim(queueing.client, done, "done")
    await finish(queueing.client, "done")
    await admit(queueing.service, late_through=2)
    last = (await join(queueing.client, "last")).json["ticket"]

    async with nothing_changes():
        refused = [
            await claim(queueing.client, early, "early"),
            await claim(queueing.client, late, "late"),
            await claim(queueing.client, done, "done"),
            await claim(queueing.client, last, "last"),
        ]

    assert [reply.slug for reply in refused] == [
        "turn-passed", "turn-passed", "ticket-used", "not-your-turn"
    ]  # fmt: skip
