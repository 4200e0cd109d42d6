"""The handler of all bookings as a file, which is streamed."""

import asyncio
import logging
from collections.abc import AsyncIterator

from aiohttp import web

from quota_service.api.booking_files import BookingFile, excel_file, plain_file
from quota_service.api.context import CONTEXT, ApiContext
from quota_service.api.errors import InvalidRequest
from quota_service.domain.errors import Overloaded
from quota_service.domain.exam import Exam
from quota_service.ledger.export import ExportedBooking, booking_pages
from quota_service.observability.logs import REQUEST_ID

log = logging.getLogger(__name__)

_EXPORT_PAGE = 2000


async def get_bookings_csv(request: web.Request) -> web.StreamResponse:
    """GET /v1/exams/{exam}/bookings.csv: streamed, a page of bookings in memory at a time."""
    context = request.app[CONTEXT]
    exam = await _exam_to_read(context, request.match_info["exam"])
    file = _file_asked(request, exam)
    if context.exports.locked():
        raise Overloaded("too many exports are at work already")
    async with context.exports:
        pages = booking_pages(context.stores.ledger, exam.id, _EXPORT_PAGE)
        # A Postgres that is away is told before anything is sent.
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
            async with asyncio.timeout(context.settings.export_timeout_s):
                await _write(response, file, first, pages)
        except ConnectionResetError:
            log.info("the reader of an export has left")
        except Exception:
            # The status is sent: only a connection that breaks off can tell of it.
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
        return await context.stores.archive.find(exam)
    return context.stores.registry.find(exam)
