"""A candidate at the registration page of a demo, and what ops do meanwhile."""

import asyncio
import itertools
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import aiohttp
import redis.asyncio
from playwright.async_api import Locator, Page, expect

from quota_service.domain.reservation import ReservationId
from quota_service.seats.keys import Shard
from tests.support.browser import LIMIT_MS, Pages, words
from tests.support.client import ApiClient
from tests.support.exams import exam_definition
from tests.support.patience import LIMIT_S
from tests.support.records import move_due

expect.set_options(timeout=LIMIT_MS)

_NUMBERS = itertools.count(1)
Language = Literal["en", "zh"]


@dataclass(frozen=True, slots=True)
class Site:
    """A demo: the address of its pages, its API with the keys, and its Redis."""

    url: str
    api: ApiClient
    redis: "redis.asyncio.Redis"
    definitions: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What was imported, by the id of the exam."""

    async def new_exam(
        self, seats: Mapping[str, Mapping[str, int]], *, tables: Any = None, **rules: Any
    ) -> str:
        """Import an exam with these seats; return its id, which no other test has."""
        exam = f"exam-{next(_NUMBERS)}"
        await self.import_exam({**exam_definition(exam, seats=seats, **rules), **(tables or {})})
        return exam

    async def import_exam(self, definition: dict[str, Any]) -> None:
        """Import a definition, a new one or a changed one."""
        imported = await self.api.import_exam(definition)
        assert imported.status in {200, 201}, imported
        self.definitions[definition["id"]] = definition

    async def open_now(self, exam: str) -> None:
        """Bring the opening of an exam forward to now."""
        definition = self.definitions[exam]
        opened = exam_definition(exam, seats=definition["seats"], opens_in_s=0)["registration"]
        closes_at = definition["registration"]["closes_at"]
        await self.import_exam({**definition, "registration": {**opened, "closes_at": closes_at}})

    async def ops(self, method: str, path: str, **body: Any) -> Any:
        """Make a call with the key of ops."""
        reply = await self.api.call(method, path, key=self.api.ops_key, json=body)
        assert reply.status < 300, reply
        return reply.json


class Candidate:
    """Uses the page in one language, by what it says and never by how it is built."""

    def __init__(self, site: Site, page: Page, language: Language) -> None:
        self.site = site
        self.page = page
        self.words = words("register", language)
        self.name = f"Li Wei {next(_NUMBERS)}"

    @classmethod
    async def at(
        cls, site: Site, pages: Pages, exam: str = "", *, language: Language = "en", **options: Any
    ) -> "Candidate":
        """Sign in as a new candidate; at an exam where one is given, else at the list."""
        address = f"{site.url}/exams/{exam}/register" if exam else f"{site.url}/"
        page = await pages.open(address, language=language, **options)
        candidate = cls(site, page, language)
        await page.get_by_label(candidate.words["sign-in.name"]).fill(candidate.name)
        await candidate.press("sign-in.do")
        return candidate

    def says(self, key: str, **members: object) -> "re.Pattern[str]":
        """Return what finds the words of a key; members that are not given may be anything."""
        found = self.words[key]
        forms = list(found.values()) if isinstance(found, dict) else [found]
        patterns = []
        for form in forms:
            parts = re.split(r"\{(\w+)\}", form)
            patterns.append(
                "".join(
                    re.escape(str(members[part]))
                    if part in members
                    else ".*?"
                    if place % 2
                    else re.escape(part)
                    for place, part in enumerate(parts)
                )
            )
        return re.compile("|".join(patterns))

    def button(self, key: str, **members: object) -> Locator:
        """Return the button with the words of a key."""
        whole = re.compile(f"^(?:{self.says(key, **members).pattern})$")
        return self.page.get_by_role("button", name=whole)

    async def press(self, key: str, **members: object) -> None:
        """Press the button with the words of a key."""
        await self.button(key, **members).click()

    def shows(self, key: str, **members: object) -> Any:
        """Return the expectation of the words of a key on the page."""
        return expect(self.page.get_by_text(self.says(key, **members)).first)

    def reservation(self, state: str) -> Locator:
        """Return the panel of a reservation in a state."""
        return self.page.locator(f".reservation[data-state={state}]")

    async def accept(self) -> None:
        """Accept the notice."""
        await self.page.get_by_role("checkbox").check()
        await self.press("next")

    async def choose(self, *subjects: str) -> None:
        """Choose subjects by their titles."""
        for subject in subjects:
            await self.page.get_by_role("radio", name=subject).check()
        await self.press("next")

    async def add_venues(self, *venues: str) -> None:
        """Add venues by their titles, in this order."""
        for venue in venues:
            await self.venue_to_add(venue).click()

    def venue_to_add(self, venue: str) -> Locator:
        """Return the button that adds a venue."""
        return self.page.get_by_role("button", name=re.compile(rf"^\+ .*{venue}"))

    async def order(self, subjects: tuple[str, ...], venues: tuple[str, ...]) -> None:
        """Go through the steps up to the last button."""
        await self.accept()
        await self.choose(*subjects)
        await self.add_venues(*venues)
        await self.press("next")

    async def reserve(self, subjects: tuple[str, ...], venues: tuple[str, ...]) -> None:
        """Go through the steps and wait until the seats are held."""
        await self.order(subjects, venues)
        await self.press("order.reserve")
        await expect(self.reservation("held")).to_be_visible()

    async def reserve_again(self, subjects: tuple[str, ...], venues: tuple[str, ...]) -> None:
        """Reserve where the notice was accepted before."""
        await self.choose(*subjects)
        await self.add_venues(*venues)
        await self.press("next")
        await self.press("order.reserve")
        await expect(self.reservation("held")).to_be_visible()

    async def pay(self, how: str = "pay") -> None:
        """Go to the provider, choose what it does, and come back."""
        await self.press("hold.pay")
        await self.at_provider(how)

    async def at_provider(self, how: str) -> None:
        """Choose what the provider does, and come back."""
        await self.page.wait_for_url("**/pay/**")
        told = words("pay", "zh" if "支付" in self.words["hold.pay"] else "en")[f"{how}.told"]
        await self.page.get_by_role("button", name=told).click()
        await self.page.wait_for_url("**/register")

    async def let_deadline_come(self, exam: str) -> None:
        """Let the time to pay for the newest hold end in a second, and the page look again."""
        held = (await self.view(exam))["reservations"][-1]
        parts = ReservationId.parse(held["id"])
        assert parts is not None
        await move_due(self.site.redis, Shard(exam, 0), parts.serial, ago_ms=-1000)
        await self.page.evaluate("dispatchEvent(new Event('online'))")

    @asynccontextmanager
    async def told_by_frontend(self) -> AsyncIterator[Callable[[str], Awaitable[bool]]]:
        """Lend a function that waits until the frontend tells this candidate of a kind of event."""
        cookies = await self.page.context.cookies()
        told = {str(each["name"]): str(each["value"]) for each in cookies}
        address = f"{self.site.url}/session/events"
        async with aiohttp.ClientSession(cookies=told) as session, session.get(address) as stream:

            async def wait_for(kind: str) -> bool:
                async with asyncio.timeout(LIMIT_S):
                    async for line in stream.content:
                        if kind.encode() in line:
                            return True
                return False

            yield wait_for

    async def view(self, exam: str) -> Any:
        """Return what the service says that this candidate has."""
        session = await self.page.request.get(f"{self.site.url}/session")
        candidate = (await session.json())["candidate"]
        return (await self.site.api.get(f"/v1/exams/{exam}/candidates/{candidate}")).json
