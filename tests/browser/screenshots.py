"""`python -m tests.browser.screenshots [FOLDER] [--only NAME]`: pictures of every page, to look at.

A demo is started, things happen in its exam, and each page is opened: light, dark and 360 pixels
wide, in Chinese and in English. The pictures are `FOLDER/<page>-<language>-<look>.png`; FOLDER is
`tests/results/screenshots` when omitted. Exit status 1 when a page had an error.
"""

import argparse
import asyncio
import itertools
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import aiohttp
from playwright.async_api import Page, async_playwright

from tests.support.browser import CHROMIUM_FLAGS, NARROW, WIDE, Pages
from tests.support.demo import running_demo
from tests.support.programs import need_program

ROOT = Path(__file__).parents[2]
EXAM = "ccaa-2023-1"
_candidates = itertools.count(1)
"""Each picture has a candidate of its own."""
_LOOKS: Mapping[str, Mapping[str, Any]] = {
    "light": {"size": WIDE},
    "dark": {"size": WIDE, "dark": True},
    "narrow": {"size": NARROW},
}


@dataclass(frozen=True, slots=True)
class Shot:
    """A page, where it is, and what is done before its picture is taken."""

    name: str
    address: str
    ready: Callable[[Page, Mapping[str, str]], Awaitable[None]]
    """Called with the page and the demo's environment."""


async def _board_is_live(page: Page, _env: Mapping[str, str]) -> None:
    await page.locator("tr[data-venue]").first.wait_for()


async def _ops_look(page: Page, env: Mapping[str, str]) -> None:
    await page.locator("input[name=key]").fill(env["QUOTA_OPS_KEY"])
    await page.keyboard.press("Enter")
    await page.locator("table.heat").wait_for()


async def _ops_pause(page: Page, env: Mapping[str, str]) -> None:
    await _ops_look(page, env)
    await page.locator(".acts .button-danger").click()
    await page.locator(".preview li:nth-child(3)").wait_for()


async def _choose_venues(page: Page, _env: Mapping[str, str]) -> None:
    await page.locator("input[name=name]").fill(f"王芳 {next(_candidates)}")
    await page.keyboard.press("Enter")
    await page.locator(".order input[type=checkbox]").check()
    await page.locator(".order .button-primary").click()
    for session in ("day1-am", "day1-pm"):
        await page.locator(f"input[name={session}]").first.check()
    await page.locator(".order .button-primary").click()
    for _ in range(3):
        await page.locator(".others button:enabled").first.click()


async def _hold(page: Page, env: Mapping[str, str]) -> None:
    await _choose_venues(page, env)
    for _ in ("venues", "order"):
        await page.locator(".order > section .button-primary").click()
    await page.locator(".reservation[data-state=held]").wait_for()


async def _to_provider(page: Page, env: Mapping[str, str]) -> None:
    await _hold(page, env)
    await page.locator(".reservation .button-primary").click()
    await page.locator("button.choice").first.wait_for()


async def _book(page: Page, env: Mapping[str, str]) -> None:
    await _to_provider(page, env)
    await page.locator("button.choice").first.click()
    await page.locator(".reservation[data-state=confirmed] details").click()


_REGISTER = "{QUOTA_FRONTEND_URL}/exams/" + EXAM + "/register"
SHOTS = (
    Shot("register-venues", _REGISTER, _choose_venues),
    Shot("register-held", _REGISTER, _hold),
    Shot("register-booked", _REGISTER, _book),
    Shot("pay", _REGISTER, _to_provider),
    Shot("board", "{QUOTA_URL}/exams/" + EXAM, _board_is_live),
    Shot("board-chosen", "{QUOTA_URL}/exams/" + EXAM + "?subjects=general,service", _board_is_live),
    Shot("ops", "{QUOTA_URL}/ops#noon", _ops_look),
    Shot("ops-pause", "{QUOTA_URL}/ops#noon", _ops_pause),
)
"""Every page; `{NAMES}` are of the demo's environment."""


async def _let_things_happen(env: Mapping[str, str]) -> None:
    """Make a day of it: seats taken, something paused, a release to come."""
    exam = f"{env['QUOTA_URL']}/v1/exams/{EXAM}"

    async def post(path: str, key: str, body: Any, **headers: str) -> None:
        headers["Authorization"] = f"Bearer {env[key]}"
        async with session.post(exam + path, json=body, headers=headers) as response:
            assert response.status < 300, await response.text()

    async with aiohttp.ClientSession() as session:
        for number, (venue, subjects, count) in enumerate(
            [
                ("shijiazhuang", ["ems"], 6),
                ("hefei", ["service"], 4),
                ("qingdao", ["general", "service"], 5),
                ("hefei", ["general", "qms"], 57),
                ("jinan", ["general"], 40),
            ]
        ):
            for i in range(count):
                order = {
                    "candidate": f"c-{number}-{i}",
                    "subjects": subjects,
                    "venues": [venue],
                    "accepted_notice": "2023-1",
                }
                key = f"order-{number}-{i}"
                await post("/reservations", "QUOTA_FRONTEND_KEY", order, **{"Idempotency-Key": key})
        reason = (
            "济南考点正在调整考场，预计 30 分钟后恢复 / Rooms are being moved, back in 30 minutes"
        )
        pause = {"reason": reason, "venue": "jinan"}
        await post("/pause", "QUOTA_OPS_KEY", pause)
        release = {
            "id": "evening",
            "at": (datetime.now(UTC) + timedelta(minutes=47)).isoformat(),
            "announce": "time-and-venues",
            "reason": "rooms were found",
            "seats": {"hefei": {"service": 10}, "qingdao": {"service": 10}},
        }
        await post("/seat-releases", "QUOTA_OPS_KEY", release)


def _wanted(only: str) -> Iterator[tuple[Shot, Literal["en", "zh"], str]]:
    for shot in SHOTS:
        if only in shot.name:
            for language in ("en", "zh"):
                for look in _LOOKS:
                    yield shot, language, look


async def _take(folder: Path, env: Mapping[str, str], only: str) -> list[str]:
    await _let_things_happen(env)
    async with async_playwright() as playwright, AsyncExitStack() as stack:
        browser = await playwright.chromium.launch(
            executable_path=str(need_program("chromium")), args=list(CHROMIUM_FLAGS)
        )
        stack.push_async_callback(browser.close)
        pages = Pages(browser, stack)
        for shot, language, look in _wanted(only):
            url = shot.address.format(**env)
            page = await pages.open(url, language=language, **_LOOKS[look])
            await shot.ready(page, env)
            path = folder / f"{shot.name}-{language}-{look}.png"
            await page.screenshot(path=path, full_page=True)
            print(path)
            await page.context.close()
    return pages.faults


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.browser.screenshots")
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "tests/results/screenshots")
    parser.add_argument("--only", default="", metavar="NAME", help="pages with this in their name")
    options = parser.parse_args(arguments)
    options.folder.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="quota-screenshots-") as name,
        running_demo(tmp_dir=Path(name)) as demo,
    ):
        faults = asyncio.run(_take(options.folder, demo.env, options.only))
    for fault in faults:
        print(fault, file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
