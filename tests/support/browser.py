"""Pages in a Chromium of the system: opened as a reader of a language has them, and checked."""

import json
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, Literal

from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page

from quota_service.api.pages import FOLDER
from tests.support.patience import LIMIT_S

CHROMIUM_FLAGS = (
    "--no-sandbox",  # the tests may run as root
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
)
"""How Chromium is started: headless, and with no call to anybody but the servers of the tests."""
LIMIT_MS = LIMIT_S * 1000
"""How long a page may take for anything that a test waits for."""
WIDE = (1280, 900)
"""A window on a desk."""
NARROW = (360, 740)
"""A small phone."""
_LOCALES = {"en": "en-GB", "zh": "zh-CN"}
_NETWORK = "Failed to load resource"
"""What Chromium logs for an answer that is an error, which pages show in words of their own."""
_SERIOUS = {"serious", "critical"}


@dataclass
class Pages:
    """Opens pages, each in a context of its own, and collects what goes wrong in them."""

    browser: Browser
    stack: AsyncExitStack
    faults: list[str] = field(default_factory=list)

    async def open(
        self,
        url: str,
        *,
        language: Literal["en", "zh"] = "en",
        dark: bool = False,
        size: tuple[int, int] = WIDE,
        context: BrowserContext | None = None,
        script: str = "",
    ) -> Page:
        """Open a page, in a context of another page or in a new one.

        The `script` runs before those of the page.
        """
        if context is None:
            context = await self.browser.new_context(
                locale=_LOCALES[language],
                color_scheme="dark" if dark else "light",
                viewport={"width": size[0], "height": size[1]},
                reduced_motion="reduce",
            )
            context.set_default_timeout(LIMIT_MS)
            self.stack.push_async_callback(context.close)
        page = await context.new_page()
        if script:
            await page.add_init_script(script)
        page.on("pageerror", lambda error: self.faults.append(f"{page.url}: {error}"))
        page.on("console", self._logged)
        await page.goto(url)
        return page

    def _logged(self, message: ConsoleMessage) -> None:
        if message.type == "error" and not message.text.startswith(_NETWORK):
            self.faults.append(f"{message.page and message.page.url}: {message.text}")


async def barriers(page: Page) -> list[str]:
    """Return what axe-core finds serious on a page as it is now, and where."""
    found = await Axe().run(page, options={"resultTypes": ["violations"]})
    return [
        f"{rule['id']}: {rule['help']}: {[node['html'][:200] for node in rule['nodes'][:3]]}"
        for rule in found.response["violations"]
        if rule["impact"] in _SERIOUS
    ]


async def width_of_content(page: Page) -> int:
    """Return the width in pixels that the document needs; if wider it scrolls sideways."""
    width = await page.evaluate("document.documentElement.scrollWidth")
    assert isinstance(width, int)
    return width


def words(name: str, language: str) -> dict[str, Any]:
    """Return the words of a part of the pages in a language."""
    path = FOLDER / "words" / f"{name}.{language}.json"
    return dict(json.loads(path.read_text(encoding="utf-8")))
