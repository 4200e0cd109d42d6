"""Passes: what a candidate shows to reserve, signed, bound to the candidate and short-lived.

The key that signs a pass is derived from the room's for the period in which the pass ends. A period
is longer than any pass lives, so that at each moment two keys are in use, that of this period and
that of the next: a key that leaked is worth nothing after two periods, but for as long after an
opening as a pass lives, when passes are honoured that ran out while it was postponed.
"""

import dataclasses
import functools
import hmac
from dataclasses import dataclass
from enum import StrEnum

from quota_service.domain.exam import MAX_PASS_TTL_S
from quota_service.waiting_room.room import Room
from quota_service.waiting_room.signing import fields_of, is_signed, sign, whole

PERIOD_MS = 2 * MAX_PASS_TTL_S * 1000
"""How long the passes of one key end: longer than a pass lives, whatever the clocks."""

_FIELDS = 5


@dataclass(frozen=True, slots=True)
class Pass:
    """What a pass says: whose it is, until when, and by which ticket.

    `place` is that of the ticket; `epoch` is the shard's when the place was claimed.
    """

    exam: str
    candidate: str
    place: int
    expires_ms: int
    epoch: int


class PassFault(StrEnum):
    """Why a pass opens nothing."""

    INVALID = "invalid"
    EXPIRED = "expired"


def write_pass(room: Room, granted: Pass) -> str:
    """Return the text of a pass; the same pass has the same text."""
    fields = (granted.exam, granted.candidate, granted.place, granted.expires_ms, granted.epoch)
    return sign(_key(room.pass_key, granted.expires_ms // PERIOD_MS), fields)


def read_pass(
    room: Room, candidate: str, text: str, now_ms: int, kept_until_ms: int = 0
) -> Pass | PassFault:
    """Return the pass of a candidate for this room, or what is wrong with it.

    No pass ends before `kept_until_ms`.
    """
    granted = _signed_pass(room, text)
    if granted is None or (granted.exam, granted.candidate) != (room.exam, candidate):
        return PassFault.INVALID
    if granted.expires_ms - now_ms > PERIOD_MS:
        # No pass of ours lives so long: it is by a key whose time has not come.
        return PassFault.INVALID
    if max(granted.expires_ms, kept_until_ms) <= now_ms:
        return PassFault.EXPIRED
    if granted.expires_ms < kept_until_ms:
        return dataclasses.replace(granted, expires_ms=kept_until_ms)
    return granted


def _signed_pass(room: Room, text: str) -> Pass | None:
    fields = fields_of(text)
    if fields is None or len(fields) != _FIELDS:
        return None
    exam, holder, *numbers = fields
    place, expires_ms, epoch = map(whole, numbers)
    if place is None or expires_ms is None or epoch is None:
        return None
    if not is_signed(_key(room.pass_key, expires_ms // PERIOD_MS), text):
        return None
    return Pass(exam, holder, place, expires_ms, epoch)


@functools.lru_cache(maxsize=1024)
def _key(pass_key: bytes, period: int) -> bytes:
    """Return the key of a period; few are in use at a time, and each order asks for one."""
    return hmac.digest(pass_key, f"pass key of period {period}".encode(), "sha256")
