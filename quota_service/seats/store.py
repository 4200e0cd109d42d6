"""The seat store: reservations and quotas, one method a script, in the domain's words.

Methods return outcomes, they do not raise refusals: what a refusal means is for the use case that
asked. All of them raise NotReady when the shard is not open under the caller's epoch, those that
are given an exam StaleDefinition when another definition is in force, and all SeatsUnavailable when
Redis fails; only then is it unknown whether the step was taken.

Redis serves all exams in turn, so no call may be long: what grows with the size of an exam goes in
pages (`pages`). Over 400 lines because it has a method for each script of reservations and quotas.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from quota_service.awaited import IS_AWAITED
from quota_service.domain.errors import SeatsUnavailable
from quota_service.domain.exam import Exam, Quota
from quota_service.domain.reservation import Reservation
from quota_service.observability.caller import caller
from quota_service.seats.calls import ShardScripts, not_ready
from quota_service.seats.codes import CODES, Code
from quota_service.seats.connection import ScriptCall, SharedPart
from quota_service.seats.definition import fields_in_force
from quota_service.seats.keys import Shard
from quota_service.seats.pages import ENTRIES_MAX, QUOTAS_MAX, in_pages, leave_others_time
from quota_service.seats.record import parse_record
from quota_service.seats.replies import (
    Due,
    QuotaSeats,
    ReserveRequest,
    ScriptReply,
    ShardSnapshot,
    Totals,
    Waiting,
)
from quota_service.seats.servers import Runners
from quota_service.waiting_room.passes import Pass

_EVER_MS = 10**15
_SEAT_US = 6
"""What a seat that is taken costs Redis in a batch (µs); one that is looked at costs a sixth."""


class SeatStore:
    """The scripts of one Redis."""

    def __init__(self, runners: Runners) -> None:
        self._runners = runners
        self._scripts = runners.scripts
        self._shared: dict[str, tuple[Exam, int, SharedPart]] = {}
        self._calls = ShardScripts(runners)

    def server_of(self, shard: Shard) -> str:
        """Return what names the server that has a shard now; "" where it is the one, or none."""
        try:
            return self._runners.of(shard).name
        except SeatsUnavailable:
            return ""

    async def reserve(self, shard: Shard, exam: Exam, request: ReserveRequest) -> ScriptReply:
        """Take all subjects at the first venue that has them, or nothing."""
        args: tuple[str | int, ...] = (
            request.serial,
            request.candidate,
            request.request_hash,
            "" if request.granted is None else _pass_text(request.granted),
            len(request.subjects),
            len(request.venues),
            *request.subjects,
            *request.sessions,
            *request.venues,
            caller().text,
            ",".join(request.order) if len(request.order) > 1 else "",
            request.set_aside,
        )
        call = ScriptCall(
            self._scripts["reserve"],
            (shard.record_key(request.serial),),
            args,
            self._reserve_shared(shard, exam),
            IS_AWAITED.get(),
            len(request.subjects) * (_SEAT_US + len(request.venues)),
        )
        answer = await self._runners.of(shard).call(call)
        if answer[0] < Code.DONE:
            raise not_ready(shard, answer[0])
        return self._answer(shard, request.serial, answer[1])

    def _reserve_shared(self, shard: Shard, exam: Exam) -> SharedPart:
        """Return what the reservations of an exam share: one object while nothing of it changes."""
        known = self._shared.get(shard.tag)
        if known is not None and known[0] is exam and known[1] == shard.epoch:
            return known[2]
        shared = SharedPart(
            self._calls.keys(shard, "reserve"),
            (
                shard.fence,
                exam.registration.opens_at_ms,
                exam.registration.closes_at_ms,
                exam.hold.ttl_s * 1000,
                exam.hold.expiry_slack_s * 1000,
                exam.fee.amount,
                exam.fee.currency,
                0 if exam.waiting_room is None else exam.waiting_room.idle_s * 1000,
                exam.fair_use.unpaid_holds_max,
                exam.fair_use.unpaid_pause_s * 1000,
                exam.fair_use.unpaid_pause_max_s * 1000,
                exam.revision,
                exam.fair_use.key_share_max_percent,
            ),
        )
        self._shared[shard.tag] = (exam, shard.epoch, shared)
        return shared

    async def release(self, shard: Shard, serial: str) -> ScriptReply:
        """Give a hold back."""
        return await self._step("release", shard, serial)

    async def checkout(self, shard: Shard, serial: str, grace_ms: int) -> ScriptReply:
        """Move the deadline out by `grace_ms`, once."""
        return await self._step("checkout", shard, serial, grace_ms)

    async def begin_payment(
        self, shard: Shard, serial: str, attempt: str, amount: int, currency: str
    ) -> ScriptReply:
        """Begin to record a captured payment, under the random word `attempt`.

        A hold that has expired is left: ENDED.
        """
        return await self._step(
            "begin_payment", shard, serial, attempt, amount, currency, 0, "", "", 0, ""
        )

    async def begin_payment_again(
        self,
        shard: Shard,
        exam: Exam,
        reservation: Reservation,
        attempt: str,
        *,
        amount: int,
        currency: str,
        uses_max: int | None = None,
    ) -> ScriptReply:
        """Do the same, and let a hold that has expired take its seats again.

        It takes them in the sessions that its subjects are in now; none that is closed. `uses_max`
        is how often the code of seats that are set aside may be used.
        """
        pairs = zip(reservation.subjects, reservation.sessions, strict=True)
        # A subject that is gone has no seats; its session is as good as any.
        now = [exam.session_of.get(subject, session) for subject, session in pairs]
        _, _, serial = reservation.id.rpartition(".")
        is_closed = exam.is_closed(reservation.venue, reservation.subjects)
        code_uses = "" if uses_max is None else uses_max
        words = (exam.revision, ",".join(now), int(is_closed), code_uses)
        args = (attempt, amount, currency, 1, *words)
        return await self._step("begin_payment", shard, serial, *args)

    async def abandon_payment(
        self, shard: Shard, serial: str, attempt: str, grace_ms: int
    ) -> ScriptReply:
        """Make a reservation a hold again, if it is still under `attempt`.

        It does not expire for another `grace_ms`.
        """
        return await self._step("abandon_payment", shard, serial, attempt, grace_ms)

    async def confirm(self, shard: Shard, serial: str) -> ScriptReply:
        """Finish a reservation whose booking is committed."""
        return await self._step("confirm", shard, serial)

    async def change(
        self, shard: Shard, exam: Exam, serial: str, venue: str, attempt: str, *, leaving: str = ""
    ) -> ScriptReply:
        """Take the seats of another venue: a hold moves, a booking is changing under `attempt`.

        With `leaving` only if it is at that venue; DONE_BEFORE where it is not.
        """
        window = exam.registration
        times = (window.opens_at_ms, window.closes_at_ms)
        rules = (exam.fair_use.venue_changes_max, exam.fair_use.key_share_max_percent)
        args = (*times, exam.revision, *rules, leaving)
        return await self._step("change", shard, serial, venue, attempt, *args)

    async def finish_change(
        self, shard: Shard, serial: str, attempt: str, *, has_moved: bool
    ) -> ScriptReply:
        """End a change of venue as Postgres has decided it, if it still goes on under `attempt`."""
        return await self._step("finish_change", shard, serial, attempt, int(has_moved))

    async def refund(self, shard: Shard, serial: str) -> ScriptReply:
        """Give back the seats of a booking whose refund is committed."""
        return await self._step("refund", shard, serial)

    async def clock_ms(self, shard: Shard | None = None) -> int:
        """Return the time by the clock of Redis: of the server that has the shard, or of any."""
        runner = self._runners if shard is None else self._runners.of(shard)
        return await runner.clock_ms()

    async def read(self, shard: Shard, serial: str) -> Reservation | None:
        """Return the reservation, or None when there is no record of it."""
        return (await self.recall(shard, serial)).reservation

    async def recall(self, shard: Shard, serial: str) -> ScriptReply:
        """Return DONE with the reservation, ENDED when its record is gone since, or UNKNOWN."""
        answer = await self._calls.call("read", shard, [shard.fence, serial], records=(serial,))
        return self._answer(shard, serial, answer)

    async def read_many(self, shard: Shard, serials: Sequence[str]) -> list[Reservation | None]:
        """Return the reservations in order, None for those without a record."""
        return await asyncio.gather(*(self.read(shard, serial) for serial in serials))

    async def claims(self, shard: Shard, candidate: str, sessions: Sequence[str]) -> list[str]:
        """Return the serials of the candidate's reservations that take the sessions."""
        args: list[str | int] = [shard.fence, *(f"{candidate}/{session}" for session in sessions)]
        _, *serials = await self._calls.call("claims", shard, args)
        return sorted({serial for serial in serials if serial})

    async def overdue(
        self, shard: Shard, index: str, age_ms: int, limit: int, ahead_ms: int | str = ""
    ) -> list[str]:
        """Return at most `limit` serials of `index` whose time is at least `age_ms` ago.

        When there are none: those whose time is more than `ahead_ms` to come, for times at which
        something was done. Redis's clock was set back since.
        """
        args: list[str | int] = [shard.fence, age_ms, limit, ahead_ms]
        _, _now_ms, _first_ms, *serials = await self._calls.call(
            "overdue", shard, args, chosen=(shard.key(index),)
        )
        return serials

    async def due(self, shard: Shard, limit: int) -> Due:
        """Return at most `limit` holds that are due, and when the next one is due."""
        args: list[str | int] = [shard.fence, 0, limit, ""]
        _, now_ms, first_ms, *serials = await self._calls.call(
            "overdue", shard, args, chosen=(shard.key("due"),)
        )
        return Due(now_ms, None if first_ms < 0 else first_ms, serials)

    async def with_attempt(self, shard: Shard, limit: int) -> list[str]:
        """Return at most `limit` serials whose payment or change of venue is being recorded."""
        return await self.overdue(shard, "pinned", -_EVER_MS, limit)

    async def expire(self, shard: Shard, serials: Sequence[str]) -> tuple[int, int]:
        """Expire those holds that are due; return how many, and the largest lag in ms.

        One call has a bound for its work; holds that are left are due again.
        """
        args: list[str | int] = [shard.fence, caller().text, *serials]
        _, expired, lag_ms = await self._calls.call("expire", shard, args, records=serials)
        return expired, lag_ms

    async def open(self, shard: Shard) -> bool:
        """Open a new shard; False when it is open under another epoch."""
        call = self._calls.prepared("open", shard, [shard.fence])
        code, *_ = await self._runners.of(shard).call(call)
        return Code(code) >= Code.DONE

    async def definition(self, shard: Shard) -> dict[str, str]:
        """Return the definition in force, as `seats.definition` reads it; empty before the first.

        Whether the shard is open is not asked: what is read of one that is not is `define`'s to
        refuse.
        """
        found = await self._runners.of(shard).command("HGETALL", shard.key("definition"))
        return dict(found)

    async def revision(self, shard: Shard) -> str:
        """Return the revision of the definition in force, "" before the first."""
        return str(
            await self._runners.of(shard).command("HGET", shard.key("definition"), "revision") or ""
        )

    async def define(self, shard: Shard, exam: Exam, before: str) -> None:
        """Put a stored definition in force in place of the revision `before`, "" for none."""
        args: list[str | int] = [shard.fence, before]
        args += [word for field in fields_in_force(exam).items() for word in field]
        await self._calls.call("define", shard, args)

    async def set_capacity(self, shard: Shard, capacity: Mapping[Quota, int]) -> ScriptReply:
        """Set the capacity of quotas: DONE with how many changed, or BELOW_TAKEN.

        The latter comes with quotas and seats, of all that cannot be lowered so far. Of a page of
        quotas all are set or none; pages that can be set are, whatever becomes of the others.
        """
        changed, refused = 0, []
        for page in in_pages(list(capacity.items()), QUOTAS_MAX):
            began_s = time.monotonic()
            args: list[str | int] = [shard.fence, caller().text]
            for quota, seats in page:
                args += [str(quota), seats]
            code, *detail = await self._calls.call("capacity", shard, args)
            if code == Code.BELOW_TAKEN:
                refused += detail
            else:
                changed += detail[0]
            if len(page) == QUOTAS_MAX:
                await leave_others_time(began_s)
        if refused:
            return ScriptReply(Code.BELOW_TAKEN, detail=tuple(refused))
        return ScriptReply(Code.DONE, detail=(changed,))

    async def totals(self, shard: Shard) -> Totals:
        """Return the totals of the shard, without its quotas."""
        totals, _, _ = await self._page(shard, "", "0", 0)
        return totals

    async def pages(
        self, shard: Shard, known_version: int | None = None
    ) -> AsyncIterator[tuple[Totals, list[QuotaSeats]]]:
        """Yield the counters of all quotas, page by page, each with the totals of its moment.

        While the shard is at the known version there is one page, without quotas. A quota may be in
        two pages; the later one holds. Between pages Redis has time for others.
        """
        known, cursor = "" if known_version is None else str(known_version), "0"
        while True:
            began_s = time.monotonic()
            totals, cursor, quotas = await self._page(shard, known, cursor, QUOTAS_MAX)
            yield totals, quotas
            if cursor == "0":
                return
            known = ""
            await leave_others_time(began_s)

    async def snapshot(self, shard: Shard) -> ShardSnapshot:
        """Return every counter of the shard."""
        looks: list[Totals] = []
        counters: tuple[dict[Quota, int], ...] = ({}, {}, {}, {}, {}, {}, {})
        async for totals, page in self.pages(shard):
            looks.append(totals)
            for row in page:
                quota = Quota(*row.name.split("/"))
                for counter, seats in zip(counters, row[1:], strict=True):
                    counter[quota] = seats
        first = looks[0]
        return ShardSnapshot(
            first.epoch,
            first.version,
            first.clock_ms,
            first.live_holds,
            first.attempts,
            first.journal_entries,
            first.claims,
            len(looks),
            looks[-1].version - first.version,
            *counters,
        )

    async def _page(
        self, shard: Shard, known: str, cursor: str, count: int
    ) -> tuple[Totals, str, list[QuotaSeats]]:
        args: list[str | int] = [shard.fence, known, cursor, count]
        code, *answer = await self._calls.call("snapshot", shard, args)
        totals = Totals(shard.epoch, *answer[:6])
        if code == Code.DONE_BEFORE:
            return totals, "0", []
        cursor, flat = answer[6:]
        numbers = [iter(map(int, flat[i::8])) for i in range(1, 8)]
        return totals, cursor, [QuotaSeats(*row) for row in zip(flat[::8], *numbers, strict=True)]

    async def waiting(self, shard: Shard) -> Waiting:
        """Return what of a shard waits for a worker."""
        _, attempts, entries, *ages_ms = await self._calls.call("waiting", shard, [shard.fence])
        kinds = ("overdue_hold", "attempt", "journal_entry")
        return Waiting(attempts, entries, dict(zip(kinds, ages_ms, strict=True)))

    async def journal(
        self, shard: Shard, after: str, limit: int
    ) -> tuple[int, list[tuple[str, dict[str, str]]]]:
        """Return the shard's version and at most `limit` journal entries after a stream id.

        The version is as when the first entries were read.
        """
        version: int | None = None
        collected: list[tuple[str, dict[str, str]]] = []
        while True:
            wanted = min(ENTRIES_MAX, limit - len(collected))
            answer = await self._calls.call("read_journal", shard, [shard.fence, after, wanted])
            version = answer[1] if version is None else version
            entries = answer[2:]
            collected += (
                (id_, dict(zip(flat[::2], flat[1::2], strict=True))) for id_, flat in entries
            )
            if len(entries) < wanted or len(collected) == limit:
                return version, collected
            after = entries[-1][0]

    async def trim_journal(self, shard: Shard, through: tuple[int, int]) -> None:
        """Forget the journal entries up to (epoch, version), which are in Postgres."""
        epoch, version = through
        more = 1
        while more:
            _, more = await self._calls.call(
                "trim_journal", shard, [shard.fence, f"{epoch}-{version + 1}"]
            )

    async def _step(self, name: str, shard: Shard, serial: str, *args: str | int) -> ScriptReply:
        words = [shard.fence, serial, *args, caller().text]
        answer = await self._calls.call(name, shard, words, records=(serial,))
        return self._answer(shard, serial, answer)

    def _answer(self, shard: Shard, serial: str, answer: Sequence[Any]) -> ScriptReply:
        code, *detail = answer
        if detail and isinstance(detail[0], str) and "|" in detail[0]:
            record = parse_record(shard.exam, serial, detail[0])
            return ScriptReply(CODES[code], record, tuple(detail[1:]))
        return ScriptReply(CODES[code], None, tuple(detail))


def _pass_text(granted: Pass) -> str:
    return f"{granted.place}|{granted.expires_ms}|{granted.epoch}"
