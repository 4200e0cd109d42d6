"""A waiting room as Postgres keeps it: its secrets, and the progress of admission.

Everybody has either a rank, drawn at the opening, or a number, given first come first served after
it. First all ranks have their turn, from the lowest to the highest, then the numbers.
"""

from dataclasses import dataclass, field

FIRST_RANK = "0" * 64
LAST_RANK = "f" * 64
"""Ranks and thresholds are 64 hex digits, so that they compare as strings as they do as numbers."""


@dataclass(frozen=True, slots=True)
class Room:
    """The row of one exam; times in ms since the Unix epoch by Postgres's clock, None: never.

    Ranks up to `threshold` and numbers up to `serving` have had their turn; those up to
    `late_threshold` and `late_through` so long ago that it has passed. No number above
    `numbers_reserved` was ever handed out. `drawn` estimates how many are in the draw.
    `fixed_rate` is what ops have set; None is adaptive. `opened_ms` is when Postgres heard that the
    draw is closed, which it stays though the opening of the exam is moved.
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

    @property
    def is_draw_closed(self) -> bool:
        """Whether the draw is closed in both stores, so that its seed may be published."""
        return self.opened_ms is not None

    @property
    def has_admitted_draw(self) -> bool:
        """Whether everybody in the draw has had a turn."""
        return self.threshold == LAST_RANK
