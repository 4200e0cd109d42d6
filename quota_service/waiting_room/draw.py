"""The draw: a random order that no one can choose or foresee, and anyone can verify.

The seed is made with the room and committed to at once by its SHA-256. It is revealed once the
draw is closed, and the rank of a candidate is the HMAC-SHA256 of exam and candidate under it. So
anyone can check every rank afterwards, coming early or often changes nothing, and nothing is stored
for each person.

The operator of the service knows that seed. So a room may name a public source of randomness too,
which comes after the entries are frozen: then the rank is the HMAC under seed and source, and
nobody knows it before.
"""

import hashlib
import hmac

from quota_service.waiting_room.room import LAST_RANK

_RANKS = int(LAST_RANK, 16)


def commitment(seed: bytes) -> str:
    """Return the SHA-256 of the seed as hex: published at once, it does not reveal the seed."""
    return hashlib.sha256(seed).hexdigest()


def rank(key: bytes, exam: str, candidate: str) -> str:
    """Return the rank of a candidate under a seed: 64 hex digits, the lowest is the first."""
    return hmac.digest(key, (exam + candidate).encode(), "sha256").hex()


def sourced_rank(key: bytes, exam: str, candidate: str) -> str:
    """Return the rank of a candidate in a draw with a source; its key is `Room.rank_key`."""
    return hmac.digest(key, f"{exam}\0{candidate}".encode(), "sha256").hex()


def share(threshold: str) -> float:
    """Return which part of the draw a threshold has let in, from 0 to 1."""
    return int(threshold, 16) / _RANKS
