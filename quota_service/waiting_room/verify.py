"""Verifies a draw from its public document: seed, source, entries and ranks, and proofs of tickets.

It needs no running service. What a document cannot show is when it was published: compare it with
one that was saved before the source came, which has the commitment to the seed and the root of the
entries.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from quota_service.domain.definition import rfc3339
from quota_service.domain.exam import IDENTIFIER, SourceKind
from quota_service.waiting_room.drand import (
    CHAINS,
    BeaconRefused,
    check_signature,
    read_signature,
)
from quota_service.waiting_room.draw import commitment, rank, sourced_rank
from quota_service.waiting_room.entries import Proof, leaf_of

_SHA_256 = re.compile(r"[0-9a-f]{64}")
_SETTLED_AT_FREEZE = ("kind", "chain", "round", "description", "entries_close_at", "at")
"""Members of a source that stay what they are from the freeze on."""


class DrawNotVerified(ValueError):
    """The published draw is incomplete, malformed, or not the one that was committed to."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """A candidate and its rank."""

    rank: str
    candidate: str


def verify_draw(document: object, candidates: Iterable[str]) -> list[Drawn]:
    """Return the candidates in drawn order by a saved public document of a waiting room.

    Raises DrawNotVerified, also where the seed is not the one that was committed to, or a source
    has not come to what is said.
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
    key, has_source = bytes.fromhex(seed), document.get("source") is not None
    if has_source:
        key += _second_half(document)
    ranked_by = sourced_rank if has_source else rank
    ranked = [(ranked_by(key, exam, candidate), candidate) for candidate in set(candidates)]
    return [Drawn(*pair) for pair in sorted(ranked)]


def verify_proof(document: Mapping[str, Any], proof: object) -> str:
    """Return the candidate whose entry a proof shows to be in the draw of a verified document."""
    entries = _entries(document)
    if not isinstance(proof, Mapping) or proof.get("exam") != document["exam"]:
        raise DrawNotVerified("the proof is not of the exam of the document")
    candidate, path = proof.get("candidate"), proof.get("path")
    if not isinstance(candidate, str) or not isinstance(path, list):
        raise DrawNotVerified("the proof has no candidate or no path")
    hashes = tuple(_hash(each, "the path") for each in path)
    index, count = proof.get("index"), entries["count"]
    leaf = leaf_of(document["exam"], candidate)
    if not isinstance(index, int) or Proof(leaf, index, count, hashes).root != _root(entries):
        raise DrawNotVerified(f"the proof does not lead from {candidate} to the root")
    return candidate


def verify_earlier(document: Mapping[str, Any], earlier: object) -> None:
    """Compare a verified document with one that was saved before the draw could be known."""
    if not isinstance(earlier, Mapping) or earlier.get("exam") != document["exam"]:
        raise DrawNotVerified("the earlier document is not of the same exam")
    if earlier.get("seed") is not None:
        raise DrawNotVerified("the earlier document has the seed already: save one before that")
    if earlier.get("seed_commitment") != document["seed_commitment"]:
        raise DrawNotVerified("seed_commitment is another one than before")
    entries, before = earlier.get("entries"), earlier.get("source")
    if entries is None:
        return
    if entries != document.get("entries"):
        raise DrawNotVerified("the entries are others than before")
    now = document.get("source") or {}
    if any(now.get(name) != (before or {}).get(name) for name in _SETTLED_AT_FREEZE):
        raise DrawNotVerified("the source is another one than before")


def told(document: Mapping[str, Any]) -> list[str]:
    """Return what was checked of a verified draw with a source, a line each; nothing else."""
    source = document.get("source")
    if source is None:
        return []
    entries, decided = _entries(document), document.get("without_source")
    lines = [f"{entries['count']} entries under {entries['root']}, frozen {entries['frozen_at']}"]
    if decided is not None:
        lines.append(f"opened without the source: {decided['reason']}")
    else:
        lines.append(f"the source came {source['at']} ({_check(source)}): {source['evidence']}")
    return [*lines, f"ranks up to {document.get('threshold')} have had their turn"]


def _check(source: Mapping[str, Any]) -> str:
    if source["kind"] == SourceKind.EVENT:
        return "look its outcome up"
    signature = bytes.fromhex(source["evidence"])
    is_checked = check_signature(source["chain"], source["round"], signature)
    return "signature checked" if is_checked else "signature NOT checked: the chain is not known"


def _second_half(document: Mapping[str, Any]) -> bytes:
    """Return what follows the seed in the key of the ranks."""
    source, entries = document["source"], _entries(document)
    if document.get("without_source") is not None:
        return _root(entries)
    evidence = source.get("evidence")
    if not isinstance(evidence, str):
        raise DrawNotVerified("the document has no evidence of the source")
    if not str(entries.get("frozen_at")) < str(source.get("at")):
        raise DrawNotVerified("the entries were frozen when the source could be known")
    is_round = source.get("kind") == SourceKind.DRAND
    data = _signature(source, evidence) if is_round else evidence.encode()
    randomness = hashlib.sha256(data).digest()
    if randomness.hex() != source.get("randomness"):
        raise DrawNotVerified("the randomness is not the SHA-256 of the evidence")
    return randomness


def _signature(source: Mapping[str, Any], evidence: str) -> bytes:
    """Return the signature of a round, which came when the document says."""
    chain, number = source.get("chain"), source.get("round")
    if not isinstance(chain, str) or not isinstance(number, int):
        raise DrawNotVerified("the source names no round of a chain")
    known = CHAINS.get(chain)
    if known is not None and rfc3339(known.at_ms(number)) != source.get("at"):
        raise DrawNotVerified(f"round {number} came {rfc3339(known.at_ms(number))}")
    try:
        signature = read_signature(evidence)
        check_signature(chain, number, signature)
    except BeaconRefused as error:
        raise DrawNotVerified(f"the evidence is not that of the round: {error}") from error
    return signature


def _entries(document: Mapping[str, Any]) -> Mapping[str, Any]:
    entries = document.get("entries")
    if not isinstance(entries, Mapping) or not isinstance(entries.get("count"), int):
        raise DrawNotVerified("the document has no entries")
    return entries


def _root(entries: Mapping[str, Any]) -> bytes:
    return _hash(entries.get("root"), "the root")


def _hash(text: object, name: str) -> bytes:
    if not isinstance(text, str) or _SHA_256.fullmatch(text) is None:
        raise DrawNotVerified(f"{name} is not of 64 hex digits")
    return bytes.fromhex(text)
