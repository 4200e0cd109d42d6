"""The entries of a draw as a Merkle tree, held against RFC 6962 written out plainly."""

import hashlib

import pytest

from quota_service.waiting_room.entries import SUBTREE, Proof, leaf_of, prove, root_of

CANDIDATES = [f"candidate-{i}" for i in range(2 * SUBTREE + 300)]
LEAVES = sorted(leaf_of("exam-1", candidate) for candidate in CANDIDATES)


def tree_hash(leaves: list[bytes]) -> bytes:
    """Return MTH of RFC 6962, section 2.1, of leaves that are hashed already."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\x01" + tree_hash(leaves[:k]) + tree_hash(leaves[k:])).digest()


def audit_path(leaves: list[bytes], index: int) -> list[bytes]:
    """Return PATH of RFC 6962, section 2.1.1."""
    if len(leaves) == 1:
        return []
    k = 1 << (len(leaves) - 1).bit_length() - 1
    if index < k:
        return [*audit_path(leaves[:k], index), tree_hash(leaves[k:])]
    return [*audit_path(leaves[k:], index - k), tree_hash(leaves[:k])]


def proof_of(leaves: list[bytes], index: int) -> Proof:
    subtrees = [leaves[i : i + SUBTREE] for i in range(0, len(leaves), SUBTREE)]
    number = index // SUBTREE
    roots = [root_of(subtree) for subtree in subtrees]
    proof = prove(leaves[index], number, subtrees[number], roots, len(leaves))
    assert proof is not None
    return proof


def test_an_entry_is_the_hash_of_exam_and_candidate_as_a_leaf() -> None:
    expected = hashlib.sha256(b"\x00" + b"exam-1" + b"\x00" + b"c-1").digest()

    assert leaf_of("exam-1", "c-1") == expected


@pytest.mark.parametrize("count", [0, 1, 2, 3, 5, 8, 13, 1023, 1024, 1025, 2047, 2348])
def test_the_root_is_that_of_rfc_6962_also_over_subtrees(count: int) -> None:
    leaves = LEAVES[:count]
    roots = [root_of(leaves[i : i + SUBTREE]) for i in range(0, count, SUBTREE)]

    assert root_of(leaves) == tree_hash(leaves)
    assert root_of(roots) == tree_hash(leaves)


@pytest.mark.parametrize("count", [1, 2, 3, 7, 1024, 1025, 2348])
def test_every_entry_has_a_path_to_the_root(count: int) -> None:
    leaves = LEAVES[:count]
    root = tree_hash(leaves)

    for index in {0, count // 2, count - 1, min(1023, count - 1), min(1024, count - 1)}:
        proof = proof_of(leaves, index)
        assert (proof.index, proof.root) == (index, root)
        assert list(proof.path) == audit_path(leaves, index)


def test_a_path_proves_nothing_else() -> None:
    leaves = LEAVES[:700]
    root, proof = tree_hash(leaves), proof_of(leaves, 300)
    others = [
        Proof(LEAVES[301], proof.index, proof.count, proof.path),
        Proof(proof.leaf, 301, proof.count, proof.path),
        Proof(proof.leaf, 300, 1400, proof.path),
        Proof(proof.leaf, -1, 700, proof.path),
        Proof(proof.leaf, 700, 700, proof.path),
        Proof(proof.leaf, 300, 700, proof.path[:-1]),
        Proof(proof.leaf, 300, 700, (*proof.path, proof.path[0])),
    ]

    assert proof.root == root
    assert root not in [other.root for other in others]


def test_who_is_not_among_the_entries_has_no_proof() -> None:
    leaves = LEAVES[:700]

    assert prove(leaf_of("exam-1", "nobody"), 0, leaves, [root_of(leaves)], 700) is None
    assert prove(leaf_of("exam-2", "candidate-1"), 0, leaves, [root_of(leaves)], 700) is None
