"""The waiting list in Redis: which entries wait, and what they want.

Postgres decides who waits. Redis has it too, so that a seat that comes back is kept for those who
want it in the step that gives it back. As in the seat store, methods return outcomes and raise
NotReady when the shard is not open under the caller's epoch, and SeatsUnavailable when Redis fails.
"""

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from quota_service.domain.exam import Exam
from quota_service.seats.calls import ShardScripts
from quota_service.seats.codes import Code
from quota_service.seats.hashes import scan_counts, scan_hash
from quota_service.seats.keys import Shard
from quota_service.seats.pages import in_pages
from quota_service.seats.servers import Runners
from quota_service.waiting_list.entry import Entry

_QUOTAS_MAX = 500
"""Quotas that the entries of one call want in all, about; an entry wants 1,024 at most."""
_DELISTED_MAX = 100
"""Entries that are removed with one call."""


@dataclass(frozen=True, slots=True)
class ListRequest:
    """What `enlist` needs of an entry; `on_sale` are its venues that are not closed for sale."""

    serial: str
    candidate: str
    subjects: tuple[str, ...]
    sessions: tuple[str, ...]
    venues: tuple[str, ...]
    on_sale: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Enlisted:
    """How `enlist` ended.

    With DONE and DONE_BEFORE `most_wanted` is the quota of the entry that most entries want, as
    `venue/subject`, and `longest` how many do. `detail` is for SESSION_CONFLICT the session and the
    serial that takes it, for SEATS_ON_SALE the venue.
    """

    code: Code
    longest: int = 0
    most_wanted: str = ""
    detail: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Listed:
    """An entry as Redis has it; `number` is None until Postgres has it.

    `wish` is what it says but for its number, as `wish_of` tells it of an entry.
    """

    serial: str
    number: int | None
    wish: str = field(default="", compare=False)


class ListStore:
    """The waiting lists of one Redis."""

    def __init__(self, runners: Runners) -> None:
        self._runners = runners
        self._calls = ShardScripts(runners)

    async def enlist(self, shard: Shard, exam: Exam, request: ListRequest) -> Enlisted:
        """Let a candidate wait, before Postgres has the entry; StaleDefinition is raised too."""
        args: list[str | int] = [
            shard.fence,
            exam.revision,
            request.serial,
            request.candidate,
            ",".join(request.subjects),
            ",".join(request.sessions),
            ",".join(request.venues),
            ",".join(request.on_sale),
        ]
        match await self._calls.call("enlist", shard, args):
            case [Code.DONE | Code.DONE_BEFORE as code, longest, most_wanted]:
                return Enlisted(Code(code), longest, most_wanted)
            case [code, *detail]:
                return Enlisted(Code(code), detail=tuple(detail))
            case answer:
                raise AssertionError(f"enlist answered {answer}")

    async def relist(self, shard: Shard, entries: Sequence[Entry]) -> int:
        """Have entries wait that do by Postgres, under their numbers; return how many were new."""
        added = 0
        for page in _pages(entries):
            _, more = await self._calls.call("relist", shard, [shard.fence, *_told(page)])
            added += more
        return added

    async def delist(self, shard: Shard, entries: Sequence[tuple[str, int | None]]) -> int:
        """Remove entries, given with their numbers, that do not wait; return how many were there.

        One given without a number stays where it has one by now: Postgres has it.
        """
        removed = 0
        for page in in_pages(entries, _DELISTED_MAX):
            told = [
                text
                for serial, number in page
                for text in (serial, "" if number is None else number)
            ]
            if told:
                _, more = await self._calls.call("delist", shard, [shard.fence, *told])
                removed += more
        return removed

    async def listed(self, shard: Shard) -> AsyncIterator[Listed]:
        """Yield the entries that wait by Redis, in pages; one may come twice, as with SCAN."""
        async for serial, text in scan_hash(self._runners, shard, "list"):
            number, _, wish = text.partition("|")
            yield Listed(serial, int(number) if number else None, wish)

    async def wanted(self, shard: Shard) -> dict[str, int]:
        """Return how many entries want each quota, and each session at a venue with ceilings."""
        return await scan_counts(self._runners, shard, "wanted")


def _pages(entries: Iterable[Entry]) -> Iterable[list[Entry]]:
    """Yield entries in pages that want a bounded number of quotas."""
    page: list[Entry] = []
    quotas = 0
    for entry in entries:
        page.append(entry)
        quotas += len(entry.subjects) * len(entry.venues)
        if quotas >= _QUOTAS_MAX:
            yield page
            page, quotas = [], 0
    if page:
        yield page


def wish_of(entry: Entry) -> str:
    """Return what Redis has of an entry that waits, but for its number."""
    lists = (entry.subjects, entry.sessions, entry.venues)
    return "|".join([entry.candidate, *(",".join(each) for each in lists)])


def _told(entries: Iterable[Entry]) -> list[Any]:
    return [
        text
        for entry in entries
        for text in (
            entry.serial,
            entry.number,
            entry.candidate,
            ",".join(entry.subjects),
            ",".join(entry.sessions),
            ",".join(entry.venues),
        )
    ]
