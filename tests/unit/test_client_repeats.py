"""What the client sends again, and what it does not, against a service that is told what to say."""

from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web

from quota_service.client import NoAnswer, ProblemError, QuotaClient, Repeats
from quota_service.client.problems import (
    NotReady,
    Overloaded,
    Paused,
    RateLimited,
    RefundUsed,
    SoldOut,
    TooManyWrongCodes,
)
from tests.support.told_service import (
    Answer,
    ToldService,
    broken,
    document,
    problem,
    told_service,
)

AT_ONCE = Repeats(tries_max=3, pause_s=0.0, pause_max_s=0.0)
ORDER = {"candidate": "c-1", "subjects": ["general"], "venues": ["jinan"]}
HELD = {"id": "exam-1.0.x", "state": "held"}


@pytest.fixture
async def told() -> AsyncIterator[ToldService]:
    async with told_service() as service:
        yield service


@pytest.fixture
async def client(told: ToldService) -> AsyncIterator[QuotaClient]:
    async with QuotaClient(told.url, key="k", repeats=AT_ONCE) as client:
        yield client


@pytest.mark.parametrize(
    "refusal",
    [
        problem("not-ready", 503, part="seats"),
        problem("overloaded", 503, part="service"),
        problem("rate-limited", 429, policy="key", limit_per_s=1),
        lambda: web.Response(status=502, text="<html>"),
        broken,
    ],
)
async def test_an_order_is_sent_again_under_its_key(
    told: ToldService, client: QuotaClient, refusal: Answer
) -> None:
    told.answers = [refusal, document(**HELD)]

    held = await client.reserve("exam-1", **ORDER)

    assert held["id"] == HELD["id"]
    first, second = told.asked
    assert (first.path, first.body) == (second.path, second.body)
    assert first.headers["Idempotency-Key"] == second.headers["Idempotency-Key"]


@pytest.mark.parametrize(
    ("refusal", "error"),
    [
        (problem("sold-out", 409, left=[]), SoldOut),
        (problem("paused", 503, reason="back soon", retry_after_s=1), Paused),
        (problem("too-many-wrong-codes", 429), TooManyWrongCodes),
    ],
)
async def test_what_people_have_to_be_told_is_not_sent_again(
    told: ToldService, client: QuotaClient, refusal: Answer, error: type[ProblemError]
) -> None:
    told.answers = [refusal]

    with pytest.raises(error) as raised:
        await client.reserve("exam-1", **ORDER)

    assert len(told.asked) == 1
    assert raised.value.request_id == "r-1"


@pytest.mark.parametrize("refusal", [problem("not-ready", 503, part="ledger"), broken])
async def test_what_a_repeat_would_do_again_is_sent_once(
    told: ToldService, client: QuotaClient, refusal: Answer
) -> None:
    told.answers = [refusal]

    with pytest.raises((NotReady, NoAnswer)):
        await client.make_codes("exam-1", "group", count=1, uses_max=1, note="", reason="a test")

    assert len(told.asked) == 1


async def test_what_was_not_started_is_sent_again_whatever_it_is(
    told: ToldService, client: QuotaClient
) -> None:
    told.answers = [problem("overloaded", 503, part="service"), document(codes=[])]

    await client.make_codes("exam-1", "group", count=1, uses_max=1, note="", reason="a test")

    assert len(told.asked) == 2


async def test_tries_are_bounded(told: ToldService, client: QuotaClient) -> None:
    told.answers = [problem("overloaded", 503, part="service")]

    with pytest.raises(Overloaded) as raised:
        await client.get_exam("exam-1")

    assert len(told.asked) == raised.value.tries == 3


async def test_a_pause_beyond_the_time_left_is_not_waited_for(
    told: ToldService, client: QuotaClient
) -> None:
    told.answers = [problem("rate-limited", 429, retry_after="3600")]

    with pytest.raises(RateLimited) as raised:
        await client.get_exam("exam-1")

    assert raised.value.retry_after_s == 3600


async def test_a_service_that_is_not_there_gives_no_answer() -> None:
    async with QuotaClient("http://127.0.0.1:1", repeats=AT_ONCE) as client:
        with pytest.raises(NoAnswer, match=r"GET http://127.0.0.1:1/v1/exams/exam-1"):
            await client.get_exam("exam-1")


async def test_a_refund_whose_answer_was_lost_is_answered_as_it_is(
    told: ToldService, client: QuotaClient
) -> None:
    used = problem("refund-used", 409, reservation="exam-1.0.x")
    told.answers = [broken, used, document(id="exam-1.0.x", state="refunded")]

    refunded = await client.refund("exam-1.0.x")

    assert refunded["state"] == "refunded"


async def test_a_second_refund_is_refused(told: ToldService, client: QuotaClient) -> None:
    told.answers = [problem("refund-used", 409, reservation="exam-1.0.x")]

    with pytest.raises(RefundUsed):
        await client.refund("exam-1.0.x")


async def test_a_problem_of_a_newer_service_is_an_error_with_its_document(
    told: ToldService, client: QuotaClient
) -> None:
    told.answers = [problem("from-tomorrow", 409, member=1)]

    with pytest.raises(ProblemError, match="from-tomorrow: as told") as raised:
        await client.get_exam("exam-1")

    assert raised.value.document["member"] == 1


async def test_ids_and_queries_are_quoted(told: ToldService, client: QuotaClient) -> None:
    told.answers = [document()]

    await client.get_candidate("exam-1", "a/b?c=d e")
    await client.get_candidate("exam-1", "..")
    await client.get_availability("exam-1", subjects=["general", "q&s"])
    await client.import_exam("exam-1", {}, force=True)

    assert [asked.path for asked in told.asked] == [
        "/v1/exams/exam-1/candidates/a%2Fb%3Fc%3Dd%20e",
        "/v1/exams/exam-1/candidates/..",
        "/v1/exams/exam-1/availability?subjects=general,q%26s",
        "/v1/exams/exam-1?force=true",
    ]


async def test_a_client_for_a_candidate_shares_the_session(
    told: ToldService, client: QuotaClient
) -> None:
    told.answers = [document()]

    await client.for_candidate("a-token").get_exam("exam-1")

    assert told.asked[0].headers["Authorization"] == "Bearer a-token"


async def test_no_error_shows_a_key_or_a_ticket() -> None:
    async with QuotaClient("http://127.0.0.1:1", key="a-key", repeats=AT_ONCE) as client:
        with pytest.raises(NoAnswer) as raised:
            await client.prove_entry("exam-1", ticket="a-ticket")

    frames = [frame.locals for frame in raised.traceback]
    assert "a-ticket" not in str(raised.value)
    assert not any("a-key" in repr(names.get("self")) for names in frames)


async def test_an_address_without_a_scheme_is_refused() -> None:
    with pytest.raises(ValueError, match="begins with https"):
        QuotaClient("localhost:8080")


async def test_a_session_that_was_given_stays_open(told: ToldService) -> None:
    told.answers = [document()]
    async with aiohttp.ClientSession() as session:
        async with QuotaClient(told.url, session=session) as client:
            await client.get_exam("exam-1")

        assert not session.closed
    assert "Authorization" not in told.asked[0].headers
