"""A Chromium for the tests of the pages: the system's, started once for each process of the run.

Where there is none these tests are not run, and one line says so; `make test-system` runs them
always. Each test has a browser context of its own. Anything a page logs as an error, any error it
throws and anything its policy refuses fails the test; so does a call to another host, because
Chromium resolves no other.
"""

import dataclasses
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from playwright.async_api import Browser, async_playwright, expect

from quota_service.settings import Settings
from tests.support.browser import CHROMIUM_FLAGS, LIMIT_MS, Pages
from tests.support.programs import need_program


@pytest.fixture(scope="session")
async def chromium() -> AsyncIterator[Browser]:
    """The browser."""
    program = need_program("chromium")
    expect.set_options(timeout=LIMIT_MS)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=str(program), args=list(CHROMIUM_FLAGS), timeout=LIMIT_MS
        )
        yield browser
        await browser.close()


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Settings with which pages hear of changes at once."""
    return dataclasses.replace(settings, stream_interval_ms=20)


@pytest.fixture
async def pages(chromium: Browser) -> AsyncIterator[Pages]:
    """Opens pages; what went wrong in one of them fails the test at its end."""
    async with AsyncExitStack() as stack:
        pages = Pages(chromium, stack)
        yield pages
    assert pages.faults == []
