"""Commands that write files of bookings to standard output."""

import argparse
import sys
from collections.abc import AsyncIterator
from typing import TypeVar

from quota_service.api.exports import CsvFile, excel_file, excel_roster, plain_file, plain_roster
from quota_service.commands.adding import Group, add, add_group, both_stores, postgres
from quota_service.domain.errors import UnknownSession, UnknownVenue
from quota_service.domain.exam import Exam
from quota_service.ledger.archive import ArchiveLedger
from quota_service.ledger.exams import ExamLedger
from quota_service.ledger.export import RosterLine, booking_pages, roster_pages
from quota_service.ledger.pool import Ledger
from quota_service.registration.registry import ExamRegistry
from quota_service.registration.roster import roster_with_holds
from quota_service.settings import Settings

_PAGE = 2000

_Row = TypeVar("_Row")


def add_export_commands(commands: Group) -> None:
    """Add `export` and its commands."""
    group = add_group(commands, "export", "write bookings as CSV to standard output")
    bookings = add(group, "bookings", _bookings, "all bookings of an exam")
    roster = add(group, "roster", _roster, "who sits at a venue in a session")
    for parser in (bookings, roster):
        parser.add_argument("exam")
        parser.add_argument(
            "--excel", action="store_true", help="for people: with titles, and local times"
        )
    roster.add_argument("--venue", help="id of the venue (default: all)")
    roster.add_argument("--session", help="id of the session (default: all)")
    roster.add_argument("--holds", action="store_true", help="unpaid holds too, with the state")


async def _bookings(options: argparse.Namespace, settings: Settings) -> int:
    async with postgres(settings) as ledger:
        exam = await _exam(ledger, options.exam)
        file = excel_file(exam) if options.excel else plain_file()
        await _write(file, booking_pages(ledger, exam.id, _PAGE))
    return 0


async def _roster(options: argparse.Namespace, settings: Settings) -> int:
    venue, session = options.venue, options.session
    if options.holds:
        async with both_stores(settings) as stores:
            exam = await _exam_of_roster(stores.ledger, options)
            pages = roster_with_holds(stores.maintenance, exam, venue, session, _PAGE)
            await _write_roster(options, exam, pages)
    else:
        async with postgres(settings) as ledger:
            exam = await _exam_of_roster(ledger, options)
            await _write_roster(options, exam, roster_pages(ledger, exam.id, venue, session, _PAGE))
    return 0


async def _exam_of_roster(ledger: Ledger, options: argparse.Namespace) -> Exam:
    exam = await _exam(ledger, options.exam)
    if options.venue is not None and options.venue not in exam.venue_ids:
        raise UnknownVenue(options.venue)
    if options.session not in {None, *(session.id for session in exam.sessions)}:
        raise UnknownSession(options.session)
    return exam


async def _write_roster(
    options: argparse.Namespace, exam: Exam, pages: AsyncIterator[list[RosterLine]]
) -> None:
    if options.excel:
        file = excel_roster(exam, has_holds=options.holds)
    else:
        file = plain_roster(has_holds=options.holds)
    await _write(file, pages)


async def _exam(ledger: Ledger, exam_id: str) -> Exam:
    """Return an exam, also one that is archived."""
    registry = ExamRegistry(ExamLedger(ledger))
    await registry.refresh()
    if registry.is_archived(exam_id):
        return await ArchiveLedger(ledger).find(exam_id)
    return registry.find(exam_id)


async def _write(file: CsvFile[_Row], pages: AsyncIterator[list[_Row]]) -> None:
    out = sys.stdout.buffer
    out.write(file.head)
    async for page in pages:
        out.write(file.lines(page))
    out.flush()
