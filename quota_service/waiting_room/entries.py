"""Entries of a draw: 32 bytes for each candidate, under the root of a Merkle tree.

An entry is the hash of exam and candidate as a leaf, and the tree is that of RFC 6962 over all
leaves in ascending order: leaf = SHA-256(0x00 ‖ exam ‖ 0x00 ‖ candidate), node = SHA-256(0x01 ‖
left ‖ right). Anyone with the root can check with a path of some twenty hashes that a candidate is
in the draw, and nobody can be added to it any more.

A tree over subtrees of `SUBTREE` leaves each is the same tree, so that one path needs the leaves of
one subtree and the roots of the others, not all leaves.
"""

import hashlib
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

SUBTREE = 1024
"""Leaves of a subtree: a power of two, so that all but the last are whole parts of the tree."""


@dataclass(frozen=True, slots=True)
class Proof:
    """A leaf, its position among `count`, and the hashes beside its way to the root, from below."""

    leaf: bytes
    index: int
    count: int
    path: tuple[bytes, ...]

    @property
    def root(self) -> bytes | None:
        """The root that the path leads to, by RFC 9162, section 2.1.3.2; None if it leads nowhere.

        A proof is one for a tree where this is the root of the tree.
        """
        if not 0 <= self.index < self.count:
            return None
        node, index, last = self.leaf, self.index, self.count - 1
        for sibling in self.path:
            if last == 0:
                return None
            if index % 2 or index == last:
                node = _node(sibling, node)
                while not index % 2 and index:
                    index, last = index // 2, last // 2
            else:
                node = _node(node, sibling)
            index, last = index // 2, last // 2
        return node if last == 0 else None


def leaf_of(exam: str, candidate: str) -> bytes:
    """Return the entry of a candidate."""
    return hashlib.sha256(f"\0{exam}\0{candidate}".encode()).digest()


def root_of(nodes: Sequence[bytes]) -> bytes:
    """Return the root over leaves, or over the roots of subtrees of equal size but the last."""
    if not nodes:
        return hashlib.sha256().digest()
    level = list(nodes)
    while len(level) > 1:
        level = _level_above(level)
    return level[0]


def prove(
    leaf: bytes, number: int, subtree: Sequence[bytes], roots: Sequence[bytes], count: int
) -> Proof | None:
    """Return the proof of a leaf by its subtree, of that number; None where it is no leaf of it.

    `subtree` has its leaves in order, `roots` the root of each subtree, `count` is of all leaves.
    """
    place = bisect_left(subtree, leaf)
    if place == len(subtree) or subtree[place] != leaf:
        return None
    path = (*_path(subtree, place), *_path(roots, number))
    return Proof(leaf, number * SUBTREE + place, count, path)


def _path(nodes: Sequence[bytes], index: int) -> list[bytes]:
    level, path = list(nodes), []
    while len(level) > 1:
        beside = index ^ 1
        if beside < len(level):
            path.append(level[beside])
        level, index = _level_above(level), index // 2
    return path


def _level_above(level: Sequence[bytes]) -> list[bytes]:
    """Return the nodes over pairs; the last of an odd number goes up as it is."""
    above = [_node(left, right) for left, right in zip(level[::2], level[1::2], strict=False)]
    return [*above, level[-1]] if len(level) % 2 else above


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()
