"""The two forms of the file of all bookings: for programs, and for people with a spreadsheet.

The form for programs never changes what it tells. The other is read by Excel as it is opened: with
titles beside ids, times on the clocks of the exam, and text that stays text.
"""

import datetime as dt
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from quota_service.api.spreadsheet import UTF_8_MARK, csv_lines, excel_lines
from quota_service.api.times import rfc3339
from quota_service.domain.exam import Exam, Subject, Venue
from quota_service.ledger.export import ExportedBooking

_COLUMNS = (
    "reservation",
    "candidate",
    "venue",
    "subjects",
    "state",
    "amount",
    "currency",
    "reserved_at",
    "confirmed_at",
    "event",
    "provider_reference",
)


@dataclass(frozen=True, slots=True)
class BookingFile:
    """One form of the file: its first bytes, and the lines of a page of bookings."""

    head: bytes
    lines: Callable[[Iterable[ExportedBooking]], bytes]


def plain_file() -> BookingFile:
    """Return the form for programs: ids, and times in UTC with milliseconds."""
    return BookingFile(csv_lines([_COLUMNS]), lambda page: csv_lines(map(_plain_cells, page)))


def excel_file(exam: Exam) -> BookingFile:
    """Return the form for spreadsheets."""
    zone = ZoneInfo(exam.time_zone)
    venues, subjects = _titles(exam.venues), _titles(exam.subjects)
    columns = (
        "reservation",
        "candidate",
        "venue",
        "venue_title",
        "subjects",
        "subject_titles",
        "state",
        "amount",
        "currency",
        f"reserved_at ({exam.time_zone})",
        f"confirmed_at ({exam.time_zone})",
        "event",
        "provider_reference",
    )

    def cells(booking: ExportedBooking) -> tuple[object, ...]:
        return (
            booking.reservation,
            booking.candidate,
            booking.venue,
            venues.get(booking.venue, ""),
            " ".join(booking.subjects),
            "; ".join(subjects.get(subject, "") for subject in booking.subjects),
            booking.state,
            booking.amount,
            booking.currency,
            _local_time(booking.reserved_ms, zone),
            _local_time(booking.confirmed_ms, zone),
            booking.event,
            booking.provider_reference,
        )

    head = UTF_8_MARK + excel_lines([columns])
    return BookingFile(head, lambda page: excel_lines(map(cells, page)))


def _plain_cells(booking: ExportedBooking) -> tuple[object, ...]:
    return (
        booking.reservation,
        booking.candidate,
        booking.venue,
        " ".join(booking.subjects),
        booking.state,
        booking.amount,
        booking.currency,
        rfc3339(booking.reserved_ms),
        rfc3339(booking.confirmed_ms),
        booking.event,
        booking.provider_reference,
    )


def _titles(parts: Sequence[Venue] | Sequence[Subject]) -> dict[str, str]:
    """Return the titles of venues or subjects by id."""
    return {part.id: str(part.title) for part in parts}


def _local_time(time_ms: int, zone: ZoneInfo) -> dt.datetime:
    """Return a time on the clocks of a zone, in whole seconds."""
    return dt.datetime.fromtimestamp(time_ms // 1000, zone)
