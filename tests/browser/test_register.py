"""The whole registration in a browser, with a demo as anybody starts it."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import redis.asyncio
from playwright.async_api import Route, expect

from quota_service.embedded import EmbeddedPostgres, EmbeddedRedis
from tests.support.browser import NARROW, Pages, barriers, width_of_content, words
from tests.support.client import ApiClient
from tests.support.databases import Databases
from tests.support.demo import running_demo
from tests.support.register_pages import Candidate, Language, Site

pytestmark = pytest.mark.browser

SEATS = {
    "jinan": {"general": 9, "qms": 9, "ems": 9},
    "tianjin": {"general": 9, "qms": 9, "ems": 0},
    "beijing": {"general": 9},
}


@pytest.fixture(scope="module")
async def site(
    redis_server: EmbeddedRedis,
    postgres_server: EmbeddedPostgres,
    migrated_template: str,
    databases: Databases,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Site]:
    """One demo for all tests here; each has an exam of its own."""
    folder: Path = tmp_path_factory.mktemp("demo")
    client = redis.asyncio.Redis.from_url(redis_server.url, decode_responses=True)
    await client.flushall()
    async with databases.lend(postgres_server.url, migrated_template) as dsn:
        options = ("--redis-url", redis_server.url, "--postgres-dsn", dsn)
        with running_demo(*options, tmp_dir=folder) as demo:
            env = demo.env
            async with aiohttp.ClientSession() as session:
                keys = env["QUOTA_FRONTEND_KEY"], env["QUOTA_OPS_KEY"]
                api = ApiClient(session, env["QUOTA_URL"], *keys)
                yield Site(env["QUOTA_FRONTEND_URL"], api, client)
    await client.aclose()


@pytest.mark.parametrize("language", ["en", "zh"])
async def test_a_candidate_registers_from_the_list_of_exams_to_the_booking(
    site: Site, pages: Pages, language: Language
) -> None:
    exam = await site.new_exam(SEATS)
    is_dark = language == "zh"
    candidate = await Candidate.at(site, pages, language=language, size=NARROW, dark=is_dark)
    page, said = candidate.page, candidate.words
    tianjin = {"en": "tianjin", "zh": "考试tianjin"}[language]
    entry = page.get_by_role("listitem").filter(
        has=page.locator(f'a[href="/exams/{exam}/register"]')
    )
    await expect(entry).to_contain_text(said["exams.not-registered"])
    found = await barriers(page)
    await entry.get_by_role("link", name=said["exams.register"]).click()

    await candidate.accept()
    await candidate.choose("qms", "general")
    await page.get_by_role("button", name=said["steps.subjects"]).click()
    await page.get_by_role("radio", name="ems").check()  # in the session of qms
    await expect(page.get_by_role("radio", name="qms")).not_to_be_checked()
    await page.get_by_role("radio", name="qms").check()
    await candidate.press("next")
    await candidate.add_venues("jinan", "tianjin")
    await expect(candidate.venue_to_add("beijing")).to_be_disabled()
    await candidate.button("venues.drag", venue=tianjin).press("ArrowUp")
    await expect(page.locator(".ranked li").first).to_contain_text("tianjin")
    handles = page.locator(".handle")
    await handles.nth(1).drag_to(handles.nth(0))
    await expect(page.locator(".ranked li").first).to_contain_text("jinan")
    found += await barriers(page)
    await candidate.press("next")
    await candidate.press("order.reserve")
    await expect(candidate.reservation("held")).to_contain_text("jinan")
    await candidate.press("hold.pay")
    await page.wait_for_url("**/pay/**")
    await page.get_by_role("heading", level=1).wait_for()
    found += await barriers(page)
    await candidate.at_provider("pay")

    await candidate.shows("booking.title").to_be_visible()
    await page.get_by_text(said["history.title"]).click()
    await expect(candidate.reservation("confirmed")).to_contain_text(said["history.checkout"])
    found += await barriers(page)
    assert found == []
    assert await width_of_content(page) <= NARROW[0]
    await page.get_by_role("link", name=said["exams.title"]).click()
    await expect(entry).to_contain_text(said["exams.registered"])


async def test_the_first_venue_with_every_subject_is_taken_and_others_are_named_when_all_are_gone(
    site: Site, pages: Pages
) -> None:
    seats = {"jinan": {"general": 0, "qms": 5}, "tianjin": {"general": 1, "qms": 1}}
    exam = await site.new_exam(seats)
    first = await Candidate.at(site, pages, exam)
    second = await Candidate.at(site, pages, exam)

    await first.order(("general",), ("jinan",))
    await first.press("order.reserve")
    await first.shows("order.free-at").to_be_visible()
    await second.reserve(("general", "qms"), ("jinan", "tianjin"))
    await expect(first.button("order.put-first", venue="tianjin")).to_have_count(0)

    await expect(second.reservation("held")).to_contain_text("tianjin")


async def test_a_candidate_waits_in_the_room_over_a_reload_and_reserves_at_the_turn(
    site: Site, pages: Pages
) -> None:
    tables = {"waiting_room": {"rate_per_s": 50}}
    exam = await site.new_exam(SEATS, opens_in_s=600, tables=tables)
    candidate = await Candidate.at(site, pages, exam)
    page = candidate.page

    await candidate.order(("general",), ("jinan",))
    await candidate.shows("room.in-draw").to_be_visible()
    await expect(candidate.button("order.opens-in")).to_be_disabled()
    await page.reload()
    await candidate.shows("room.in-draw").to_be_visible()
    await site.open_now(exam)

    await candidate.shows("room.turn").to_be_visible()
    await expect(page).to_have_title(candidate.words["room.title-turn"])
    await candidate.press("order.reserve")
    await expect(candidate.reservation("held")).to_be_visible()
    await expect(page).to_have_title(candidate.words["page-title"])


async def test_a_hold_runs_out_before_the_eyes_of_its_candidate_and_a_late_payment_still_books(
    site: Site, pages: Pages
) -> None:
    exam = await site.new_exam(SEATS)
    candidate = await Candidate.at(site, pages, exam)

    await candidate.reserve(("general",), ("jinan",))
    await expect(candidate.page.get_by_role("timer")).to_have_text(re.compile(r"1[45]:\d\d"))
    await candidate.let_deadline_come(exam)
    await candidate.shows("ended.expired").to_be_visible()
    await expect(candidate.reservation("held")).to_have_count(0)
    await candidate.reserve_again(("general",), ("jinan",))
    await candidate.pay("late")
    await candidate.shows("hold.waiting").to_be_visible()
    await candidate.let_deadline_come(exam)

    await candidate.shows("booking.title").to_be_visible()
    steps = (await candidate.view(exam))["reservations"][-1]["history"]
    assert [each["step"] for each in steps][-3:] == ["expire", "pin", "confirm"]


async def test_a_payment_fails_and_is_made_twice_and_the_booking_is_moved_and_refunded_once(
    site: Site, pages: Pages
) -> None:
    exam = await site.new_exam(SEATS)
    candidate = await Candidate.at(site, pages, exam)
    page, said = candidate.page, candidate.words

    await candidate.reserve(("general",), ("jinan",))
    await candidate.pay("fail")
    await candidate.press("hold.pay-again")
    async with candidate.told_by_frontend() as told:
        await candidate.at_provider("twice")
        await candidate.shows("booking.title").to_be_visible()
        assert await told("reservation.confirmed")
    due = await site.ops("GET", f"/v1/exams/{exam}/refunds-due")
    assert [each["reason"] for each in due["refunds_due"]] == ["already-paid"]

    await candidate.press("venue.change")
    await page.get_by_role("radio", name="beijing").check()
    assert await barriers(page) == []
    await candidate.press("venue.do")
    await expect(candidate.reservation("confirmed")).to_contain_text("beijing")
    await candidate.press("refund.do")
    await page.get_by_role("dialog").get_by_role("button", name=said["refund.do"]).click()
    await candidate.shows("refund.recorded").to_be_visible()

    await candidate.reserve_again(("general",), ("jinan",))
    await candidate.pay()
    await candidate.shows("refund.used").to_be_visible()


async def test_a_candidate_on_the_waiting_list_is_offered_a_seat_that_came_back(
    site: Site, pages: Pages
) -> None:
    tables = {"returned": {"rule": "list-first"}, "waiting_list": {"offer_ttl_s": 600}}
    exam = await site.new_exam({"jinan": {"general": 1}}, tables=tables)
    held = (await site.api.reserve("somebody", exam=exam)).json
    candidate = await Candidate.at(site, pages, exam)

    await candidate.order(("general",), ("jinan",))
    await candidate.press("order.reserve")
    await candidate.press("list.join")
    await candidate.shows("list.number", n=1).to_be_visible()
    await site.api.call("DELETE", f"/v1/reservations/{held['id']}")

    await expect(candidate.reservation("held")).to_be_visible()
    await candidate.pay()
    await candidate.shows("booking.title").to_be_visible()


async def test_what_ops_do_meanwhile_is_told_and_an_order_in_a_pause_is_taken_when_it_ends(
    site: Site, pages: Pages
) -> None:
    exam = await site.new_exam(SEATS)
    candidate = await Candidate.at(site, pages, exam)
    await candidate.order(("general",), ("jinan",))

    definition = site.definitions[exam]
    await site.import_exam({**definition, "notice": {**definition["notice"], "version": "2023-2"}})
    await expect(candidate.page.get_by_role("checkbox")).not_to_be_checked()
    await candidate.accept()
    await candidate.press("next")
    await candidate.press("next")
    reason = "the hall is being checked"
    await site.ops("POST", f"/v1/exams/{exam}/pause", reason=reason, venue="jinan", retry_after_s=1)
    await candidate.shows("pause-at", what="jinan").to_be_visible()
    await expect(candidate.page.get_by_text(reason)).to_be_visible()
    await candidate.press("order.reserve")
    await candidate.shows("order.kept").to_be_visible()
    await site.ops("POST", f"/v1/exams/{exam}/resume", venue="jinan")

    await expect(candidate.reservation("held")).to_be_visible()


async def test_an_order_is_made_once_whatever_becomes_of_the_network_and_the_page(
    site: Site, pages: Pages
) -> None:
    exam = await site.new_exam(SEATS)
    candidate = await Candidate.at(site, pages, exam)
    page = candidate.page
    await candidate.order(("general",), ("jinan",))
    answers = []

    async def lose_first_answer(route: Route) -> None:
        if route.request.method == "POST" and not answers:
            answers.append((await route.fetch()).status)
            await route.abort()
        else:
            await route.continue_()

    await page.context.set_offline(True)
    await candidate.press("order.reserve")
    await candidate.shows("order.kept").to_be_visible()
    await page.route("**/reservations", lose_first_answer)
    await page.context.set_offline(False)
    while not answers:
        await page.wait_for_event("requestfailed")
    await page.unroute_all(behavior="wait")
    await page.reload()

    await expect(candidate.reservation("held")).to_be_visible()
    assert answers == [201]
    assert len((await candidate.view(exam))["reservations"]) == 1


async def test_a_page_whose_candidate_is_signed_in_no_more_says_so(
    site: Site, pages: Pages
) -> None:
    exam = await site.new_exam(SEATS)
    candidate = await Candidate.at(site, pages, exam)
    page = candidate.page
    await expect(page.get_by_role("checkbox")).to_be_visible()

    mine = (await (await page.request.get(f"{site.url}/session")).json())["candidate"]
    await page.request.post(f"{site.url}/session", data={"name": "Somebody Else"})  # in another tab
    await site.api.call(
        "POST", "/v1/candidate-tokens/revoke", json={"exam": exam, "candidate": mine}
    )
    await page.evaluate("dispatchEvent(new Event('online'))")

    await expect(page.locator("[data-slug=unauthorized]")).to_be_visible()


async def test_the_page_of_an_unknown_exam_says_so(site: Site, pages: Pages) -> None:
    candidate = await Candidate.at(site, pages, "no-such-exam")

    await expect(candidate.page.locator("[data-slug=unknown-exam]")).to_be_visible()


async def test_the_board_leads_to_the_registration_of_its_exam(site: Site, pages: Pages) -> None:
    exam = await site.new_exam(SEATS)
    page = await pages.open(f"{site.url}/exams/{exam}")

    await expect(page.locator("tr[data-venue=jinan]")).to_contain_text("9of 9")
    await page.get_by_role("link", name=words("board", "en")["register"]).click()

    await expect(page).to_have_url(f"{site.url}/exams/{exam}/register")
