"""All bookings as a file of CSV, streamed, in two forms: for programs, and for people.

The form for programs never changes a value. The other is read by Excel as it is opened: with
titles beside ids, times on the clocks of the exam, and text that stays text. For Excel takes text
that looks like a number, a date or a truth value for one, loses leading zeros and all but 15 digits
of it, and does not look at blanks and characters without width before it decides.

In both a cell that starts like a formula, which the program that opens it would run, gets an
apostrophe in front, which makes it text.
"""

import asyncio
import csv
import datetime as dt
import io
import logging
import re
import unicodedata
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from zoneinfo import ZoneInfo

from aiohttp import web

from quota_service.api.context import CONTEXT, ApiContext
from quota_service.domain.definition import rfc3339
from quota_service.domain.errors import Overloaded
from quota_service.domain.exam import Exam, Subject, Venue
from quota_service.http.errors import InvalidRequest
from quota_service.ledger.export import ExportedBooking, booking_pages
from quota_service.observability.logs import REQUEST_ID

log = logging.getLogger(__name__)

_EXPORT_PAGE = 2000

UTF_8_MARK = b"\xef\xbb\xbf"
"""The byte order mark, by which Excel recognises UTF-8."""

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

Column = tuple[str, Callable[[ExportedBooking], object]]


@dataclass(frozen=True, slots=True)
class ExportLimits:
    """Bounds of the exports of a process."""

    at_once_max: int = 2
    """Exports at once; more are answered 503."""
    timeout_s: float = 900.0
    """An export that takes longer is broken off."""


@dataclass(frozen=True, slots=True)
class BookingFile:
    """One form of the file: its first bytes, and the lines of a page of bookings."""

    head: bytes
    lines: Callable[[Iterable[ExportedBooking]], bytes]


async def get_bookings_csv(request: web.Request) -> web.StreamResponse:
    """GET /v1/exams/{exam}/bookings.csv: streamed, a page of bookings in memory at a time."""
    context = request.app[CONTEXT]
    exam = await _exam_to_read(context, request.match_info["exam"])
    file = _file_asked(request, exam)
    if context.exports.locked():
        raise Overloaded("too many exports are in progress")
    async with context.exports:
        pages = booking_pages(context.stores.ledger, exam.id, _EXPORT_PAGE)
        # An unavailable Postgres is reported before anything is sent.
        first: list[ExportedBooking] = await anext(pages, [])
        response = web.StreamResponse(
            headers={
                "Content-Type": "text/csv; charset=utf-8; header=present",
                "Content-Disposition": f'attachment; filename="bookings-{exam.id}.csv"',
                "X-Request-ID": REQUEST_ID.get(),
            }
        )
        response.force_close()
        await response.prepare(request)
        if request.method == "HEAD":
            return response
        try:
            async with asyncio.timeout(context.settings.limits_of(ExportLimits).timeout_s):
                await _write(response, file, first, pages)
        except ConnectionResetError:
            log.info("the reader of an export has left")
        except Exception:
            # The status is sent: only a broken connection can show the failure.
            log.exception("export broke off")
            if request.transport is not None:
                request.transport.abort()
        return response


async def _write(
    response: web.StreamResponse,
    file: BookingFile,
    first: list[ExportedBooking],
    pages: AsyncIterator[list[ExportedBooking]],
) -> None:
    await response.write(file.head)
    await response.write(file.lines(first))
    async for page in pages:
        await response.write(file.lines(page))
    await response.write_eof()


def _file_asked(request: web.Request, exam: Exam) -> BookingFile:
    """Return the form of the file in `?for=`."""
    asked = request.query.getall("for", [])
    if not asked:
        return plain_file()
    if asked != ["excel"]:
        raise InvalidRequest([("for", "must be `excel`, or be left out")])
    return excel_file(exam)


async def _exam_to_read(context: ApiContext, exam: str) -> Exam:
    """Return an exam whose bookings are read: also one that is archived."""
    if context.stores.registry.is_archived(exam):
        return await context.stores.maintenance.archive.find(exam)
    return context.stores.registry.find(exam)


def plain_file() -> BookingFile:
    """Return the form for programs: ids, and times in UTC with milliseconds."""
    columns = [
        *_as_they_are("reservation", "candidate", "venue"),
        ("subjects", lambda booking: " ".join(booking.subjects)),
        *_as_they_are("state", "amount", "currency"),
        ("reserved_at", lambda booking: rfc3339(booking.reserved_ms)),
        ("confirmed_at", lambda booking: rfc3339(booking.confirmed_ms)),
        *_as_they_are("event", "provider_reference"),
    ]
    return _file(columns, csv_lines)


def excel_file(exam: Exam) -> BookingFile:
    """Return the form for spreadsheets."""
    zone = ZoneInfo(exam.time_zone)
    venues, subjects = _titles(exam.venues), _titles(exam.subjects)
    columns = [
        *_as_they_are("reservation", "candidate", "venue"),
        ("venue_title", lambda booking: venues.get(booking.venue, "")),
        ("subjects", lambda booking: " ".join(booking.subjects)),
        (
            "subject_titles",
            lambda booking: "; ".join(subjects.get(s, "") for s in booking.subjects),
        ),
        *_as_they_are("state", "amount", "currency"),
        (f"reserved_at ({exam.time_zone})", lambda booking: _local(booking.reserved_ms, zone)),
        (f"confirmed_at ({exam.time_zone})", lambda booking: _local(booking.confirmed_ms, zone)),
        *_as_they_are("event", "provider_reference"),
    ]
    return _file(columns, excel_lines, UTF_8_MARK)


def _as_they_are(*names: str) -> list[Column]:
    return [(name, attrgetter(name)) for name in names]


def _file(
    columns: Sequence[Column],
    lines: Callable[[Iterable[Sequence[object]]], bytes],
    mark: bytes = b"",
) -> BookingFile:
    names, cells = zip(*columns, strict=True)
    return BookingFile(
        mark + lines([names]),
        lambda page: lines([cell(booking) for cell in cells] for booking in page),
    )


def _titles(parts: Sequence[Venue] | Sequence[Subject]) -> dict[str, str]:
    """Return the titles of venues or subjects by id."""
    return {part.id: str(part.title) for part in parts}


def _local(time_ms: int, zone: ZoneInfo) -> dt.datetime:
    """Return a time on the clocks of a zone, in whole seconds."""
    return dt.datetime.fromtimestamp(time_ms // 1000, zone)


def csv_lines(rows: Iterable[Sequence[object]]) -> bytes:
    """Return rows as lines of CSV in UTF-8, with text unchanged except formulas."""
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
