"""Streams of server-sent events: read as they come, and opened again where they were left.

Until a venue has all the subjects:

    from contextlib import aclosing

    from quota_service.client.streams import with_change

    async with aclosing(client.availability_stream("exam-1", subjects=["general"])) as events:
        async for event in events:
            if event["event"] == "snapshot":
                seats = event["data"]
            elif event["event"] == "change":
                seats = with_change(seats, event["data"])
            if seats["venues_with_all"]:
                break
"""

import asyncio
import dataclasses
import random
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Literal, NotRequired, TypedDict

import orjson

from quota_service.client.call import Call
from quota_service.client.documents import Availability, AvailabilityChange, AvailabilityStale
from quota_service.client.errors import NoAnswer, ProblemError
from quota_service.client.transport import Transport

IDLE_TIMEOUT_S = 60.0
"""A stream that says nothing for so long, not even a heartbeat, is broken."""
TRIES_MAX = 30
"""How often a stream is opened in vain, with growing pauses, before the reader is told."""
EVENT_MAX_BYTES = 2**26
_RETRY_S = 2.0
"""The pause after a stream has ended, until it says another."""


class SnapshotEvent(TypedDict):
    """All seats; it comes first, and where changes were missed."""

    event: Literal["snapshot"]
    id: str
    data: Availability


class ChangeEvent(TypedDict):
    """The quotas that differ: `with_change` sets them in what is known."""

    event: Literal["change"]
    id: str
    data: AvailabilityChange


class StaleEvent(TypedDict):
    """The seats cannot be read at the moment; a snapshot ends it."""

    event: Literal["stale"]
    id: NotRequired[str]
    data: AvailabilityStale


class EventsMissed(TypedDict):
    """Events that are not kept any more: those between two numbers."""

    type: Literal["missed"]
    data: dict[Literal["after", "before"], str]


AvailabilityEvent = SnapshotEvent | ChangeEvent | StaleEvent


def with_change(known: Availability, change: AvailabilityChange) -> Availability:
    """Return an availability with a change of the stream set in it."""
    quotas = {(quota["venue"], quota["subject"]): quota for quota in known["quotas"]}
    quotas |= {(quota["venue"], quota["subject"]): quota for quota in change["quotas"]}
    told = {name: value for name, value in change.items() if name != "quotas"}
    return {**known, **told, "quotas": [*quotas.values()]}  # type: ignore[typeddict-item]


@dataclass(frozen=True, slots=True)
class ServerSentEvent:
    """One event; `id` is empty where it has none of its own."""

    name: str
    id: str
    data: Any


class EventReader:
    """Puts events together from the pieces in which a stream comes.

    `last_id` is how far it is: heartbeats say so too.
    """

    def __init__(self, last_id: str = "") -> None:
        self.last_id = last_id
        self.retry_s = _RETRY_S
        self._rest = b""

    def read(self, piece: bytes) -> list[ServerSentEvent]:
        """Return the events that are whole now; raise NoAnswer for one beyond all bounds."""
        *blocks, self._rest = (self._rest + piece).split(b"\n\n")
        if len(self._rest) > EVENT_MAX_BYTES:
            raise NoAnswer(f"an event has more than {EVENT_MAX_BYTES} bytes")
        return [event for event in map(self._event, blocks) if event is not None]

    def _event(self, block: bytes) -> ServerSentEvent | None:
        fields: dict[bytes, bytes] = {}
        for line in block.split(b"\n"):
            name, _, value = line.partition(b":")
            value = value.removeprefix(b" ")
            fields[name] = fields[name] + b"\n" + value if name in fields else value
        data = fields.get(b"data")
        if b"retry" in fields:
            self.retry_s = int(fields[b"retry"]) / 1000
        kind, state_id = (fields.get(field, b"").decode() for field in (b"event", b"id"))
        self.last_id = state_id or self.last_id
        return ServerSentEvent(kind, state_id, orjson.loads(data)) if data else None


async def listen(
    transport: Transport, path: str, last_id: str = ""
) -> AsyncGenerator[ServerSentEvent, None]:
    """Yield the events of a stream without end, those behind `last_id`.

    A stream that ended or broke is opened again. Raises what cannot be repeated, and what still
    goes wrong after many tries.
    """
    repeats = dataclasses.replace(transport.repeats, tries_max=TRIES_MAX)
    failures = 0
    while True:
        reader = EventReader(last_id)
        headers = {"Last-Event-ID": last_id} if last_id else {}
        call = Call("GET", path, headers=headers, is_repeatable=True)
        pause_s: float | None
        try:
            async with aclosing(transport.pieces(call, IDLE_TIMEOUT_S)) as pieces:
                async for piece in pieces:
                    failures = 0
                    for event in reader.read(piece):
                        yield event
                    last_id = reader.last_id
            pause_s = reader.retry_s * random.uniform(0.5, 1.5)  # noqa: S311  spreads readers
        except (NoAnswer, ProblemError) as error:
            failures += 1
            pause_s = repeats.pause_after(call, error, failures)
            if pause_s is None:
                raise
        await asyncio.sleep(pause_s)
