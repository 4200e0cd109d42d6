"""The demo's frontend believes sealed cookies and signed webhooks, and tells nobody of others."""

from collections.abc import AsyncIterator

import aiohttp
import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from quota_service.client import QuotaClient, sign_webhook
from quota_service.client.repeats import Repeats
from quota_service.demo_frontend.frontend import Frontend
from quota_service.demo_frontend.provider import Provider
from quota_service.demo_frontend.refusals import answer_refusals
from tests.support.raw_http import exchange, request, status

SECRET = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
NOWHERE = "http://127.0.0.1:1"

Browser = TestClient[web.Request, web.Application]


@pytest.fixture
async def server() -> AsyncIterator[TestServer]:
    client = QuotaClient(NOWHERE, repeats=Repeats(tries_max=1))
    frontend = Frontend(client, NOWHERE, "quota_key", SECRET)
    provider = Provider(client, SECRET, frontend.page("pay.html"))
    app = web.Application(middlewares=[answer_refusals])
    app.add_routes([*frontend.routes(), *provider.routes()])
    app.on_response_prepare.append(frontend.add_headers)
    async with TestServer(app) as started:
        yield started


@pytest.fixture
async def browser(server: TestServer) -> AsyncIterator[Browser]:
    # Cookies of an address of digits are kept too.
    jar = aiohttp.CookieJar(unsafe=True)
    async with TestClient(server, cookie_jar=jar) as client:
        yield client


def told(candidate: str | None) -> bytes:
    data = {"exam": "exam-1", "candidate": candidate}
    return orjson.dumps({"type": "reservation.held", "timestamp": "…", "data": data})


async def test_a_cookie_that_somebody_else_made_signs_nobody_in(browser: Browser) -> None:
    signed = await browser.post("/session", json={"name": "Li Wei"})
    sealed = signed.cookies["session"]
    name, seal = sealed.value.split(".")
    other = b"Wang Fang".hex()

    assert (await (await browser.get("/session")).json())["name"] == "Li Wei"
    assert (sealed["httponly"], sealed["samesite"]) == (True, "Strict")
    for forged in (f"{other}.{seal}", f"{name}.", f"{name}.é", "zz.", ""):
        browser.session.cookie_jar.clear()
        cookies = {"session": forged}
        assert await (await browser.get("/session", cookies=cookies)).json() is None, forged
        for path in ("/session/events", "/session/token"):
            method = "GET" if path.endswith("events") else "POST"
            refused = await browser.request(method, path, cookies=cookies, json={"exam": "exam-1"})
            assert refused.status == 401, (forged, path)


async def test_a_cookie_of_bytes_that_are_no_text_signs_nobody_in(server: TestServer) -> None:
    name = b"Li Wei".hex()
    asked = request("GET", "/session", f"Cookie: session={name}.\udcff")

    answer = await exchange(str(server.make_url("")), asked)

    assert (status(answer), answer[-4:]) == (200, b"null")


async def test_a_webhook_is_told_to_its_candidate_alone_and_one_of_an_exam_to_all(
    browser: Browser, server: TestServer
) -> None:
    other = TestClient(server, cookie_jar=aiohttp.CookieJar(unsafe=True))
    candidates = []
    for each, name in ((browser, "Li Wei"), (other, "Wang Fang")):
        await each.post("/session", json={"name": name})
        candidates.append((await (await each.get("/session")).json())["candidate"])
    first, second = [await each.get("/session/events") for each in (browser, other)]
    for stream in (first, second):
        assert await stream.content.readuntil(b"\n\n") == b": connected\n\n"

    for number, about in enumerate([candidates[0], candidates[1], None]):
        body = told(about)
        signed = sign_webhook(SECRET, f"evt_{number}", body)
        assert (await browser.post("/webhooks", data=body, headers=signed)).status == 204

    message = b'data: {"type":"reservation.held","exam":"exam-1"}\n\n'
    for stream in (first, second):  # its own, and that of the exam
        assert await stream.content.readexactly(2 * len(message)) == 2 * message
        stream.close()
    await other.close()


async def test_a_webhook_without_the_signature_of_the_service_is_refused(browser: Browser) -> None:
    body = told("c-1")
    signed = sign_webhook(SECRET, "evt_1", body)

    changed = await browser.post("/webhooks", data=body + b" ", headers=signed)
    unsigned = await browser.post("/webhooks", data=body)

    assert (changed.status, unsigned.status) == (401, 401)


async def test_pages_have_a_strict_policy_and_files_are_those_of_the_pages(
    browser: Browser,
) -> None:
    page = await browser.get("/exams/exam-1/register")
    policy = page.headers["Content-Security-Policy"]

    assert f"connect-src 'self' {NOWHERE};" in policy
    assert "unsafe" not in policy
    assert f'name="quota-api" content="{NOWHERE}"' in await page.text()
    script = await browser.get("/web/app/api.js")
    assert script.headers["Content-Type"].partition(";")[0].endswith("/javascript")
    assert script.headers["X-Content-Type-Options"] == "nosniff"
    for outside in ("../demo.py", "%2e%2e/demo.py", "..%2fdemo.py", "/etc/hostname"):
        assert (await browser.get(f"/web/{outside}")).status in {403, 404}, outside


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'"name"', b'{"name":"\\ud800"}', b"\xff", b'{"name":7}']
)
async def test_a_body_that_names_nobody_signs_nobody_in(browser: Browser, body: bytes) -> None:
    refused = await browser.post("/session", data=body)

    assert refused.status == 422
    assert await (await browser.get("/session")).json() is None
    assert (await browser.post("/pay/exam-1.0.a", data=body)).status == 422


async def test_a_service_that_is_away_is_told_as_such(browser: Browser) -> None:
    await browser.post("/session", json={"name": "Li Wei"})

    token = await browser.post("/session/token", json={"exam": "exam-1"})
    order = await browser.get("/pay/exam-1.0.a/order")

    assert (token.status, order.status) == (503, 503)
