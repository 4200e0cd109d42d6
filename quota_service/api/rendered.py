"""Keeps the JSON of what crowds look at, so that a crowd costs one rendering."""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass, field

import orjson

from quota_service.api.render import exam_json, room_json
from quota_service.api.times import rfc3339
from quota_service.domain.exam import Exam
from quota_service.http.response import Response
from quota_service.registration.availability import Availability, QuotaLeft
from quota_service.waiting_room.document import PublicDocument

_ETAG_BYTES = 8
KEPT_MAX_BYTES = 8_388_608
"""Bodies with a `?subjects=` kept for each exam; the one used least recently goes first."""
_QUOTAS_AT_ONCE = 500
QUOTAS_PER_MS = 4000
"""About how many quotas are put together in a millisecond."""

Filter = frozenset[str] | None
"""The subjects of a body, None for all."""


@dataclass(slots=True)
class _Body:
    """A body, and how many of its bytes stand before the quotas."""

    availability: Availability
    head: int
    whole: bytes


@dataclass(slots=True, eq=False)
class _RenderedExam:
    """The availability of an exam: each quota as JSON, and whole bodies by filter."""

    exam: Exam
    quotas: tuple[QuotaLeft, ...] = ()
    parts: list[bytes] = field(default_factory=list)
    positions: dict[str, list[int]] = field(default_factory=dict)
    bodies: "OrderedDict[Filter, _Body]" = field(default_factory=OrderedDict)
    kept_bytes: int = 0

    def at(self, wanted: Collection[str]) -> list[int]:
        """Return where the quotas of subjects stand, in order."""
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
    """Bodies by exam and filter.

    A quota is rendered when it has changed, and a body is put together from them: of a large exam
    with a filter that nobody has asked for yet that takes some milliseconds, not a second.
    """

    def __init__(self) -> None:
        self._exams: dict[str, _RenderedExam] = {}

    async def get_ready(self, availability: Availability) -> None:
        """Render what has changed, while other requests have their turns."""
        rendered = self._exams.get(availability.exam.id)
        if rendered is not None and rendered.quotas is availability.quotas:
            return
        if rendered is None or rendered.exam is not availability.exam:
            rendered = _RenderedExam(availability.exam)
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
            availability.exam, quotas, parts, rendered.positions if is_laid_out else positions
        )

    def availability(self, availability: Availability, subjects: Collection[str] | None) -> bytes:
        """Return the body for an availability that was got ready, and a filter."""
        rendered = self._exams[availability.exam.id]
        wanted = _filter(availability, subjects)
        kept = rendered.bodies.get(wanted)
        if kept is not None and kept.availability is availability:
            rendered.bodies.move_to_end(wanted)
            return kept.whole
        head = _head(availability)
        if kept is not None:  # only its time is another
            body = head + kept.whole[kept.head :]
        else:
            body = head + put_together(rendered, availability, wanted)
        rendered.keep(wanted, _Body(availability, len(head), body))
        return body

    def quotas(self, availability: Availability, subjects: Collection[str] | None) -> int:
        """Return how many quotas a body has."""
        rendered, wanted = self._exams[availability.exam.id], _filter(availability, subjects)
        if wanted is None:
            return len(rendered.quotas)
        return sum(len(rendered.positions.get(subject, ())) for subject in wanted)

    def is_kept(self, availability: Availability, subjects: Collection[str] | None) -> bool:
        """Return whether a body need not be put together."""
        wanted = _filter(availability, subjects)
        return wanted is None or wanted in self._exams[availability.exam.id].bodies


def _filter(availability: Availability, subjects: Collection[str] | None) -> Filter:
    if subjects is None or len(subjects) == len(availability.exam.subjects):
        return None
    return frozenset(subjects)


def _head(availability: Availability) -> bytes:
    return (
        f'{{"exam":"{availability.exam.id}","version":{availability.version},'
        f'"revision":{availability.exam.revision},'
        f'"as_of":"{rfc3339(availability.as_of_ms)}","quotas":['
    ).encode()


def put_together(rendered: _RenderedExam, availability: Availability, wanted: Filter) -> bytes:
    """Return what stands behind the head of a body."""
    parts = rendered.parts if wanted is None else [rendered.parts[i] for i in rendered.at(wanted)]
    subjects = availability.exam.session_of.keys() if wanted is None else wanted
    venues = orjson.dumps(availability.venues_with_all(subjects))
    return b'%b],"venues_with_all":%b}' % (b",".join(parts), venues)


def quota_json(quota: QuotaLeft) -> bytes:
    """Return a quota as JSON; ids are of letters that need no escaping."""
    return (
        f'{{"venue":"{quota.venue}","subject":"{quota.subject}",'
        f'"remaining":{quota.remaining},"capacity":{quota.capacity}}}'
    ).encode()


@dataclass(frozen=True, slots=True)
class RenderedRoom:
    """The public document of a waiting room as it is sent, whole or as known already."""

    document: PublicDocument
    etag: str
    whole: Response
    unchanged: Response


class RenderedRooms:
    """The latest document of each exam, rendered once for all who look."""

    def __init__(self) -> None:
        self._rendered: dict[str, RenderedRoom] = {}

    def document(self, document: PublicDocument) -> RenderedRoom:
        """Return a document as it is sent."""
        rendered = self._rendered.get(document.exam)
        if rendered is None or rendered.document is not document:
            body = orjson.dumps(room_json(document))
            etag = f'W/"{tag_of(body).hex()}"'
            headers = (("ETag", etag), ("Cache-Control", "public, max-age=1"))
            unchanged = Response(b"", 304, headers)
            rendered = RenderedRoom(document, etag, Response(body, headers=headers), unchanged)
            self._rendered[document.exam] = rendered
        return rendered


@dataclass(frozen=True, slots=True)
class RenderedExam:
    """A definition as JSON, up to the server's time; the tag is a hash of it."""

    exam: Exam
    body: bytes
    tag: bytes


class RenderedExams:
    """The definitions that were asked for, each rendered once."""

    def __init__(self) -> None:
        self._rendered: dict[str, RenderedExam] = {}

    def exam(self, exam: Exam) -> RenderedExam:
        """Return a definition as it is told."""
        rendered = self._rendered.get(exam.id)
        if rendered is None or rendered.exam is not exam:
            body = orjson.dumps(exam_json(exam))
            rendered = RenderedExam(exam, body, tag_of(body))
            self._rendered[exam.id] = rendered
        return rendered


def tag_of(content: bytes) -> bytes:
    """Return a hash by which a client can say what it has."""
    return hashlib.blake2b(content, digest_size=_ETAG_BYTES).digest()
