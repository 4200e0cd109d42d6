"""Verifies a draw from its public document: the seed, its commitment, and the ranks.

Compare the `seed_commitment` of a document from before the opening with that of the later one;
this module checks the rest, without a running service.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from quota_service.domain.exam import IDENTIFIER
from quota_service.waiting_room.draw import commitment, rank

_SHA_256 = re.compile(r"[0-9a-f]{64}")


class DrawNotVerified(ValueError):
    """The published draw is incomplete, malformed, or not the one that was committed to."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """A candidate and its rank."""

    rank: str
    candidate: str


def verify_draw(document: object, candidates: Iterable[str]) -> list[Drawn]:
    """Return the candidates in drawn order by a saved public document of a waiting room.

    Raises DrawNotVerified, also where the seed is not the one that was committed to.
    """
    if not isinstance(document, Mapping):
        raise DrawNotVerified("the document is not a JSON object")
    exam, committed, seed = (document.get(key) for key in ("exam", "seed_commitment", "seed"))
    if not isinstance(exam, str) or IDENTIFIER.fullmatch(exam) is None:
        raise DrawNotVerified("the document does not name its exam")
    if not isinstance(committed, str) or _SHA_256.fullmatch(committed) is None:
        raise DrawNotVerified("the document has no seed_commitment of 64 hex digits")
    if seed is None:
        raise DrawNotVerified("the document has no seed yet: it is revealed at the opening")
    if not isinstance(seed, str) or _SHA_256.fullmatch(seed) is None:
        raise DrawNotVerified("the seed is not 64 hex digits")
    if commitment(bytes.fromhex(seed)) != committed:
        raise DrawNotVerified("the seed does not match seed_commitment")
    key = bytes.fromhex(seed)
    ranked = [(rank(key, exam, candidate), candidate) for candidate in set(candidates)]
    return [Drawn(*pair) for pair in sorted(ranked)]
