"""Keeps the JSON of what crowds look at, so that a crowd costs one rendering."""

import hashlib
from dataclasses import dataclass

import orjson
from aiohttp import web

from quota_service.api.answer import Answer
from quota_service.api.render import availability_json, room_json
from quota_service.registration.availability import Availability
from quota_service.waiting_room.document import PublicDocument

_FILTERS_MAX = 256
"""Different `?subjects=` kept for each exam; more are rendered each time."""


class RenderedAvailability:
    """Bodies by exam and filter; a new availability of an exam forgets the bodies of the old."""

    def __init__(self) -> None:
        self._bodies: dict[str, tuple[Availability, dict[tuple[str, ...] | None, bytes]]] = {}

    def availability(self, availability: Availability, subjects: tuple[str, ...] | None) -> bytes:
        """Return the body for an availability and a filter."""
        known, bodies = self._bodies.get(availability.exam.id, (None, {}))
        if known is not availability:
            bodies = {}
            self._bodies[availability.exam.id] = (availability, bodies)
        body = bodies.get(subjects)
        if body is None:
            body = orjson.dumps(availability_json(availability, subjects))
            if len(bodies) < _FILTERS_MAX:
                bodies[subjects] = body
        return body


@dataclass(frozen=True, slots=True)
class RenderedRoom:
    """The public document of a waiting room as it is sent, whole or as known already."""

    document: PublicDocument
    etag: str
    whole: Answer
    unchanged: Answer


class RenderedRooms:
    """The latest document of each exam, rendered once for all who look."""

    def __init__(self) -> None:
        self._rendered: dict[str, RenderedRoom] = {}

    def document(self, document: PublicDocument) -> RenderedRoom:
        """Return a document as it is sent."""
        rendered = self._rendered.get(document.exam)
        if rendered is None or rendered.document is not document:
            body = orjson.dumps(room_json(document))
            etag = f'W/"{hashlib.blake2b(body, digest_size=8).hexdigest()}"'
            headers = (("ETag", etag), ("Cache-Control", "public, max-age=1"))
            unchanged = Answer(b"", web.HTTPNotModified.status_code, headers)
            rendered = RenderedRoom(document, etag, Answer(body, headers=headers), unchanged)
            self._rendered[document.exam] = rendered
        return rendered
