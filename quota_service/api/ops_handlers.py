"""The handlers for ops: money to send back, and all bookings as a file."""

import asyncio
import logging
from collections.abc import AsyncIterator

from aiohttp import web

from quota_service.api import render
from quota_service.api.booking_files import BookingFile, excel_file, plain_file
from quota_service.api.context import CONTEXT, ApiContext
from quota_service.api.errors import InvalidRequest
from quota_service.domain.errors import Overloaded, UnknownPayment, UnknownRefund
from quota_service.domain.exam import Exam
from quota_service.ledger.export import ExportedBooking, booking_pages
from quota_service.observability.logs import REQUEST_ID
from quota_service.registration.audit import audit

log = logging.getLogger(__name__)

KEY_ID: web.RequestKey[str] = web.RequestKey("key_id", str)
"""The id of the API key a request came with."""

PAGE_MAX = 500
_PAGE = 100
_ID_MAX = 2**63 - 1
_EXPORT_PAGE = 2000


async def get_refunds_due(request: web.Request) -> web.Response:
    """GET /v1/exams/{exam}/refunds-due."""
    exam = request.match_info["exam"]
    request.app[CONTEXT].stores.registry.check_known(exam)
    return await _refunds_due(request, exam, *_page_asked(request))


async def get_all_refunds_due(request: web.Request) -> web.Response:
    """GET /v1/refunds-due, of one exam with `?exam=`; an empty one asks for what names none."""
    after, limit = _page_asked(request, "exam")
    exam = request.query.get("exam")
    if exam:
        request.app[CONTEXT].stores.registry.check_known(exam)
    return await _refunds_due(request, exam, after, limit)


async def _refunds_due(
    request: web.Request, exam: str | None, after: int, limit: int
) -> web.Response:
    context = request.app[CONTEXT]
    reading = context.stores.refunds_due.page(exam, after, limit)
    page = await context.under_way.run(reading)
    following = str(page[-1].id) if len(page) == limit else None
    return render.json_response(
        {
            "exam": exam or None,
            "refunds_due": [render.refund_due_json(due) for due in page],
            "next": following,
        }
    )


async def post_refund_settled(request: web.Request) -> web.Response:
    """POST /v1/exams/{exam}/refunds-due/{refund}/settle, and without an exam."""
    context = request.app[CONTEXT]
    exam = request.match_info.get("exam")
    if exam is not None:
        context.stores.registry.check_known(exam)
    number = _whole(request.match_info["refund"], 1, _ID_MAX)
    if number is None:
        raise UnknownRefund
    settling = context.stores.refunds_due.settle(exam, number, request[KEY_ID])
    due = await context.under_way.run(settling)
    if due is None:
        raise UnknownRefund
    return render.json_response(render.refund_due_json(due))


async def get_unreadable_payments(request: web.Request) -> web.Response:
    """GET /v1/unreadable-payments."""
    context = request.app[CONTEXT]
    after, limit = _page_asked(request)
    reading = context.stores.unreadable_payments.page(after, limit)
    page = await context.under_way.run(reading)
    return render.json_response(
        {
            "unreadable_payments": [render.unreadable_payment_json(each) for each in page],
            "next": str(page[-1].id) if len(page) == limit else None,
        }
    )


async def post_unreadable_settled(request: web.Request) -> web.Response:
    """POST /v1/unreadable-payments/{payment}/settle."""
    context = request.app[CONTEXT]
    number = _whole(request.match_info["payment"], 1, _ID_MAX)
    if number is None:
        raise UnknownPayment
    settling = context.stores.unreadable_payments.settle(number, request[KEY_ID])
    unreadable = await context.under_way.run(settling)
    if unreadable is None:
        raise UnknownPayment
    return render.json_response(render.unreadable_payment_json(unreadable))


async def _exam_to_read(context: ApiContext, exam: str) -> Exam:
    """Return an exam whose bookings are read: also one that is archived."""
    if context.stores.registry.is_archived(exam):
        return await context.stores.archive.find(exam)
    return context.stores.registry.find(exam)


async def get_audit(request: web.Request) -> web.Response:
    """GET /v1/exams/{exam}/audit."""
    context = request.app[CONTEXT]
    found = await audit(context.stores, request.match_info["exam"])
    return render.json_response(render.audit_json(found))


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


def _page_asked(request: web.Request, *others: str) -> tuple[int, int]:
    """Return the id to go on after, and how many to list; `others` may be asked for beside."""
    unknown = [name for name in request.query if name not in {"after", "limit", *others}]
    wrong = [(name[:64], "is not a parameter of this call") for name in unknown]
    after = _whole(request.query.get("after", "0"), 0, _ID_MAX)
    limit = _whole(request.query.get("limit", str(_PAGE)), 1, PAGE_MAX)
    if after is None:
        wrong.append(("after", "must be the `next` of the page before"))
    if limit is None:
        wrong.append(("limit", f"must be a whole number from 1 to {PAGE_MAX}"))
    if wrong or after is None or limit is None:
        raise InvalidRequest(wrong)
    return after, limit


def _whole(text: str, low: int, high: int) -> int | None:
    if not (text.isascii() and text.isdigit() and len(text) < 20):  # noqa: PLR2004  no larger than a bigint
        return None
    return int(text) if low <= int(text) <= high and text == str(int(text)) else None
