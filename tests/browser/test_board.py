"""The availability board in a browser: live, in order, and plain about what is old."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from playwright.async_api import Locator, Page, expect

from quota_service.registration.import_exam import import_exam
from tests.conftest import Running
from tests.support.browser import NARROW, Pages, barriers, width_of_content, words
from tests.support.client import ApiClient
from tests.support.exams import SEATS, exam_definition, make_exam
from tests.support.lost_shards import lose_everything, recover_shards

pytestmark = pytest.mark.browser

AN_HOUR_WRONG = "{ const now = Date.now; Date.now = () => now() + 3_600_000; }"
CORNER = """frame => {
  frame.scrollIntoView();
  const { left, top } = frame.getBoundingClientRect();
  return document.elementFromPoint(left + 100, top + 12).textContent;
}"""
"""What is in sight in the corner of the table."""
WHY = "the fire alarm went off; back at 12:40"
EN = words("board", "en")


def board(api: ApiClient, exam: str = "exam-1", query: str = "") -> str:
    return f"{api.url}/exams/{exam}{query}"


def cell(page: Page, venue: str, subject: str) -> Locator:
    """Find a cell of the table; subjects are the titles of the test exam."""
    column = ["general", "qms", "ems", "service"].index(subject) + 2
    return page.locator(f"tr[data-venue={venue}] td[aria-colindex='{column}']")


async def venues(page: Page) -> list[str | None]:
    rows = await page.locator("tr[data-venue]").all()
    return [await row.get_attribute("data-venue") for row in rows]


async def ops(api: ApiClient, path: str, **body: Any) -> None:
    done = await api.call("POST", f"/v1/exams/exam-1/{path}", key=api.ops_key, json=body)
    assert done.status < 300, done


async def test_seats_go_and_come_back_before_the_eyes_of_a_reader(
    api: ApiClient, pages: Pages
) -> None:
    page = await pages.open(board(api))
    await expect(cell(page, "jinan", "service")).to_contain_text("1")
    await expect(cell(page, "beijing", "qms")).to_contain_text(EN["not-offered"])

    held = (await api.reserve(subjects=("general", "service"))).json
    await expect(cell(page, "jinan", "general")).to_have_text("2of 3")
    await expect(cell(page, "jinan", "service")).to_contain_text(EN["full"])
    await api.call("DELETE", f"/v1/reservations/{held['id']}")

    await expect(cell(page, "jinan", "service")).to_have_text("1of 1")


async def test_venues_that_have_all_chosen_subjects_come_first_also_after_a_reload(
    api: ApiClient, pages: Pages
) -> None:
    await api.reserve(subjects=("service",), venues=("beijing",))
    page = await pages.open(board(api))
    await page.get_by_role("checkbox", name="service").focus()
    await page.keyboard.press("Space")
    await page.get_by_role("checkbox", name="qms").check()

    await expect(page.get_by_role("rowheader", name="2 venues have all")).to_be_visible()
    assert await venues(page) == ["jinan", "tianjin", "beijing"]
    await api.reserve("c-2", subjects=("service",))
    await expect(page.get_by_role("rowheader", name="1 venue has all")).to_be_visible()
    assert await venues(page) == ["tianjin", "jinan", "beijing"]
    await page.reload()
    await expect(page.get_by_role("rowheader", name="1 venue has all")).to_be_visible()
    await page.get_by_role("checkbox", name="ems").check()  # of the session of qms
    await expect(page.get_by_role("checkbox", name="qms")).not_to_be_checked()


async def test_a_pause_is_told_with_its_reason_while_it_lasts(api: ApiClient, pages: Pages) -> None:
    page = await pages.open(board(api))
    await expect(cell(page, "jinan", "qms")).to_have_text("2of 2")

    await ops(api, "pause", venue="jinan", subject="qms", reason=WHY)
    await expect(page.get_by_role("status").filter(has_text=WHY)).to_be_visible()
    await expect(cell(page, "jinan", "qms")).to_have_text(f"2{EN['paused']}")
    await ops(api, "resume", venue="jinan", subject="qms")

    await expect(page.get_by_text(WHY)).to_have_count(0)
    await expect(cell(page, "jinan", "qms")).to_have_text("2of 2")


async def test_a_release_is_counted_down_by_the_clock_of_the_server(
    api: ApiClient, pages: Pages
) -> None:
    at = (datetime.now(UTC) + timedelta(minutes=30)).isoformat()
    seats = {"jinan": {"service": 5}}
    release = {"id": "more", "at": at, "announce": "time-and-venues", "seats": seats}
    await ops(api, "seat-releases", **release, reason="rooms were found")

    page = await pages.open(board(api), script=AN_HOUR_WRONG)

    fact = page.locator(".fact").filter(has_text=EN["next-release"])
    await expect(fact.get_by_role("timer")).to_have_text(re.compile(r"^(30|2\d):[0-5]\d$"))
    await expect(fact).to_contain_text("jinan")


async def test_a_definition_that_changes_is_shown_as_it_is_now(
    api: ApiClient, pages: Pages
) -> None:
    page = await pages.open(board(api, query="?subjects=qms"))
    await expect(page.get_by_role("heading", level=1)).to_have_text("exam")
    changed = exam_definition(seats={**SEATS, "nanjing": {"qms": 7}})
    changed["title"] = "An exam of another name"

    done = await api.import_exam(changed)

    assert done.status == 200, done
    await expect(page.get_by_role("heading", level=1)).to_have_text(changed["title"])
    await expect(page.locator("tr[data-venue=nanjing]")).to_contain_text("7of 7")
    await ops(api, "venues/nanjing/close", reason="burst pipe")
    await expect(page.locator("tr[data-venue=nanjing]")).to_contain_text(EN["quota-closed"])


async def test_seats_of_stores_that_are_away_are_marked_as_old(
    running: Running, pages: Pages
) -> None:
    page = await pages.open(board(running.client))
    await expect(page.get_by_text(EN["live"], exact=True)).to_be_visible()

    await lose_everything(running.service)
    await expect(page.get_by_text(EN["old-title"]).first).to_be_visible()
    await expect(page.locator(".grid-old")).to_be_visible()
    before = await pages.open(board(running.client))
    await expect(before.get_by_text(EN["none-yet-title"])).to_be_visible()
    await recover_shards(running.service)

    for each in (page, before):
        await expect(each.get_by_text(EN["live"], exact=True)).to_be_visible()
        await expect(each.get_by_text(EN["old-title"])).to_have_count(0)


async def test_a_network_that_is_lost_and_comes_back_needs_no_reload(
    api: ApiClient, pages: Pages
) -> None:
    page = await pages.open(board(api))
    await expect(page.get_by_text(EN["live"], exact=True)).to_be_visible()

    await page.context.set_offline(True)
    await expect(page.get_by_text("The connection is lost").first).to_be_visible()
    await api.reserve(subjects=("service",))
    await page.context.set_offline(False)

    await expect(cell(page, "jinan", "service")).to_contain_text(EN["full"])
    await expect(page.get_by_text(EN["live"], exact=True)).to_be_visible()


async def test_an_unknown_exam_is_named_and_the_known_are_offered(
    api: ApiClient, pages: Pages
) -> None:
    page = await pages.open(board(api, "exam-2"))

    await expect(page.get_by_role("heading", level=1)).to_contain_text("exam-2")
    await page.get_by_role("link", name="exam").last.click()
    await expect(cell(page, "jinan", "qms")).to_be_visible()


async def test_of_a_large_exam_only_what_is_in_sight_is_in_the_document(
    running: Running, pages: Pages
) -> None:
    seats = {f"venue-{n}": {"general": n + 1, "qms": 1} for n in range(500)}
    stores = running.service.stores
    await import_exam(stores.maintenance, make_exam("exam-2", seats=seats))
    await stores.registry.refresh()
    page = await pages.open(board(running.client, "exam-2"), size=NARROW)
    await page.locator("tr[data-venue]").first.wait_for()
    frame = page.get_by_role("region", name=EN["venues"])

    assert len(await venues(page)) < 60
    await frame.evaluate("frame => frame.scrollTo(70, frame.scrollHeight)")
    await expect(page.locator("tr[data-venue=venue-499]")).to_contain_text("500of 500")
    assert await frame.evaluate(CORNER) == EN["venue"]
    await page.get_by_label(EN["find-venue"]).fill("Venue-77")
    await expect(page.locator("tr[data-venue]")).to_have_count(1)


async def test_everybody_can_read_the_board(api: ApiClient, pages: Pages) -> None:
    await ops(api, "pause", venue="jinan", reason=WHY)
    wide = await pages.open(board(api, query="?subjects=qms"))
    narrow = await pages.open(board(api), language="zh", dark=True, size=NARROW)

    for page, language in ((wide, "en"), (narrow, "zh-CN")):
        await page.locator("tr[data-venue]").first.wait_for()
        assert await page.evaluate("document.documentElement.lang") == language
        assert await barriers(page) == []
    assert await width_of_content(narrow) == NARROW[0]
    await expect(narrow.get_by_role("heading", name=words("board", "zh")["choose"])).to_be_visible()
    await narrow.get_by_role("button", name="English").click()
    await expect(narrow.get_by_role("heading", name=EN["choose"])).to_be_visible()
