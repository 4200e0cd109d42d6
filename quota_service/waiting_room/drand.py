"""Rounds of drand: when they come, and whether a beacon is that of its round.

drand publishes a beacon for each round of a chain, at a fixed pace: a BLS signature of the round by
a group of organisations, which none of them could know or choose before. Its randomness is the
SHA-256 of the signature. https://docs.drand.love has the specification.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain of drand: its public key, when its first round came, and the seconds between rounds.

    Signatures are points of G1, public keys of G2; `domain` separates them from other schemes.
    """

    public_key: str
    genesis_s: int
    period_s: int
    domain: bytes

    def at_ms(self, number: int) -> int:
        """Return when a round comes, in ms since the Unix epoch."""
        return (self.genesis_s + (number - 1) * self.period_s) * 1000


QUICKNET = "52db9ba70e0cc0f6eaf7803dd07447a1f5477735fd3f661792ba94600c84e971"
"""The hash of the chain `quicknet`, whose rounds come every 3 s."""

CHAINS: Mapping[str, Chain] = MappingProxyType(
    {
        QUICKNET: Chain(
            "83cf0f2896adee7eb8b5f01fcad3912212c437e0073e911fb90022d3e760183c8c4b450b6a0a6c3ac6a5776a"
            "2d1064510d1fec758c921cc22b0e17e63aaf4bcb5ed66304de9cf809bd274ca73bab4af5a6e9c76a4bc09e76"
            "eae8991ef5ece45a",
            1692803367,
            3,
            b"BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_NUL_",
        ),
    }
)
"""The chains whose rounds are known here, by their hash."""

_SIGNATURE_LENGTHS = (48, 96)
"""Bytes of a signature: a point of G1 or of G2, compressed."""


class BeaconRefused(ValueError):
    """A beacon that is not one, or not that of its round."""


def read_beacon(document: Any, number: int) -> bytes:
    """Return the signature of a round from what the HTTP API of drand answers.

    Raises BeaconRefused where it is of another round, or its randomness is not that of its
    signature.
    """
    if not isinstance(document, Mapping) or document.get("round") != number:
        raise BeaconRefused(f"the answer is not the beacon of round {number}")
    signature = read_signature(document.get("signature"))
    if document.get("randomness") != hashlib.sha256(signature).hexdigest():
        raise BeaconRefused("the randomness is not the SHA-256 of the signature")
    return signature


def read_signature(text: Any) -> bytes:
    """Return the bytes of a signature in hex; raise BeaconRefused."""
    try:
        signature = bytes.fromhex(text)
    except (TypeError, ValueError):
        signature = b""
    if len(signature) not in _SIGNATURE_LENGTHS:
        raise BeaconRefused("the signature is not 48 or 96 bytes in hex")
    return signature


def check_signature(chain: str, number: int, signature: bytes) -> bool:
    """Check the signature of a round; False where the chain is not known here.

    Raises BeaconRefused where it is not the signature of that round.
    """
    known = CHAINS.get(chain)
    if known is None:
        return False
    # Native code that few processes ever need.
    from py_arkworks_bls12381 import GT, G1Point, G2Point  # noqa: PLC0415

    message = hashlib.sha256(number.to_bytes(8)).digest()
    try:
        signed = G1Point.from_compressed_bytes(signature)
    except ValueError as error:
        raise BeaconRefused("the signature is no point of the curve") from error
    key = G2Point.from_compressed_bytes(bytes.fromhex(known.public_key))
    hashed = G1Point.hash_to_curve(message, known.domain)
    if GT.pairing(signed, G2Point()) != GT.pairing(hashed, key):
        raise BeaconRefused(f"the signature is not that of round {number} by the chain")
    return True
