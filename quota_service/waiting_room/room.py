"""A waiting room as Postgres keeps it: its secrets, and the progress of admission.

Everybody has either a rank, drawn at the opening, or a number, given first come first served after
it. First all ranks have their turn, from the lowest to the highest, then the numbers.
"""

from dataclasses import dataclass, field

from quota_service.domain.exam import DrawSource

FIRST_RANK = "0" * 64
LAST_RANK = "f" * 64
"""Ranks and thresholds are 64 hex digits, so that they compare as strings as they do as numbers."""


@dataclass(frozen=True, slots=True)
class Entries:
    """The frozen entries of a draw: how many, and the root of their Merkle tree."""

    count: int
    root: bytes
    frozen_ms: int


@dataclass(frozen=True, slots=True)
class KnownSource:
    """What a source has come to.

    `evidence` is what everybody can look up: the outcome of an event word for word, the signature
    of a round in hex. `randomness` is its SHA-256.
    """

    evidence: str
    randomness: bytes
    known_ms: int


@dataclass(frozen=True, slots=True)
class Sourceless:
    """The decision of ops to open without the source: why, and when."""

    reason: str
    decided_ms: int


@dataclass(frozen=True, slots=True)
class SourcedDraw:
    """A draw with a public source; its entries are None until they are frozen.

    At most one of `known` and `sourceless` is ever there, and then for good.
    """

    source: DrawSource
    entries: Entries | None = None
    known: KnownSource | None = None
    sourceless: Sourceless | None = None


@dataclass(frozen=True, slots=True)
class Room:
    """The row of one exam; times in ms since the Unix epoch by Postgres's clock, None: never.

    Ranks up to `threshold` and numbers up to `serving` have had their turn; those up to
    `late_threshold` and `late_through` so long ago that it has passed. No number above
    `numbers_reserved` was ever handed out. `drawn` estimates how many are in the draw.
    `fixed_rate` is what ops have set; None is adaptive. `opened_ms` is when Postgres heard that the
    draw is closed, which it stays though the opening of the exam is moved. `draw` is None where the
    seed alone decides.
    """

    exam: str
    seed: bytes = field(repr=False)
    ticket_key: bytes = field(repr=False)
    pass_key: bytes = field(repr=False)
    threshold: str
    late_threshold: str
    serving: int
    late_through: int
    numbers_reserved: int
    drawn: int
    rate: float
    fixed_rate: float | None
    is_paused: bool
    leader: str | None
    leader_epoch: int
    lease_until_ms: int | None
    stepped_ms: int | None
    opened_ms: int | None
    created_ms: int
    draw: SourcedDraw | None = None

    @property
    def is_draw_closed(self) -> bool:
        """Whether the draw is closed in both stores: no candidate gets into it any more."""
        return self.opened_ms is not None

    @property
    def rank_key(self) -> bytes | None:
        """The key of all ranks, None while it cannot be known.

        It is the seed, with a source followed by its randomness, or, where ops have opened without
        it, by the root of the entries.
        """
        if self.draw is None:
            return self.seed
        if self.draw.known is not None:
            return self.seed + self.draw.known.randomness
        if self.draw.sourceless is not None and self.draw.entries is not None:
            return self.seed + self.draw.entries.root
        return None

    @property
    def is_draw_ready(self) -> bool:
        """Whether all ranks are settled: the seed may be published, and the draw admitted."""
        return self.is_draw_closed and self.rank_key is not None

    @property
    def has_admitted_draw(self) -> bool:
        """Whether everybody in the draw has had a turn."""
        return self.threshold == LAST_RANK
