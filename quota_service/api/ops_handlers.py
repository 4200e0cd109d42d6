"""The handlers for ops: money to send back, payments nobody understood, the audit."""

from quota_service.api import render
from quota_service.api.context import ApiContext
from quota_service.api.errors import InvalidRequest
from quota_service.api.ops_answers import RefundsDue, UnreadablePayments
from quota_service.domain.errors import UnknownPayment, UnknownRefund
from quota_service.http.request import Request
from quota_service.http.response import Response
from quota_service.observability.caller import caller
from quota_service.registration.audit import audit

PAGE_MAX = 500
_PAGE = 100
_ID_MAX = 2**63 - 1


async def get_refunds_due(context: ApiContext, request: Request) -> Response:
    """GET /v1/exams/{exam}/refunds-due."""
    exam = request.params["exam"]
    context.stores.registry.check_known(exam)
    return await _refunds_due(context, exam, *_page_asked(request))


async def get_all_refunds_due(context: ApiContext, request: Request) -> Response:
    """GET /v1/refunds-due, of one exam with `?exam=`; an empty one asks for what names none."""
    after, limit = _page_asked(request, "exam")
    exam = request.read_query().get("exam")
    if exam:
        context.stores.registry.check_known(exam)
    return await _refunds_due(context, exam, after, limit)


async def _refunds_due(context: ApiContext, exam: str | None, after: int, limit: int) -> Response:
    page = await context.stores.refunds_due.page(exam, after, limit)
    answer: RefundsDue = {
        "exam": exam or None,
        "refunds_due": [render.refund_due_json(due) for due in page],
        "next": str(page[-1].id) if len(page) == limit else None,
    }
    return Response.json(answer)


async def post_refund_settled(context: ApiContext, request: Request) -> Response:
    """POST /v1/exams/{exam}/refunds-due/{refund}/settle, and without an exam."""
    exam = request.params.get("exam")
    if exam is not None:
        context.stores.registry.check_known(exam)
    number = _whole(request.params["refund"], 1, _ID_MAX)
    if number is None:
        raise UnknownRefund
    due = await context.stores.refunds_due.settle(exam, number, caller().key_id)
    if due is None:
        raise UnknownRefund
    return Response.json(render.refund_due_json(due))


async def get_unreadable_payments(context: ApiContext, request: Request) -> Response:
    """GET /v1/unreadable-payments."""
    after, limit = _page_asked(request)
    page = await context.stores.unreadable_payments.page(after, limit)
    answer: UnreadablePayments = {
        "unreadable_payments": [render.unreadable_payment_json(each) for each in page],
        "next": str(page[-1].id) if len(page) == limit else None,
    }
    return Response.json(answer)


async def post_unreadable_settled(context: ApiContext, request: Request) -> Response:
    """POST /v1/unreadable-payments/{payment}/settle."""
    number = _whole(request.params["payment"], 1, _ID_MAX)
    if number is None:
        raise UnknownPayment
    unreadable = await context.stores.unreadable_payments.settle(number, caller().key_id)
    if unreadable is None:
        raise UnknownPayment
    return Response.json(render.unreadable_payment_json(unreadable))


async def get_audit(context: ApiContext, request: Request) -> Response:
    """GET /v1/exams/{exam}/audit."""
    found = await audit(context.stores, request.params["exam"])
    return Response.json(render.audit_json(found))


def _page_asked(request: Request, *others: str) -> tuple[int, int]:
    """Return the id to go on after, and how many to list; `others` may be asked for beside."""
    query = request.read_query()
    unknown = [name for name in query if name not in {"after", "limit", *others}]
    wrong = [(name[:64], "is not a parameter of this call") for name in unknown]
    after = _whole(query.get("after", "0"), 0, _ID_MAX)
    limit = _whole(query.get("limit", str(_PAGE)), 1, PAGE_MAX)
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
