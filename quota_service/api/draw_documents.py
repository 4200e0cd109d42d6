"""What the document of a waiting room tells of its draw: source, entries, a decision of ops."""

import hashlib
from typing import Annotated

from quota_service.api.models import Answer, Count, Positive, Rank, Time
from quota_service.domain.definition import rfc3339
from quota_service.domain.exam import SourceKind
from quota_service.schema import example
from quota_service.waiting_room.drand import QUICKNET
from quota_service.waiting_room.room import SourcedDraw

_SIGNATURE = "b7" * 48
_BY_SOURCE = (
    "The seed and the public source decide: the entries were frozen before anybody could know the "
    "source."
)
_BY_SEED = "The seed alone decides, and the operator has known it since the room was made."
_BY_ROOT = (
    "The seed and the root of the entries decide, because the source did not come: the operator "
    "could compute the order before the entries were frozen."
)


class DrawSource(Answer):
    """The public source of randomness of a draw, and what it has come to."""

    kind: Annotated[SourceKind, example(SourceKind.DRAND)]
    """`drand`: a round of a drand chain. `event`: an event, whose outcome ops put in."""
    chain: Annotated[str | None, example(QUICKNET)]
    """Hash of the drand chain; null for an event."""
    round: Annotated[Positive | None, example(2_000_000)]
    """Number of the round; null for an event."""
    description: Annotated[str | None, example(None)]
    """The event; null for drand."""
    entries_close_at: Annotated[Time, example("2023-03-14T03:50:00.000Z")]
    """When the entries of the draw are frozen."""
    at: Annotated[Time, example("2023-03-14T03:55:00.000Z")]
    """When the source comes."""
    evidence: Annotated[str | None, example(_SIGNATURE)]
    """The signature of the round in hex, or the outcome of the event word for word; null until it
    is known."""
    randomness: Annotated[
        Rank | None, example(hashlib.sha256(bytes.fromhex(_SIGNATURE)).hexdigest())
    ]
    """SHA-256 of the evidence: of the bytes of the signature, of the outcome in UTF-8."""
    known_at: Annotated[Time | None, example("2023-03-14T03:55:01.204Z")]
    """When it was known here."""


class FrozenEntries(Answer):
    """The candidates in the draw; none is added any more."""

    count: Annotated[Count, example(48_211)]
    """How many candidates are in the draw."""
    root: Rank
    """Root of the Merkle tree by RFC 6962 over the entries in ascending order; the entry of a
    candidate is SHA-256 of a zero byte, exam id, a zero byte and candidate id."""
    frozen_at: Annotated[Time, example("2023-03-14T03:50:00.913Z")]
    """When the root was known."""


class WithoutSource(Answer):
    """The decision to open although the source has not come."""

    reason: Annotated[str, example("the league of entropy has published no round since 11:55")]
    """Why."""
    decided_at: Annotated[Time, example("2023-03-14T04:20:00.000Z")]
    """When."""


class DrawMembers(Answer):
    """What decides a draw."""

    draw_rule: Annotated[str, example(_BY_SOURCE)]
    """What decides the order of the draw, for people."""
    source: Annotated[DrawSource | None, example(None)]
    """The public source of the draw; null where the seed alone decides, which the operator knows
    from the start."""
    entries: Annotated[FrozenEntries | None, example(None)]
    """The frozen entries of a draw with a source; null until then."""
    without_source: Annotated[WithoutSource | None, example(None)]
    """Null unless ops have opened without the source."""


def draw_members(draw: SourcedDraw | None) -> DrawMembers:
    """Return what the document of a room tells of its draw."""
    if draw is None:
        return {"draw_rule": _BY_SEED, "source": None, "entries": None, "without_source": None}
    source, known, entries, decided = draw.source, draw.known, draw.entries, draw.sourceless
    return {
        "draw_rule": _BY_SOURCE if decided is None else _BY_ROOT,
        "source": {
            "kind": source.kind,
            "chain": source.chain or None,
            "round": source.round or None,
            "description": source.description or None,
            "entries_close_at": rfc3339(source.entries_close_at_ms),
            "at": rfc3339(source.at_ms),
            "evidence": None if known is None else known.evidence,
            "randomness": None if known is None else known.randomness.hex(),
            "known_at": None if known is None else rfc3339(known.known_ms),
        },
        "entries": None
        if entries is None
        else {
            "count": entries.count,
            "root": entries.root.hex(),
            "frozen_at": rfc3339(entries.frozen_ms),
        },
        "without_source": None
        if decided is None
        else {"reason": decided.reason, "decided_at": rfc3339(decided.decided_ms)},
    }
