"""The draw of a waiting room as a client works it out: ranks, and whose turn it is.

Anybody can: the seed is in the public document once the draw is closed, and was committed to from
the start by its SHA-256.
"""

import hashlib
import hmac

from quota_service.client.documents import Ticket, WaitingRoom


def rank_of(room: WaitingRoom, candidate: str) -> str | None:
    """Return the rank of a candidate, 64 hex digits; None until the document has what decides it.

    Raises ValueError for a seed that is not the one committed to.
    """
    if room["seed"] is None:
        return None
    key, exam, between = bytes.fromhex(room["seed"]), room["exam"], ""
    if hashlib.sha256(key).hexdigest() != room["seed_commitment"]:
        raise ValueError(f"the seed of {exam} is not the one that was committed to")
    source = room.get("source")
    if source is not None:
        second_half = source["randomness"]
        if second_half is None and (entries := room["entries"]) is not None:
            second_half = entries["root"]
        if second_half is None:
            return None
        key, between = key + bytes.fromhex(second_half), "\0"
    return hmac.digest(key, f"{exam}{between}{candidate}".encode(), "sha256").hex()


def is_turn(room: WaitingRoom, ticket: Ticket, rank: str | None) -> bool:
    """Return whether the public document says that a ticket has its turn."""
    if room["phase"] in {"before", "closed"}:
        return False
    if ticket["kind"] == "draw":
        return rank is not None and rank <= room["threshold"]
    return ticket["number"] is not None and ticket["number"] <= room["serving"]
