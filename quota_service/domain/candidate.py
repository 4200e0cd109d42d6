"""The id of a candidate: opaque, chosen by the frontend, never a national id number."""

import re

CANDIDATE_ID = re.compile(r"[A-Za-z0-9._:@~+=-]{1,64}", re.ASCII)
"""Printable ASCII without the separators `/`, `|` and `,` of Redis fields and records."""

_RESIDENT_ID = re.compile(r"\d{17}[\dXx]", re.ASCII)
_RESIDENT_ID_LENGTH = 18
_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_CHECK_DIGITS = "10X98765432"


def is_resident_id(text: str) -> bool:
    """Return whether `text` is an 18-digit resident ID number with a right check digit.

    The check is ISO 7064 MOD 11-2 as GB 11643-1999 applies it to resident ID numbers.
    """
    if len(text) != _RESIDENT_ID_LENGTH or _RESIDENT_ID.fullmatch(text) is None:
        return False
    total = sum(int(digit) * weight for digit, weight in zip(text, _WEIGHTS, strict=False))
    return _CHECK_DIGITS[total % 11] == text[-1].upper()
