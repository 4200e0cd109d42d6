"""Keeps the JSON of the latest availabilities, so that a crowd that looks costs one rendering."""

import orjson

from quota_service.api.render import availability_json
from quota_service.registration.availability import Availability

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
