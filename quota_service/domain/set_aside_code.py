"""Codes of set-asides: how they are written, and the hash by which one is known.

A code is typed from paper: case, hyphens and blanks do not count, and i and l are 1, o is 0. It is
stored as the SHA-256 of the exam and the code. No slow hash is needed, as a code has 80 random bits
at least.
"""

import hashlib
import re
import secrets

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
"""Characters of new codes: Crockford's Base32, five bits each."""
LENGTH = 20
"""Characters of a new code: 100 random bits."""
LENGTH_MIN = 16
"""Characters of a code that was made elsewhere, at least: 80 bits where they are random."""
LENGTH_MAX = 64
WRITTEN_MAX = 100
"""Characters of a code with its hyphens and blanks."""
_GROUP = 5
_FORM = re.compile(rf"[0-9a-z]{{{LENGTH_MIN},{LENGTH_MAX}}}", re.ASCII)
_AS_MEANT = str.maketrans({"-": "", " ": "", "i": "1", "l": "1", "o": "0"})


def new_code() -> str:
    """Return a new code as it is handed out: `7k3vd-m0q8t-x2fcz-91hrw`."""
    code = "".join(secrets.choice(ALPHABET) for _ in range(LENGTH))
    return "-".join(code[i : i + _GROUP] for i in range(0, LENGTH, _GROUP))


def hash_code(exam: str, written: str) -> bytes | None:
    """Return the hash of a code of an exam as somebody wrote it; None for what cannot be one."""
    code = written.lower().translate(_AS_MEANT)
    if _FORM.fullmatch(code) is None:
        return None
    return hashlib.sha256(f"{exam}\0{code}".encode()).digest()
