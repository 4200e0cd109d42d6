"""The handler that archives an exam."""

import logging

from quota_service.api.bodies import refuse_members
from quota_service.api.context import ApiContext
from quota_service.api.ops_answers import Archived
from quota_service.api.times import rfc3339
from quota_service.http.request import Request
from quota_service.http.response import Response
from quota_service.observability.caller import caller
from quota_service.registration.archive import archive_exam

log = logging.getLogger(__name__)


async def post_archive(context: ApiContext, request: Request) -> Response:
    """POST /v1/exams/{exam}/archive."""
    refuse_members(request.body)
    exam = request.params["exam"]
    archived_ms = await archive_exam(context.stores, exam)
    log.info("an exam was archived", extra={"exam": exam, "key": caller().key_id})
    answer: Archived = {"exam": exam, "archived_at": rfc3339(archived_ms)}
    return Response.json(answer)
