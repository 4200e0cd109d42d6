"""A drand round is fetched from servers that answer slowly, wrongly, too much or not at all."""

import asyncio
import dataclasses
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from quota_service.app.opening import Service
from quota_service.domain.errors import SignatureInvalid
from quota_service.registration import fetch_beacon as fetching
from quota_service.registration.decide_source import open_without_source, put_in_source
from quota_service.registration.fetch_beacon import SourceUnavailableError, fetch_beacon
from quota_service.registration.room_cache import RoomRefresh
from quota_service.settings import Settings
from quota_service.waiting_room.drand import QUICKNET, BeaconRefused, check_signature
from tests.support.draws import CHAIN, ROUND, SIGNATURE, DrawUnderTest, beacon, drand_source

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]
NOWHERE = "http://127.0.0.1:1"
QUICKNET_123 = (
    "b75c69d0b72a5d906e854e808ba7e2accb1542ac355ae486d591aa9d43765482"
    "e26cd02df835d3546d23c4b13e0dfc92"
)
"""The signature of round 123 of quicknet, as everybody can look it up."""


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.with_limits(RoomRefresh(10))


@asynccontextmanager
async def serving(answer: Answer) -> AsyncIterator[str]:
    """Serve one answer in place of drand, and lend its address."""
    app = web.Application()
    app.router.add_get("/{chain}/public/{round}", answer)
    async with TestServer(app) as server:
        yield str(server.make_url("")).rstrip("/")


def answering(body: object, status: int = 200) -> Answer:
    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, body=orjson.dumps(body))

    return answer


async def right(request: web.Request) -> web.StreamResponse:
    assert request.path == f"/{CHAIN}/public/{ROUND}"
    return web.json_response(beacon())


async def never(_request: web.Request) -> web.StreamResponse:
    await asyncio.sleep(60)
    raise AssertionError


async def endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b"[" * 1024)


async def elsewhere(_request: web.Request) -> web.StreamResponse:
    raise web.HTTPFound("/")


async def cut_off(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": "300"})
    await response.prepare(request)
    await response.write(b'{"round":')
    assert request.transport is not None
    request.transport.close()
    return response


WRONG: dict[str, tuple[Answer, str]] = {
    "another round": (answering(beacon(round=ROUND + 1)), "not the beacon of round"),
    "another randomness": (answering(beacon(randomness="00" * 32)), "not the SHA-256"),
    "a short signature": (answering(beacon(signature="00")), "48 or 96 bytes"),
    "no signature": (answering({"round": ROUND}), "48 or 96 bytes"),
    "a list": (answering([]), "not the beacon of round"),
    "no JSON": (answering("<html>"), "not the beacon"),
    "not there yet": (answering({}, 404), "the status is 404"),
    "too much": (endless, "more than 4096 bytes"),
    "a redirection": (elsewhere, "the status is 302"),
    "half of it": (cut_off, "cannot be asked"),
}


@pytest.mark.parametrize(("answer", "why"), WRONG.values(), ids=WRONG)
async def test_what_is_not_the_beacon_is_not_taken(answer: Answer, why: str) -> None:
    source = drand_source(0, close_in_s=0, at_in_s=60)

    async with serving(answer) as url:
        with pytest.raises(SourceUnavailableError, match=why):
            await fetch_beacon(url, source)


async def test_a_server_that_does_not_answer_is_not_waited_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fetching, "TIMEOUT_S", 0.1)
    source = drand_source(0, close_in_s=0, at_in_s=60)

    async with serving(never) as url:
        with pytest.raises(SourceUnavailableError, match="cannot be asked"):
            await fetch_beacon(url, source)


async def test_a_source_is_waited_for_and_taken_from_whoever_has_it(service: Service) -> None:
    draw = DrawUnderTest(service, is_drand=True)
    async with serving(right) as url:
        draw.fetches_from(NOWHERE, url)
        await draw.freeze(at_in_s=-20)

        with pytest.raises(SourceUnavailableError):
            await draw.worker.run_once()
        waiting = await draw.draw()
        late_s = service.metrics.registry.get_sample_value(
            "quota_draw_late_seconds", {"exam": "exam-1"}
        )
        found = await draw.worker.run_once()
        again = await draw.worker.run_once()

    known = (await draw.draw()).known
    assert waiting.known is None
    assert late_s is not None
    assert late_s >= 20
    assert (found["sources"], again.get("sources", 0)) == (1, 0)
    assert known is not None
    assert known.evidence == SIGNATURE.hex()
    assert known.randomness == hashlib.sha256(SIGNATURE).digest()


async def test_a_round_that_has_not_come_is_not_asked_for(service: Service) -> None:
    draw = DrawUnderTest(service, is_drand=True)
    draw.fetches_from(NOWHERE)
    await draw.freeze(at_in_s=600)

    assert not any((await draw.worker.run_once()).values())


async def test_a_round_that_ops_have_put_in_or_do_without_is_not_asked_for(
    service: Service,
) -> None:
    room = service.stores.waiting_room
    draw = DrawUnderTest(service, is_drand=True)
    draw.fetches_from(NOWHERE)
    await draw.freeze(at_in_s=-20)

    with pytest.raises(SignatureInvalid):
        await put_in_source(room, "exam-1", "03 11 17", "no signature")
    await put_in_source(room, "exam-1", SIGNATURE.hex().upper(), "from another host")

    assert not any((await draw.worker.run_once()).values())
    known = (await draw.draw()).known
    assert known is not None
    assert known.evidence == SIGNATURE.hex()


async def test_a_beacon_that_comes_after_the_decision_of_ops_changes_nothing(
    service: Service,
) -> None:
    room = service.stores.waiting_room
    draw = DrawUnderTest(service, is_drand=True)
    asked, decided = asyncio.Event(), asyncio.Event()

    async def slow(_request: web.Request) -> web.StreamResponse:
        asked.set()
        await decided.wait()
        return web.json_response(beacon())

    async with serving(slow) as url:
        draw.fetches_from(url)
        await draw.freeze(at_in_s=-20)
        fetching_it = asyncio.create_task(draw.worker.run_once())
        await asked.wait()
        await open_without_source(room, "exam-1", "it does not come")
        decided.set()
        found = await fetching_it

    assert found["sources"] == 0
    assert (await draw.draw()).known is None


def test_the_signature_of_a_known_chain_is_checked() -> None:
    signature = bytes.fromhex(QUICKNET_123)

    assert check_signature(QUICKNET, 123, signature) is True
    assert check_signature(CHAIN, 123, signature) is False
    with pytest.raises(BeaconRefused, match="not that of round 124"):
        check_signature(QUICKNET, 124, signature)
    with pytest.raises(BeaconRefused, match="no point"):
        check_signature(QUICKNET, 123, bytes(48))


async def test_a_beacon_that_is_consistent_and_not_of_the_chain_is_refused() -> None:
    forged = dataclasses.replace(
        drand_source(0, close_in_s=0, at_in_s=60), chain=QUICKNET, round=124
    )
    body = {
        "round": 124,
        "signature": QUICKNET_123,
        "randomness": hashlib.sha256(bytes.fromhex(QUICKNET_123)).hexdigest(),
    }

    async with serving(answering(body)) as url:
        with pytest.raises(SourceUnavailableError, match="not that of round 124 by the chain"):
            await fetch_beacon(url, forged)
