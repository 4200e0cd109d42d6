"""CSV (RFC 4180) that is safe to open in a spreadsheet.

A cell that starts like a formula would be run by the program that opens it. An apostrophe in front
makes it text.

`excel_lines` is for files that a person opens: Excel takes text that looks like a number, a date or
a truth value for one, loses leading zeros and all but 15 digits of it, and does not look at blanks
and characters without width before it decides.
"""

import csv
import datetime as dt
import io
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence

UTF_8_MARK = b"\xef\xbb\xbf"
"""The byte order mark, by which Excel tells UTF-8 from the code page of the country."""

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # noqa: RUF001  full width counts too

_BLANK_LETTERS = "\u115f\u1160\u3164\uffa0\u2800"
"""Letters and a symbol by their category that show nothing: Hangul fillers and empty Braille."""
_STARTS_OF_VALUES = "=+@.%('\u2212"
"""A formula, a number, or an apostrophe of its own, which would be taken for ours."""
_CATEGORIES_OF_VALUES = ("Nd", "Nl", "No", "Pd", "Sc")
"""Digits and other numbers, dashes, currencies: what a number, a date or a formula starts with."""
_NAMED_VALUE = re.compile(
    r"(true|false)\s*|(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\W*\d.*",
    re.IGNORECASE | re.ASCII | re.DOTALL,
)
"""Truth values, and dates that start with the month."""


def csv_lines(rows: Iterable[Sequence[object]]) -> bytes:
    """Return rows as lines of CSV in UTF-8, which tell text as it is but for formulas."""
    return _lines(rows, _cell)


def excel_lines(rows: Iterable[Sequence[object]]) -> bytes:
    """Return rows as lines of CSV in UTF-8 for Excel: text stays text, times become times."""
    return _lines(rows, _excel_cell)


def _lines(rows: Iterable[Sequence[object]], cell: Callable[[object], object]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text)
    for row in rows:
        writer.writerow([cell(value) for value in row])
    return text.getvalue().encode()


def _cell(value: object) -> object:
    if isinstance(value, str) and value.startswith(_FORMULA_STARTS):
        return f"'{value}"
    return value


def _excel_cell(value: object) -> object:
    if isinstance(value, dt.datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    if isinstance(value, str) and _is_read_as_value(value):
        return f"'{value}"
    return value


def _is_read_as_value(text: str) -> bool:
    """Return whether a spreadsheet may take a text for something else."""
    # Full width, small and raised signs become the plain ones, as spreadsheets read them too.
    plain = unicodedata.normalize("NFKC", text)
    begin = next((i for i, letter in enumerate(plain) if not _is_hidden(letter)), None)
    if begin is None:
        return False
    first = plain[begin]
    return (
        first in _STARTS_OF_VALUES
        or unicodedata.category(first) in _CATEGORIES_OF_VALUES
        or _NAMED_VALUE.fullmatch(plain, begin) is not None
    )


def _is_hidden(letter: str) -> bool:
    """Return whether a character shows nothing: blanks, controls, formats and marks."""
    return unicodedata.category(letter)[0] in "ZCM" or letter in _BLANK_LETTERS
