"""The dealing of returned seats in Redis: one method a script, and what a plan has to read.

As in the seat store, methods return outcomes and raise NotReady when the shard is not open under
the caller's epoch, StaleDefinition when another definition is in force, and SeatsUnavailable. Those
of the leader raise OvertakenError once another leader has begun to deal.

What is read for a plan is read without the fence: the scripts that act on the plan check it again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from quota_service.domain.errors import QuotaError
from quota_service.domain.exam import Exam
from quota_service.domain.reservation import Reservation
from quota_service.observability.caller import caller
from quota_service.seats.calls import ShardScripts
from quota_service.seats.codes import CODES, Code
from quota_service.seats.keys import Shard
from quota_service.seats.pages import in_pages
from quota_service.seats.record import parse_record
from quota_service.seats.servers import Runners
from quota_service.waiting_list.plan import PlannedOffer

_FIELDS_MAX = 500
"""Fields of a hash in one command."""
_OPENED_MAX = 100
"""Quotas of which seats are opened in one call."""


class OvertakenError(QuotaError):
    """Another leader has begun to deal since this one became one: of epoch `leader`, 0: unknown."""

    def __init__(self, detail: str, leader: int = 0) -> None:
        super().__init__(detail)
        self.leader = leader


@dataclass(frozen=True, slots=True)
class ListLook:
    """What there is to deal: quotas with returned seats, entries, offers not finished, the time.

    `revision` is that of the definition in force.
    """

    returned: int
    entries: int
    offers: int
    clock_ms: int
    revision: str


@dataclass(frozen=True, slots=True)
class MadeOffer:
    """An offer that is to be made: the serial of its hold, and its times by Redis's clock."""

    serial: str
    planned: PlannedOffer
    deadline_ms: int
    due_ms: int


@dataclass(frozen=True, slots=True)
class OfferReply:
    """How an offer ended; the reservation where there is a record of it."""

    code: Code
    reservation: Reservation | None = None


@dataclass(frozen=True, slots=True)
class Leftover:
    """Returned seats of a quota that go on open sale.

    `place` is `venue/session` where there is a ceiling, else empty. The plan has seen `waiting`
    entries for the quota and `waiting_at_place` for the place; where more wait by now, the seats
    stay for them.
    """

    quota: str
    seats: int
    waiting: int
    place: str = ""
    waiting_at_place: int = 0


class DealingStore:
    """Dealing in one Redis."""

    def __init__(self, runners: Runners) -> None:
        self._runners = runners
        self._calls = ShardScripts(runners)

    async def look(self, shard: Shard) -> ListLook:
        """Return what there is to deal."""
        _, *look = await self._calls.call("list_status", shard, [shard.fence])
        return ListLook(*look)

    async def begin(self, shard: Shard, leader_epoch: int) -> tuple[int, dict[str, str]]:
        """Let no leader of an earlier epoch deal any more.

        Returns the clock in ms, and the offers that are not finished: the serial of the entry by
        that of its hold.
        """
        answer = await self._calls.call("begin_dealing", shard, [shard.fence, leader_epoch])
        _check_leads(shard, answer)
        _, clock_ms, *flat = answer
        return clock_ms, dict(zip(flat[::2], flat[1::2], strict=True))

    async def counts(self, shard: Shard, name: str, fields: Sequence[str]) -> dict[str, int]:
        """Return those of the fields of a hash that are there: of `remaining`, `ceiling_left`."""
        found = await self._fields(shard, name, fields)
        return {field: int(text) for field, text in found.items()}

    async def holders(self, shard: Shard, claims: Sequence[str]) -> dict[str, str]:
        """Return the serials that have claims, by candidate/session."""
        return await self._fields(shard, "claims", claims)

    async def offer(
        self, shard: Shard, exam: Exam, leader_epoch: int, offers: Sequence[MadeOffer]
    ) -> list[OfferReply]:
        """Make holds of planned seats, in order; the first that is refused is the last answered."""
        args: list[str | int] = [shard.fence, exam.revision, leader_epoch, caller().text]
        args += [exam.fee.amount, exam.fee.currency]
        for offer in offers:
            args += _words(offer)
        records = [offer.serial for offer in offers]
        answer = await self._calls.call("offer", shard, args, records=records)
        _check_leads(shard, answer)
        return [
            OfferReply(
                CODES[code],
                parse_record(shard.exam, offer.serial, detail[0]) if code >= Code.DONE else None,
            )
            for offer, (code, *detail) in zip(offers, answer[1:], strict=False)
        ]

    async def open(
        self, shard: Shard, exam: Exam, leader_epoch: int, leftovers: Sequence[Leftover]
    ) -> tuple[int, list[str]]:
        """Put returned seats on open sale.

        Returns how many, and the quotas whose seats stay: more entries wait for them by now.
        """
        opened, stay = 0, []
        for page in in_pages(leftovers, _OPENED_MAX):
            args: list[str | int] = [shard.fence, exam.revision, leader_epoch, caller().text]
            for each in page:
                args += [each.quota, each.place, each.seats, each.waiting, each.waiting_at_place]
            answer = await self._calls.call("open_returned", shard, args)
            _check_leads(shard, answer)
            opened += answer[1]
            stay += answer[2:]
        return opened, stay

    async def finish(self, shard: Shard, serials: Sequence[str]) -> None:
        """Forget offers that Postgres has."""
        if serials:
            await self._calls.call("finish_offers", shard, [shard.fence, *serials])

    async def _fields(self, shard: Shard, name: str, fields: Sequence[str]) -> dict[str, str]:
        found: dict[str, str] = {}
        key, runner = shard.key(name), self._runners.of(shard)
        for page in in_pages(fields, _FIELDS_MAX) if fields else ():
            texts = await runner.command("HMGET", key, *page)
            found |= {
                field: text for field, text in zip(page, texts, strict=True) if text is not None
            }
        return found


def _words(offer: MadeOffer) -> list[str | int]:
    entry, seats = offer.planned.entry, offer.planned.seats
    words: list[str | int] = [offer.serial, entry.serial, entry.candidate, offer.planned.venue]
    words += [offer.deadline_ms, offer.due_ms, len(seats)]
    for subject, session, seat in zip(entry.subjects, entry.sessions, seats, strict=True):
        source = "returned" if seat.is_returned else "remaining"
        words += [subject, session, source if seat.opened is None else f"{source}:{seat.opened}"]
    return words


def _check_leads(shard: Shard, answer: Sequence[Any]) -> None:
    if answer[0] == Code.IN_PROGRESS:
        raise OvertakenError(f"another leader deals the seats of shard {shard.tag}", answer[1])
