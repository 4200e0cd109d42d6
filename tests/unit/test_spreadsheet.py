"""CSV that a spreadsheet shows as text and never runs, and that says what it was given."""

import csv
import io

import pytest

from quota_service.api.spreadsheet import csv_lines

STARTS_OF_FORMULAS = [
    "=",
    "+",
    "-",
    "@",
    "\t",
    "\r",
    "\n",
    "\N{FULLWIDTH EQUALS SIGN}",
    "\N{FULLWIDTH PLUS SIGN}",
    "\N{FULLWIDTH HYPHEN-MINUS}",
    "\N{FULLWIDTH COMMERCIAL AT}",
]
HARMLESS = [
    "",
    "a",
    "a=1+1",
    "1-2",
    "candidate@example.org",
    "'=1",
    '"=1"',
    "\N{MINUS SIGN}1",
    "济南",
]


def read(lines: bytes) -> list[list[str]]:
    """Return the cells as a reader of CSV sees them."""
    return list(csv.reader(io.StringIO(lines.decode(), newline="")))


def cell(value: object) -> str:
    """Return one value as a reader sees it between two others."""
    ((before, found, after),) = read(csv_lines([("before", value, "after")]))
    assert (before, after) == ("before", "after")
    return found


@pytest.mark.parametrize("start", STARTS_OF_FORMULAS, ids=ascii)
def test_a_cell_that_starts_like_a_formula_comes_with_an_apostrophe(start: str) -> None:
    formula = f'{start}HYPERLINK("https://example.org","x")'

    assert cell(formula) == f"'{formula}"
    assert cell(start) == f"'{start}"


@pytest.mark.parametrize("text", HARMLESS, ids=ascii)
def test_any_other_text_comes_as_it_is(text: str) -> None:
    assert cell(text) == text


def test_the_first_cell_and_the_last_of_a_row_are_as_safe_as_those_between() -> None:
    assert read(csv_lines([("=1", "a", "=2"), ("+3",)])) == [["'=1", "a", "'=2"], ["'+3"]]


def test_numbers_come_as_they_are() -> None:
    assert read(csv_lines([(0, -5, 10**12)])) == [["0", "-5", "1000000000000"]]


@pytest.mark.parametrize(
    "text", ["a,b", 'a"b', '"', "a\nb", "a\rb", "a\r\nb", ",", "a;b"], ids=ascii
)
def test_separators_quotes_and_line_breaks_stay_inside_their_cell(text: str) -> None:
    assert cell(text) == text


def test_every_row_is_a_line_that_ends_as_rfc_4180_has_it() -> None:
    lines = csv_lines([("a", "b"), ("c", 1)])

    assert lines == b"a,b\r\nc,1\r\n"


def test_text_is_utf_8() -> None:
    assert csv_lines([("济南", "é")]) == "济南,é\r\n".encode()


def test_no_rows_are_no_bytes() -> None:
    assert csv_lines([]) == b""
