"""The public document: one for each exam, the same for all clients, from which each finds its turn.

A client compares its own rank with `threshold` or its number with `serving`, and asks again after
`poll_after`. The document is small, changes once a second and can be cached for as long.
"""

from dataclasses import dataclass

from quota_service.waiting_room.draw import commitment
from quota_service.waiting_room.room import SourcedDraw
from quota_service.waiting_room.status import Phase, RoomStatus

_SMOOTHING = 0.2
"""Share of a new rate that shows at once, so that shown waits do not jump."""

_POLLS_TO_TURN = 10
"""How often a client asks until its turn, about."""

_JITTER = 0.2
"""How much earlier or later a client asks, as a part of its wait."""

_MS_PER_S = 1000


@dataclass(frozen=True, slots=True)
class Polling:
    """How long a client may wait before it asks again, at least and at most."""

    min_s: float
    max_s: float

    def after_s(self, eta_s: float, jitter: float) -> float:
        """Return the seconds to the next poll of a client with this wait; `jitter` is from -1 to 1.

        It grows with the distance, and the jitter keeps a crowd from asking as one.
        """
        wanted_s = min(max(eta_s / _POLLS_TO_TURN, self.min_s), self.max_s)
        jittered_s = wanted_s * (1 + _JITTER * jitter)
        return round(min(max(jittered_s, self.min_s), self.max_s), 2)


@dataclass(frozen=True, slots=True)
class PublicDocument:
    """What everybody may know of a waiting room at one moment; times in ms since the epoch."""

    exam: str
    phase: Phase
    is_paused: bool
    threshold: str
    late_threshold: str
    serving: int
    late_through: int
    rate_per_s: float
    waiting: int
    waiting_in_draw: int
    poll_after_s: float
    poll_after_max_s: float
    seed_commitment: str
    seed: str | None
    draw: SourcedDraw | None
    opens_at_ms: int
    claim_grace_s: int
    server_time_ms: int


def public_document(
    status: RoomStatus,
    polling: Polling,
    *,
    now_ms: int,
    jitter: float,
    before: PublicDocument | None = None,
) -> PublicDocument:
    """Return the document of this moment; `before` is the last one, from which the rate moves on.

    The seed is in it only once all ranks are settled.
    """
    room, phase = status.room, status.phase(now_ms)
    rate_per_s = status.rate_per_s
    if before is not None:
        rate_per_s = before.rate_per_s + _SMOOTHING * (rate_per_s - before.rate_per_s)
    opens_at_ms = status.registration.opens_at_ms
    eta_s = status.waiting / rate_per_s
    if phase is Phase.BEFORE:
        eta_s = (opens_at_ms - now_ms) / _MS_PER_S
    return PublicDocument(
        exam=status.exam.id,
        phase=phase,
        is_paused=room.is_paused or status.exam.whole_pause is not None,
        threshold=room.threshold,
        late_threshold=room.late_threshold,
        serving=room.serving,
        late_through=room.late_through,
        rate_per_s=round(rate_per_s, 3),
        waiting=status.waiting,
        waiting_in_draw=status.waiting_in_draw,
        poll_after_s=polling.after_s(eta_s, jitter),
        poll_after_max_s=polling.max_s,
        seed_commitment=commitment(room.seed),
        seed=room.seed.hex() if room.is_draw_ready else None,
        draw=room.draw,
        opens_at_ms=opens_at_ms,
        claim_grace_s=status.rules.claim_grace_s,
        server_time_ms=now_ms,
    )
