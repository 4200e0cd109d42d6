"""Streams of server-sent events: read as they come, and opened again where they were left."""

import asyncio
import dataclasses
import random
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import Any, Literal, NotRequired, TypedDict

import orjson

from quota_service.client.call import Call
from quota_service.client.documents import Availability, AvailabilityChange, AvailabilityStale
from quota_service.client.errors import NoAnswer, ProblemError
from quota_service.client.repeats import Repeats
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
    """Puts events together from the pieces in which a stream comes."""

    def __init__(self) -> None:
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
        if b"retry" in fields:
            self.retry_s = int(fields[b"retry"]) / 1000
        if b"data" not in fields:
            return None
        kind, state_id = (fields.get(field, b"").decode() for field in (b"event", b"id"))
        return ServerSentEvent(kind, state_id, orjson.loads(fields[b"data"]))


async def listen(
    transport: Transport, make_call: Callable[[str], Call], repeats: Repeats
) -> AsyncGenerator[ServerSentEvent, None]:
    """Yield the events of a stream without end; `make_call` takes the id of the last one.

    A stream that ended or broke is opened again. Raises what cannot be repeated, and what still
    goes wrong after many tries.
    """
    repeats = dataclasses.replace(repeats, tries_max=TRIES_MAX)
    last_id, failures = "", 0
    while True:
        reader, call = EventReader(), make_call(last_id)
        pause_s: float | None
        try:
            async for piece in transport.pieces(call, IDLE_TIMEOUT_S):
                for event in reader.read(piece):
                    failures = 0
                    last_id = event.id or last_id
                    yield event
            pause_s = reader.retry_s * random.uniform(0.5, 1.5)  # noqa: S311  spreads readers
        except (NoAnswer, ProblemError) as error:
            failures += 1
            pause_s = repeats.pause_after(call, error, failures)
            if pause_s is None:
                raise
        await asyncio.sleep(pause_s)
