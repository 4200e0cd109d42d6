"""Bookings and rosters as files of CSV, streamed, in two forms: for programs, and for people.

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
from typing import Any, Generic, TypeVar
from zoneinfo import ZoneInfo

from aiohttp import web

from quota_service.api.context import CONTEXT, ApiContext
from quota_service.domain.definition import rfc3339
from quota_service.domain.errors import Overloaded, UnknownSession, UnknownVenue
from quota_service.domain.exam import Exam, Session, Subject, Venue
from quota_service.http.errors import InvalidRequest
from quota_service.ledger.export import ExportedBooking, RosterLine, booking_pages, roster_pages
from quota_service.observability.logs import REQUEST_ID
from quota_service.registration.roster import roster_with_holds

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

_Row = TypeVar("_Row")
Column = tuple[str, Callable[[_Row], object]]


@dataclass(frozen=True, slots=True)
class ExportLimits:
    """Bounds of the exports of a process."""

    at_once_max: int = 2
    """Exports at once; more are answered 503."""
    timeout_s: float = 900.0
    """An export that takes longer is broken off."""


@dataclass(frozen=True, slots=True)
class CsvFile(Generic[_Row]):
    """One form of a file: its first bytes, and the lines of a page of rows."""

    head: bytes
    lines: Callable[[Iterable[_Row]], bytes]


async def get_bookings_csv(request: web.Request) -> web.StreamResponse:
    """GET /v1/exams/{exam}/bookings.csv."""
    context = request.app[CONTEXT]
    exam = await _exam_to_read(context, request.match_info["exam"])
    file = excel_file(exam) if _is_for_excel(request) else plain_file()
    pages = booking_pages(context.stores.ledger, exam.id, _EXPORT_PAGE)
    return await _stream(request, f"bookings-{exam.id}.csv", file, pages)


async def get_roster_csv(request: web.Request) -> web.StreamResponse:
    """GET /v1/exams/{exam}/roster.csv: of a venue, a session, both or all, with holds too."""
    context = request.app[CONTEXT]
    exam = await _exam_to_read(context, request.match_info["exam"])
    is_for_excel = _is_for_excel(request, "venue", "session")
    has_holds = _is_asked(request, "holds")
    venue, session = request.query.get("venue"), request.query.get("session")
    if venue is not None and venue not in exam.venue_ids:
        raise UnknownVenue(venue)
    if session is not None and session not in {each.id for each in exam.sessions}:
        raise UnknownSession(session)
    if is_for_excel:
        file = excel_roster(exam, has_holds=has_holds)
    else:
        file = plain_roster(has_holds=has_holds)
    if has_holds:
        stores = context.stores.maintenance
        pages = roster_with_holds(stores, exam, venue, session, _EXPORT_PAGE)
    else:
        pages = roster_pages(context.stores.ledger, exam.id, venue, session, _EXPORT_PAGE)
    name = "-".join(filter(None, ("roster", exam.id, venue, session)))
    return await _stream(request, f"{name}.csv", file, pages)


async def _stream(
    request: web.Request, name: str, file: CsvFile[_Row], pages: AsyncIterator[list[_Row]]
) -> web.StreamResponse:
    """Answer with a file, a page of rows in memory at a time."""
    context = request.app[CONTEXT]
    if context.exports.locked():
        raise Overloaded("too many exports are in progress")
    async with context.exports:
        # An unavailable Postgres is reported before anything is sent.
        first: list[_Row] = await anext(pages, [])
        response = web.StreamResponse(
            headers={
                "Content-Type": "text/csv; charset=utf-8; header=present",
                "Content-Disposition": f'attachment; filename="{name}"',
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
    file: CsvFile[_Row],
    first: list[_Row],
    pages: AsyncIterator[list[_Row]],
) -> None:
    await response.write(file.head)
    await response.write(file.lines(first))
    async for page in pages:
        await response.write(file.lines(page))
    await response.write_eof()


def _is_for_excel(request: web.Request, *others: str) -> bool:
    """Return whether `?for=excel` asks for the form for people; `others` may come once each."""
    wrong = [
        (name, "must be given once") for name in others if len(request.query.getall(name, ())) > 1
    ]
    asked = request.query.getall("for", [])
    if asked not in ([], ["excel"]):
        wrong.append(("for", "must be `excel`, or be left out"))
    if wrong:
        raise InvalidRequest(wrong)
    return bool(asked)


def _is_asked(request: web.Request, name: str) -> bool:
    """Return whether a parameter is `true`."""
    asked = request.query.getall(name, ["false"])
    if asked not in (["true"], ["false"]):
        raise InvalidRequest([(name, "must be true or false")])
    return asked == ["true"]


async def _exam_to_read(context: ApiContext, exam: str) -> Exam:
    """Return an exam whose bookings are read: also one that is archived."""
    if context.stores.registry.is_archived(exam):
        return await context.stores.maintenance.archive.find(exam)
    return context.stores.registry.find(exam)


def plain_file() -> CsvFile[ExportedBooking]:
    """Return the bookings for programs: ids, and times in UTC with milliseconds."""
    columns: list[Column[ExportedBooking]] = [
        *_as_they_are("reservation", "candidate", "venue"),
        ("subjects", lambda booking: " ".join(booking.subjects)),
        *_as_they_are("state", "amount", "currency"),
        ("reserved_at", lambda booking: rfc3339(booking.reserved_ms)),
        ("confirmed_at", lambda booking: rfc3339(booking.confirmed_ms)),
        *_as_they_are("event", "provider_reference"),
    ]
    return _file(columns, csv_lines)


def excel_file(exam: Exam) -> CsvFile[ExportedBooking]:
    """Return the bookings for spreadsheets."""
    zone = ZoneInfo(exam.time_zone)
    venues, subjects = _titles(exam.venues), _titles(exam.subjects)
    columns: list[Column[ExportedBooking]] = [
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


def plain_roster(*, has_holds: bool = False) -> CsvFile[RosterLine]:
    """Return the roster for programs; one that has holds tells states."""
    columns = _as_they_are("venue", "session", "subject", "candidate", "reservation")
    return _file([*columns, *(_as_they_are("state") if has_holds else ())], csv_lines)


def excel_roster(exam: Exam, *, has_holds: bool = False) -> CsvFile[RosterLine]:
    """Return the roster for spreadsheets; one that has holds tells states."""
    venues, sessions = _titles(exam.venues), _titles(exam.sessions)
    subjects = _titles(exam.subjects)
    columns: list[Column[RosterLine]] = [
        *_as_they_are("venue"),
        ("venue_title", lambda line: venues.get(line.venue, "")),
        *_as_they_are("session"),
        ("session_title", lambda line: sessions.get(line.session, "")),
        *_as_they_are("subject"),
        ("subject_title", lambda line: subjects.get(line.subject, "")),
        *_as_they_are("candidate", "reservation"),
        *(_as_they_are("state") if has_holds else ()),
    ]
    return _file(columns, excel_lines, UTF_8_MARK)


def _as_they_are(*names: str) -> list[Column[Any]]:
    return [(name, attrgetter(name)) for name in names]


def _file(
    columns: Sequence[Column[_Row]],
    lines: Callable[[Iterable[Sequence[object]]], bytes],
    mark: bytes = b"",
) -> CsvFile[_Row]:
    names, cells = zip(*columns, strict=True)
    return CsvFile(
        mark + lines([names]),
        lambda page: lines([cell(row) for cell in cells] for row in page),
    )


def _titles(parts: Sequence[Venue | Subject | Session]) -> dict[str, str]:
    """Return the titles of venues, subjects or sessions by id."""
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
