"""CSV that a spreadsheet shows as text and never runs, and that says what it was given."""

import csv
import datetime as dt
import io

import pytest

from quota_service.api.exports import csv_lines, excel_lines

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


READ_AS_VALUES = [
    # Digits: rounded to 15 of them, without leading zeros, as dates, powers and fractions.
    "4200001234202303141234567890",
    "00012345",
    "1E5",
    "2023-03-14",
    "3/14",
    "12:30",
    "5%",
    ".5",
    "(5)",
    "$5",
    "¥5",
    "１２３",
    "½",
    "MAR3",
    "sept-2",
    "March 14, 2023",
    "TRUE",
    "false",
    # Formulas, and signs that are read like those of formulas.
    *("=1+1", "+86139", "-1", "@x"),
    *("＝1+1", "＋1", "－1", "＠x"),
    *("﹦1+1", "﹢1", "﹣1", "﹫x"),
    *("\N{MINUS SIGN} 2", "\N{EN DASH}1", "\N{SUPERSCRIPT MINUS}1"),
    # An apostrophe of its own: what is in front of a cell is always ours.
    "'=1",
]
HIDDEN = [
    *(" ", "   ", "\t", "\r\n", "\N{NO-BREAK SPACE}", "\N{IDEOGRAPHIC SPACE}"),
    *("\N{ZERO WIDTH SPACE}", "\N{ZERO WIDTH JOINER}", "\N{ZERO WIDTH NO-BREAK SPACE}"),
    *("\N{LEFT-TO-RIGHT MARK}", "\N{RIGHT-TO-LEFT OVERRIDE}", "\N{SOFT HYPHEN}"),
    *("\N{WORD JOINER}", "\N{HANGUL FILLER}", "\N{HALFWIDTH HANGUL FILLER}", "\x00", "\x7f"),
    *("\N{BRAILLE PATTERN BLANK}", "\N{VARIATION SELECTOR-16}", "\N{COMBINING GRAPHEME JOINER}"),
]


def excel_cell(value: object) -> str:
    ((found, after),) = read(excel_lines([(value, "after")]))
    assert after == "after"
    return found


@pytest.mark.parametrize("text", READ_AS_VALUES, ids=ascii)
def test_text_that_excel_takes_for_something_else_comes_with_an_apostrophe(text: str) -> None:
    assert excel_cell(text) == f"'{text}"


@pytest.mark.parametrize("hidden", HIDDEN, ids=ascii)
@pytest.mark.parametrize("text", ["=1+1", "0001", "﹦1+1"], ids=ascii)
def test_it_does_so_behind_what_shows_nothing(hidden: str, text: str) -> None:
    assert excel_cell(hidden + text) == f"'{hidden}{text}"
    assert excel_cell(hidden + "\N{ZERO WIDTH SPACE}" + text).startswith("'")


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "a", "a=1+1", "c-1001", "candidate@example.org", "支付宝-20230314", "~", "é"),
        *("济南", "marble", "decision", "trueish", "exam-1.0.kx5w", '"=1"', "q7"),
        "\N{ZERO WIDTH SPACE}a",
    ],
    ids=ascii,
)
def test_any_other_text_comes_to_excel_as_it_is(text: str) -> None:
    assert excel_cell(text) == text


def test_numbers_and_times_come_to_excel_as_what_they_are() -> None:
    moment = dt.datetime(2023, 3, 14, 12, 0, 7, 123_000)  # noqa: DTZ001  a time on the exam's clocks

    assert read(excel_lines([(-5, 10**6, moment)])) == [["-5", "1000000", "2023-03-14 12:00:07"]]
