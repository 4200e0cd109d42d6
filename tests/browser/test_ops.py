"""The board of ops in a browser: what it shows, and that each act says first what it will do."""

import re
from collections.abc import Mapping
from typing import Any

import pytest
from playwright.async_api import Locator, Page, expect

from quota_service.workers.event_order import EventOrderWorker
from tests.conftest import Running
from tests.support.admissions import open_room
from tests.support.browser import NARROW, Pages, barriers, width_of_content, words
from tests.support.client import ApiClient
from tests.support.draws import OUTCOME, DrawUnderTest
from tests.support.waiting import eventually

pytestmark = pytest.mark.browser

WHY = "burst pipe, told by the venue"
EN = words("ops", "en")


async def signed_in(
    pages: Pages, api: ApiClient, view: str = "noon", *, exam: str = "exam-1", **look: Any
) -> Page:
    """Open the board with the ops key at a view."""
    page = await pages.open(f"{api.url}/ops?exam={exam}#{view}", **look)
    await page.locator("input[name=key]").fill(api.ops_key)
    await page.keyboard.press("Enter")
    await page.locator("nav.views").wait_for()
    return page


def fact(page: Page | Locator, name: str) -> Locator:
    """Find a fact by its name."""
    return page.locator(".fact").filter(has=page.get_by_text(EN[name], exact=True)).locator("dd")


def told(key: str, form: str = "other", **members: object) -> str:
    """Return words as the page shows them."""
    text = EN[key] if isinstance(EN[key], str) else EN[key][form]
    return re.sub(r"\{(\w+)\}", lambda found: str(members[found[1]]), text)


async def act(page: Page, button: str, expected: list[str], **fields: str) -> None:
    """Open the dialog of an act, see what it will do, give a reason and do it."""
    await page.get_by_role("button", name=button).first.click()
    dialog = page.get_by_role("dialog")
    for name, value in fields.items():
        field = dialog.locator(f"[name={name}]")
        is_choice = await field.evaluate("field => field.tagName === 'SELECT'")
        await (field.select_option(value) if is_choice else field.fill(value))
    for line in expected:
        await expect(dialog.locator(".preview")).to_contain_text(line)
    submit = dialog.locator("form button:not([type])")
    await expect(submit).to_have_attribute("aria-disabled", "true")
    await dialog.locator("[name=reason]").fill(WHY)
    await expect(submit).to_have_attribute("aria-disabled", "false")
    await submit.click()
    await dialog.get_by_text(EN["ops-done"]).wait_for()
    await expect(dialog.locator(".button-primary")).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(dialog).to_have_count(0)


async def noted(api: ApiClient) -> list[tuple[str, str]]:
    reply = await api.get("/v1/ops-actions", key=api.ops_key)
    return [(each["action"], each["reason"]) for each in reply.json["ops_actions"]]


async def test_ops_sign_in_with_a_key_that_only_the_memory_of_the_page_has(
    running: Running, pages: Pages
) -> None:
    api = running.client
    page = await pages.open(f"{api.url}/ops")
    await page.locator("input[name=key]").fill(api.frontend_key)
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("alert")).to_contain_text(EN["ops-key-wrong"])
    assert await barriers(page) == []

    await page.locator("input[name=key]").fill(api.ops_key)
    await page.keyboard.press("Enter")
    await expect(fact(page, "ops-held-now")).to_contain_text("0")

    kept = "[JSON.stringify([localStorage, sessionStorage]), document.cookie, location.href].join()"
    assert api.ops_key not in await page.evaluate(kept)
    await page.reload()
    await page.locator("input[name=key]").wait_for()
    assert await page.locator("input[name=key]").input_value() == ""


async def test_ops_whose_key_is_revoked_are_signed_out(running: Running, pages: Pages) -> None:
    api = running.client
    page = await signed_in(pages, api)
    await running.service.key_ledger.revoke(api.ops_key.split("_")[1])
    await running.service.keys.refresh()

    await expect(page.get_by_text(EN["ops-key-over"])).to_be_visible()
    await expect(page.locator("input[name=key]")).to_be_visible()


async def test_the_noon_screen_shows_what_happens_and_a_pause_says_first_what_it_stops(
    running: Running, pages: Pages
) -> None:
    api = running.client
    await api.reserve("c-1")
    await api.reserve("c-2", ("ems",), ("tianjin",))
    page = await signed_in(pages, api)

    await expect(fact(page, "ops-held-now")).to_contain_text("1")
    await expect(page.get_by_role("table", name=EN["ops-refusals"])).to_contain_text("sold-out")
    jinan = page.locator("table.heat tr", has_text="jinan").locator("td").first
    await expect(jinan).to_have_text("2 / 3")
    await expect(page.get_by_text(EN["ops-no-events"])).to_be_visible()
    scope = {"scope": "jinan · general"}
    will = [told("ops-will-pause", n=2, **scope), told("ops-will-still-pay", "one", n=1)]
    await act(page, EN["ops-pause-exam"], will, venue="jinan", subject="general")

    await expect(page.locator(".notice-warn")).to_contain_text(WHY)
    await expect(jinan).to_contain_text(EN["ops-paused"])
    await EventOrderWorker(running.service.stores.maintenance).run_once()
    await expect(page.locator(".events li")).to_contain_text(f"jinan · general · {WHY}")
    refused = await api.reserve("c-3")
    assert (refused.slug, refused.json["reason"]) == ("paused", WHY)
    assert await barriers(page) == []

    await page.locator("nav.views a[href='#day']").click()
    will = [told("ops-will-resume", n=2, **scope), EN["ops-will-extend-by"]["one"].split("{")[0]]
    await act(page, EN["ops-resume"], will)
    await expect(page.locator(".notice-warn")).to_have_count(0)
    assert (await api.reserve("c-3")).status == 201
    assert await noted(api) == [("pause", WHY), ("resume", WHY)]


async def test_a_dialog_is_left_by_escape_and_nothing_was_done(
    api: ApiClient, pages: Pages
) -> None:
    page = await signed_in(pages, api)
    button = page.get_by_role("button", name=EN["ops-extend"])
    await button.focus()
    await page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    await expect(dialog.locator("[name=minutes]")).to_be_focused()
    await expect(dialog.locator(".preview")).to_contain_text("0 live holds get 10 minutes more")
    await dialog.locator("[name=minutes]").fill("0")
    await dialog.locator("[name=reason]").fill(WHY)
    await expect(dialog.locator(".preview")).to_contain_text(EN["ops-needs-minutes"])
    await page.keyboard.press("Enter")
    assert await barriers(page) == []

    await page.keyboard.press("Escape")

    await expect(dialog).to_have_count(0)
    await expect(button).to_be_focused()
    assert await noted(api) == []


async def test_the_waiting_room_is_steered_from_the_board(running: Running, pages: Pages) -> None:
    room = await open_room(running.service)
    await room.queue(600)
    await room.second()
    api = running.client

    async def is_told() -> bool:
        load = await api.get("/v1/exams/exam-2/load", key=api.ops_key)
        return bool(load.json["waiting_room"]["waiting"])

    await eventually(is_told)  # documents of rooms are made anew once in a while
    page = await signed_in(pages, api, "day", exam="exam-2")
    will = [told("ops-will-rate", rate=20), told("ops-will-empty", time="00:30")]

    await act(page, EN["ops-set-rate"], will, rate="20")
    await expect(fact(page, "ops-rate")).to_contain_text("20 a second")
    await page.route("**/load*", lambda route: route.fulfill(status=503, json={"detail": "away"}))
    await page.locator(".notice-error").wait_for()
    await act(page, EN["ops-pause-room"], [EN["ops-no-preview"]])
    await page.unroute("**/load*")

    await expect(page.locator(".notice-warn")).to_contain_text(EN["ops-room-paused-now"])
    assert await noted(api) == [("set-rate", WHY), ("pause-admission", WHY)]


async def test_the_outcome_of_a_draw_is_put_in_when_it_is_due(
    running: Running, pages: Pages
) -> None:
    draw, api = DrawUnderTest(running.service), running.client
    await draw.define()
    await api.call("POST", "/v1/exams/exam-1/waiting-room", json={"candidate": "c-1"})
    await draw.freeze(at_in_s=-20)
    await running.service.stores.waiting_room.rooms.refresh()
    page = await signed_in(pages, api, "day")
    await page.get_by_text(EN["ops-draw-due"]).wait_for()
    will = [told("ops-will-draw", "one", n=1, evidence=OUTCOME)]

    await act(page, EN["ops-draw-source"], will, evidence=OUTCOME)

    await expect(fact(page, "ops-draw-outcome")).to_have_text(OUTCOME)
    assert await noted(api) == [("put-in-source", WHY)]


async def test_a_candidate_is_found_with_the_whole_story_and_moved(
    api: ApiClient, pages: Pages
) -> None:
    held: Mapping[str, Any] = (await api.reserve("c-1")).json
    await api.pay(held, event="paid-1")
    page = await signed_in(pages, api, "candidate")
    for sought in ("provider-paid-1", held["id"], "c-1"):
        await page.locator("[name=sought]").fill(sought)
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("heading", name="c-1", exact=True)).to_be_visible()
    await expect(page.locator("article")).to_contain_text("provider-paid-1")

    await act(page, EN["ops-move"], ["From jinan to tianjin"], venue="tianjin")

    await expect(page.locator("article h3")).to_contain_text("tianjin")
    moved = await api.get(f"/v1/reservations/{held['id']}")
    assert moved.json["venue"] == "tianjin"
    assert await barriers(page) == []


async def test_money_is_settled_and_a_venue_is_closed_and_emptied(
    api: ApiClient, pages: Pages
) -> None:
    held = (await api.reserve("c-1")).json
    await api.pay(held, amount=1)
    page = await signed_in(pages, api, "money")

    await act(page, EN["ops-settle"], ["CN¥0.01", held["id"], EN["ops-will-settle"][:20]])
    await expect(page.get_by_text(EN["ops-no-refunds"])).to_be_visible()
    await page.locator("nav.views a[href='#venues']").click()
    await act(page, f"{EN['ops-close-venue']}: jinan", ["1 held and 0 booked seats"])
    await expect(page.locator("tr", has_text="jinan")).to_contain_text(EN["ops-closed"])
    will = [told("ops-will-move-to", venue="tianjin", n=15)]
    await act(page, f"{EN['ops-move-out']}: jinan", will, venues="tianjin")

    moved = await api.get(f"/v1/reservations/{held['id']}")
    assert moved.json["venue"] == "tianjin"
    done = [("settle-refund", WHY), ("close-venue", WHY), ("move-out", WHY)]
    assert await noted(api) == done


async def test_the_board_fits_a_phone_and_has_no_barriers(running: Running, pages: Pages) -> None:
    await open_room(running.service)
    look: Any = {"language": "zh", "dark": True, "size": NARROW}
    page = await signed_in(pages, running.client, exam="exam-2", **look)
    await page.locator("table.heat").wait_for()

    for view in ("noon", "day", "venues", "list", "money", "log"):
        await page.locator(f"nav.views a[href='#{view}']").click()
        await page.locator(f"nav.views a[href='#{view}'][aria-current=page]").wait_for()
        assert await width_of_content(page) == NARROW[0], view
    assert await barriers(page) == []


async def test_a_webhook_endpoint_is_made_tested_and_disabled_and_its_secret_shown_once(
    api: ApiClient, pages: Pages
) -> None:
    page = await signed_in(pages, api, "webhooks")
    url = "https://portal.example/webhooks"
    make = page.get_by_role("button", name=EN["ops-hook-make"])
    await make.click()
    dialog = page.get_by_role("dialog")
    for name, value in (("url", url), ("description", "the portal"), ("reason", WHY)):
        await dialog.locator(f"[name={name}]").fill(value)
    await expect(dialog.locator(".preview")).to_contain_text(told("ops-will-hook-one", url=url))
    await dialog.locator("form button:not([type])").click()
    await expect(dialog.locator("code")).to_contain_text("whsec_")
    await page.keyboard.press("Escape")

    row = page.locator("tr", has_text=url)
    await expect(row).to_contain_text(EN["ops-hook-well"])
    await act(page, EN["ops-hook-disable"], [EN["ops-will-hook-disable"]])

    await expect(row).to_contain_text(EN["ops-hook-is-ops"])
    (endpoint,) = (await api.get("/v1/webhook-endpoints", key=api.ops_key)).json[
        "webhook_endpoints"
    ]
    assert (endpoint["exams"], endpoint["disabled_reason"]) == (["exam-1"], "ops")
    assert await barriers(page) == []
