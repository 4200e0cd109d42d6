"""Keeps the availability of exams as JSON, so that a crowd costs one rendering.

A quota is rendered when it has changed, and a body is put together from quotas: of a large exam
with a new filter that takes some milliseconds, not a second. There are
more filters than can be kept, and a client with ever new ones must not take the time of
everybody else. So bodies that are not kept have a share of a process's time; those of exams of
common size cost nothing of it.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass, field

import orjson

from quota_service.api.announced import announced_json
from quota_service.api.pauses import pause_json
from quota_service.domain.definition import rfc3339
from quota_service.domain.errors import Overloaded
from quota_service.domain.exam import Exam
from quota_service.registration.availability import Availability, QuotaLeft

KEPT_MAX_BYTES = 8_388_608
"""Bodies with a `?subjects=` kept for each exam; the one used least recently goes first."""
_QUOTAS_AT_ONCE = 500
QUOTAS_PER_MS = 4000
"""About how many quotas are put together in a millisecond."""
Filter = frozenset[str] | None
"""The subjects of a body, None for all."""
_SHARE = 0.1
"""The part of a process's time."""
_BURST_S = 1.0
"""So much of the share may be used ahead of its time."""


@dataclass(slots=True)
class _Body:
    """A body, and how many of its bytes come before the quotas."""

    availability: Availability
    head: int
    whole: bytes


@dataclass(slots=True, eq=False)
class _RenderedExam:
    """The availability of an exam: each quota as JSON, and whole bodies by filter."""

    exam: Exam
    told: bytes
    """The members before the quotas that are the same as long as the exam is."""
    quotas: tuple[QuotaLeft, ...] = ()
    parts: list[bytes] = field(default_factory=list)
    positions: dict[str, list[int]] = field(default_factory=dict)
    bodies: "OrderedDict[Filter, _Body]" = field(default_factory=OrderedDict)
    kept_bytes: int = 0

    def at(self, wanted: Collection[str]) -> list[int]:
        """Return the positions of the quotas of subjects, in order."""
        return sorted(i for subject in wanted for i in self.positions.get(subject, ()))

    def keep(self, wanted: Filter, body: _Body) -> None:
        """Keep a body; of those with a filter only so many bytes."""
        before = self.bodies.pop(wanted, None)
        self.bodies[wanted] = body
        if wanted is None:
            return
        self.kept_bytes += len(body.whole) - (0 if before is None else len(before.whole))
        while self.kept_bytes > KEPT_MAX_BYTES:
            oldest = next(filtered for filtered in self.bodies if filtered is not None)
            self.kept_bytes -= len(self.bodies.pop(oldest).whole)


class RenderedAvailability:
    """Bodies by exam and filter."""

    def __init__(self) -> None:
        self._exams: dict[str, _RenderedExam] = {}
        self._used_until_s = 0.0

    async def get_ready(self, availability: Availability) -> None:
        """Render the changes in slices, so that other requests are served meanwhile."""
        rendered = self._exams.get(availability.exam.id)
        if rendered is not None and rendered.quotas is availability.quotas:
            return
        if rendered is None or rendered.exam is not availability.exam:
            rendered = _RenderedExam(availability.exam, _told(availability.exam))
        before, quotas = rendered.quotas, availability.quotas
        is_laid_out = len(before) == len(quotas)
        parts = rendered.parts.copy() if is_laid_out else []
        positions: dict[str, list[int]] = {}
        rendered_now = 0
        for i, quota in enumerate(quotas):
            if not is_laid_out:
                parts.append(quota_json(quota))
                positions.setdefault(quota.subject, []).append(i)
            elif quota is not before[i]:
                parts[i] = quota_json(quota)
            else:
                continue
            rendered_now += 1
            if rendered_now % _QUOTAS_AT_ONCE == 0:
                await asyncio.sleep(0)
        self._exams[availability.exam.id] = _RenderedExam(
            rendered.exam,
            rendered.told,
            quotas,
            parts,
            rendered.positions if is_laid_out else positions,
        )

    def body(
        self,
        availability: Availability,
        subjects: Collection[str] | None,
        *,
        is_bounded: bool = True,
    ) -> bytes:
        """Return the body for an availability that was got ready, and a filter.

        Raises Overloaded when it is bounded, and bodies that are not kept have had their time.
        """
        rendered = self._exams[availability.exam.id]
        wanted = None if subjects is None else frozenset(subjects)
        kept = rendered.bodies.get(wanted)
        if kept is not None and kept.availability is availability:
            rendered.bodies.move_to_end(wanted)
            return kept.whole
        head = _head(availability, rendered.told)
        if kept is not None:  # only its time is another
            body = head + kept.whole[kept.head :]
        else:
            if is_bounded and wanted is not None:
                self._take_time(sum(len(rendered.positions.get(each, ())) for each in wanted))
            body = head + put_together(rendered, availability, wanted)
        rendered.keep(wanted, _Body(availability, len(head), body))
        return body

    def _take_time(self, quotas: int) -> None:
        """Take the time of so many quotas from the share; raises Overloaded when it is used up."""
        cost_ms = quotas // QUOTAS_PER_MS
        if not cost_ms:
            return
        now_s = time.monotonic()
        used_until_s = max(self._used_until_s, now_s)
        if used_until_s - now_s >= _BURST_S:
            raise Overloaded("too many new ?subjects= filters at once; ask again")
        self._used_until_s = used_until_s + cost_ms / 1000 / _SHARE


def _head(availability: Availability, told: bytes) -> bytes:
    exam = availability.exam
    head = (
        f'{{"exam":"{exam.id}","version":{availability.version},"revision":{exam.revision},'
        f'"as_of":"{rfc3339(availability.as_of_ms)}",'
    ).encode()
    return b'%b%b"quotas":[' % (head, told)


def _told(exam: Exam) -> bytes:
    """Return what is paused and which seat release is next, as members; nothing where none is."""
    told = b""
    if exam.pauses:
        told += b'"pauses":%b,' % orjson.dumps([pause_json(pause) for pause in exam.pauses])
    if exam.announced:
        told += b'"next_release":%b,' % orjson.dumps(announced_json(exam.announced[0]))
    return told


def put_together(rendered: _RenderedExam, availability: Availability, wanted: Filter) -> bytes:
    """Return the part of a body after its head."""
    parts = rendered.parts if wanted is None else [rendered.parts[i] for i in rendered.at(wanted)]
    subjects = availability.exam.session_of.keys() if wanted is None else wanted
    venues = orjson.dumps(availability.venues_with_all(subjects))
    return b'%b],"venues_with_all":%b}' % (b",".join(parts), venues)


def quota_json(quota: QuotaLeft) -> bytes:
    """Return a quota as JSON; ids are of letters that need no escaping."""
    returned = "" if quota.returned is None else f',"returned":{quota.returned}'
    return (
        f'{{"venue":"{quota.venue}","subject":"{quota.subject}",'
        f'"remaining":{quota.remaining},"capacity":{quota.capacity}{returned}}}'
    ).encode()
