"""Deliveries of events to endpoints that take them, and to those that fail in every way."""

import asyncio
import time
from contextlib import AsyncExitStack

from aiohttp import web

from quota_service.app.opening import Service
from quota_service.registration.deliver_webhooks import AT_ONCE_MAX, PROBING_FROM
from quota_service.registration.post_webhook import PostLimits, open_poster
from quota_service.registration.webhook_endpoints import (
    disable_endpoint,
    enable_endpoint,
    replay,
    rotate_secret,
    send_test,
)
from tests.support.lost_shards import rows
from tests.support.patience import LIMIT_S
from tests.support.webhooks import (
    answering,
    deliver,
    due_now,
    endpoint_to,
    happen,
    receiving,
    standing,
    working,
)

HELD, CONFIRMED = "reservation.held", "reservation.confirmed"
HASTY = PostLimits(total_s=0.3, connect_s=0.3)


async def test_what_happens_is_posted_once_signed_under_the_id_of_the_event(
    service: Service,
) -> None:
    async with receiving() as receiver, working(service) as worker:
        _, secret = await endpoint_to(service, receiver.url)
        await happen(service, ("r-1", HELD), ("r-2", HELD))

        done = await deliver(worker)
        again = await deliver(worker)

    assert (done, again) == ({"delivered": 2}, {})
    assert receiver.ids == ["evt_1", "evt_2"]
    assert receiver.told == [("r-1", HELD), ("r-2", HELD)]
    assert receiver.is_signed(0, secret, time.time())
    assert receiver.came[0].headers["Content-Type"] == "application/json"


async def test_an_endpoint_is_told_of_its_exams_and_kinds_alone(service: Service) -> None:
    async with receiving() as one, receiving() as two, working(service) as worker:
        await endpoint_to(service, one.url, exams=("exam-1",))
        await endpoint_to(service, two.url, kinds=(CONFIRMED,))
        await happen(service, ("r-1", HELD), ("r-1", CONFIRMED), exam="exam-1")
        await happen(service, ("r-2", HELD), ("r-2", CONFIRMED))

        await deliver(worker)

    assert one.told == [("r-1", HELD), ("r-1", CONFIRMED)]
    assert sorted(two.told) == [("r-1", CONFIRMED), ("r-2", CONFIRMED)]


async def test_both_secrets_sign_while_one_is_rotated_out(service: Service) -> None:
    async with receiving() as receiver, working(service) as worker:
        endpoint, old = await endpoint_to(service, receiver.url)
        new = (await rotate_secret(service.stores.webhooks, endpoint, 3600, "rotated")).secret
        await happen(service, ("r-1", HELD))
        await deliver(worker)
        await rotate_secret(service.stores.webhooks, endpoint, 0, "and again")
        await happen(service, ("r-2", HELD))
        await deliver(worker)

    assert [receiver.is_signed(0, each, time.time()) for each in (old, new)] == [True, True]
    assert [receiver.is_signed(1, each, time.time()) for each in (old, new)] == [False, False]


async def test_the_next_event_of_a_reservation_waits_until_the_one_before_is_taken(
    service: Service,
) -> None:
    async def refusing_the_first(request: web.Request) -> web.StreamResponse:
        return web.Response(status=500 if request.headers["webhook-id"] == "evt_1" else 200)

    async with receiving(refusing_the_first) as receiver, working(service) as worker:
        await endpoint_to(service, receiver.url)
        await happen(service, ("r-1", HELD), ("r-1", CONFIRMED), ("r-2", HELD), ("r-2", CONFIRMED))
        await deliver(worker)
        before = list(receiver.told)
        later = "UPDATE webhook_deliveries SET next_at = now() + interval '1 h' WHERE sequence = 1"
        await rows(service, f"{later} RETURNING sequence")
        claimed = await service.stores.webhooks.webhooks.claim("another", [])
        receiver.answer = answering(200)
        await due_now(service)
        await deliver(worker)

    assert claimed == []
    assert sorted(before) == [("r-1", HELD), ("r-2", CONFIRMED), ("r-2", HELD)]
    assert receiver.told[3:] == [("r-1", HELD), ("r-1", CONFIRMED)]


async def silent(_request: web.Request) -> web.StreamResponse:
    await asyncio.sleep(60)
    return web.Response()


async def closing(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(status=503)
    await response.prepare(request)
    while True:
        await response.write(b"x" * 65536)


async def trickling(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b"x")
        await asyncio.sleep(0.01)


FAILING = {
    "answered 500": answering(500),
    "answered 404": answering(404),
    "answered 503": endless,
    "answered 302; redirects are not followed": answering(302, Location="/elsewhere"),
    "the connection ended without an answer": closing,
}


async def test_an_endpoint_that_fails_in_any_way_is_called_again_and_holds_up_no_other(
    service: Service,
) -> None:
    async with AsyncExitStack() as stack:
        bad = [await stack.enter_async_context(receiving(answer)) for answer in FAILING.values()]
        good = await stack.enter_async_context(receiving())
        worker = await stack.enter_async_context(working(service))
        for receiver in (*bad, good):
            await endpoint_to(service, receiver.url)
        await endpoint_to(service, good.url.replace("http:", "https:"))
        await endpoint_to(service, "http://127.0.0.1:1/")
        await happen(service, ("r-1", HELD))

        await deliver(worker)

    assert {len(receiver.came) for receiver in (*bad, good)} == {1}
    left = await rows(
        service,
        "SELECT d.last_error, d.attempts, "
        "       d.next_at - d.last_tried_at BETWEEN interval '4 s' AND interval '6 s' "
        "FROM webhook_deliveries d JOIN webhook_endpoints w ON w.id = d.endpoint "
        "WHERE d.state = 'pending' ORDER BY w.created_at",
    )
    tls = "TLS cannot be agreed on, or its certificate is not valid"
    assert left == [(error, 1, True) for error in (*FAILING, tls, "it cannot be connected to")]


async def test_an_answer_that_does_not_come_or_does_not_end_is_waited_for_no_longer_than_allowed(
    service: Service,
) -> None:
    async with (
        receiving(silent) as mute,
        receiving(trickling) as slow,
        working(service, None, HASTY) as worker,
    ):
        await endpoint_to(service, mute.url)
        await endpoint_to(service, slow.url)
        await happen(service, ("r-1", HELD))

        await deliver(worker)

    late = ("pending", "no answer in time")
    ended = await rows(
        service,
        "SELECT d.state, d.last_error FROM webhook_deliveries d "
        "JOIN webhook_endpoints w ON w.id = d.endpoint ORDER BY w.created_at",
    )
    # The status of a slow answer counts, where it came in time on this machine.
    assert ended in ([late, ("delivered", None)], [late, late])


async def test_an_endpoint_that_never_answers_delays_no_other_even_when_it_has_much_to_take(
    service: Service,
) -> None:
    async with receiving(silent) as dead, receiving() as good, working(service) as worker:
        await endpoint_to(service, dead.url)
        await endpoint_to(service, good.url)
        await happen(service, *((f"r-{n}", HELD) for n in range(2 * AT_ONCE_MAX)))

        async with asyncio.timeout(LIMIT_S):
            while len(good.came) < 2 * AT_ONCE_MAX:
                await worker.run_once()
                await asyncio.sleep(0.01)

    assert dead.at_once_max == AT_ONCE_MAX
    assert len(dead.came) == AT_ONCE_MAX


async def test_an_endpoint_that_fails_is_called_less_and_less_then_all_at_once_when_it_takes_again(
    service: Service,
) -> None:
    async with receiving(answering(500)) as receiver, working(service) as worker:
        await endpoint_to(service, receiver.url)
        await happen(service, *((f"r-{n}", HELD) for n in range(3 * AT_ONCE_MAX)))
        await deliver(worker)
        came, failures = len(receiver.came), (await standing(service))["failures"]
        paused = await rows(
            service,
            "SELECT w.next_at - max(d.last_tried_at) >= interval '4 s' "
            "FROM webhook_endpoints w JOIN webhook_deliveries d ON d.endpoint = w.id "
            "GROUP BY w.id",
        )
        await rows(service, "UPDATE webhook_endpoints SET next_at = now() RETURNING id")
        probed = await deliver(worker)
        receiver.answer = answering(200)
        await rows(service, "UPDATE webhook_endpoints SET next_at = now() RETURNING id")
        done = await deliver(worker)

    assert failures == PROBING_FROM
    assert came < 3 * AT_ONCE_MAX
    assert paused == [(True,)]
    assert probed == {"failed": 1}
    assert done == {"delivered": 3 * AT_ONCE_MAX}
    assert (await standing(service))["failing_since"] is None


async def test_an_endpoint_that_asks_for_time_gets_it(service: Service) -> None:
    async with receiving(answering(429, Retry_After="120")) as receiver, working(service) as worker:
        await endpoint_to(service, receiver.url)
        await happen(service, ("r-1", HELD))

        done = [await deliver(worker)]
        await happen(service, ("r-2", HELD))
        done.append(await deliver(worker))

    assert done == [{"failed": 1}, {}]
    asked = (
        "SELECT w.next_at - d.last_tried_at = interval '120 s' "
        "FROM webhook_endpoints w JOIN webhook_deliveries d ON d.endpoint = w.id AND d.attempts = 1"
    )
    assert await rows(service, asked) == [(True,)]


async def test_a_time_that_no_calendar_has_asks_for_nothing() -> None:
    async with receiving() as receiver, open_poster(PostLimits(), takes_private=True) as poster:
        for asked in (
            "soon",
            "Fri, 31 Dec 9999 23:59:59 -0100",
            "Fri, 31 Dec 99999999999999999999 23:59:59 GMT",
            "Fri, 31 Dec 2027 23:59:59 +99999999999999999999",
        ):
            receiver.answer = answering(503, Retry_After=asked)
            posted = await poster.post(receiver.url, [b"x" * 24], "evt_1", b"{}")
            assert (posted.status, posted.retry_after_s) == (503, 0.0), asked


async def test_an_endpoint_that_is_gone_is_disabled_at_once_and_goes_on_once_enabled(
    service: Service,
) -> None:
    async with receiving(answering(410)) as receiver, working(service) as worker:
        endpoint, _ = await endpoint_to(service, receiver.url)
        await happen(service, ("r-1", HELD))
        await deliver(worker)
        disabled = (await standing(service))["disabled_reason"]
        await happen(service, ("r-1", CONFIRMED))
        receiver.answer = answering(200)
        meanwhile = await deliver(worker)
        await enable_endpoint(service.stores.webhooks, endpoint, "moved")
        done = await deliver(worker)

    assert (disabled, meanwhile, done) == ("gone", {}, {"delivered": 2})
    assert receiver.told == [("r-1", HELD), ("r-1", HELD), ("r-1", CONFIRMED)]


async def test_an_endpoint_that_took_nothing_for_three_days_is_disabled(service: Service) -> None:
    async with receiving(answering(500)) as receiver, working(service) as worker:
        await endpoint_to(service, receiver.url)
        await happen(service, ("r-1", HELD))
        await deliver(worker)
        await due_now(service)
        await rows(
            service,
            "UPDATE webhook_endpoints SET failing_since = now() - interval '3 days' RETURNING id",
        )
        await deliver(worker)
        await due_now(service)
        after = await deliver(worker)

    assert after == {}
    assert (await standing(service))["disabled_reason"] == "failing"
    assert await rows(service, "SELECT state FROM webhook_deliveries") == [("pending",)]


async def test_a_delivery_refused_for_three_days_by_an_endpoint_that_takes_others_is_given_up(
    service: Service,
) -> None:
    async def refusing_the_first(request: web.Request) -> web.StreamResponse:
        return web.Response(status=422 if request.headers["webhook-id"] == "evt_1" else 200)

    async with receiving(refusing_the_first) as receiver, working(service) as worker:
        await endpoint_to(service, receiver.url)
        await happen(service, ("r-1", HELD), ("r-1", CONFIRMED), ("r-2", HELD))
        await deliver(worker)
        await due_now(service)
        await rows(
            service,
            "UPDATE webhook_deliveries SET first_tried_at = now() - interval '3 days' "
            "WHERE attempts > 0 RETURNING sequence",
        )
        done = await deliver(worker)

    assert done == {"failed": 1, "given-up": 1, "delivered": 1}
    assert (await standing(service))["disabled_reason"] is None
    assert receiver.told[-1] == ("r-1", CONFIRMED)


async def test_what_happens_while_an_endpoint_is_disabled_waits_for_it(service: Service) -> None:
    async with receiving() as receiver, working(service) as worker:
        endpoint, _ = await endpoint_to(service, receiver.url)
        await disable_endpoint(service.stores.webhooks, endpoint, "its host is moved")
        await happen(service, ("r-1", HELD))
        meanwhile = await deliver(worker)
        await enable_endpoint(service.stores.webhooks, endpoint, "moved")
        done = await deliver(worker)

    assert (meanwhile, done) == ({}, {"delivered": 1})


async def test_a_replay_delivers_what_has_happened_since_under_the_same_ids(
    service: Service,
) -> None:
    stores = service.stores.webhooks
    async with receiving() as receiver, working(service) as worker:
        await happen(service, ("r-0", HELD))
        await rows(service, "UPDATE events SET at = now() - interval '1 h' RETURNING id")
        await happen(service, ("r-1", HELD), ("r-1", CONFIRMED))
        endpoint, _ = await endpoint_to(service, receiver.url)
        await happen(service, ("r-2", HELD))
        await deliver(worker)
        since_ms = round((time.time() - 1800) * 1000)
        made = await replay(stores, endpoint, since_ms, "the receiver lost its data")
        await deliver(worker)

    assert made == 3
    assert receiver.ids[0] == "evt_4"
    assert sorted(receiver.ids[1:]) == ["evt_2", "evt_3", "evt_4"]
    assert receiver.ids.index("evt_2") < receiver.ids.index("evt_3")


async def test_a_test_goes_to_one_endpoint_ahead_of_what_waits_there(service: Service) -> None:
    stores = service.stores.webhooks
    async with (
        receiving(answering(500)) as receiver,
        receiving() as other,
        working(service) as worker,
    ):
        endpoint, _ = await endpoint_to(service, receiver.url)
        await endpoint_to(service, other.url)
        await happen(service, *((f"r-{n}", HELD) for n in range(3 * AT_ONCE_MAX)))
        await deliver(worker)
        seen = len(receiver.came)
        await send_test(stores, endpoint, "does it take again?")
        await happen(service)
        await deliver(worker)

    assert len(receiver.came) == seen + 1
    assert b'"type":"webhook.test"' in receiver.bodies[-1]
    assert len(other.came) == 3 * AT_ONCE_MAX
