"""The handler that archives an exam."""

import logging

from aiohttp import web

from quota_service.api import render
from quota_service.api.context import CONTEXT
from quota_service.api.ops_handlers import KEY_ID
from quota_service.api.room_ops_handlers import refuse_members
from quota_service.api.times import rfc3339
from quota_service.registration.archive import archive_exam

log = logging.getLogger(__name__)


async def post_archive(request: web.Request) -> web.Response:
    """POST /v1/exams/{exam}/archive."""
    context = request.app[CONTEXT]
    await refuse_members(request)
    exam = request.match_info["exam"]
    archived_ms = await context.under_way.run(archive_exam(context.stores, exam))
    log.info("an exam was archived", extra={"exam": exam, "key": request[KEY_ID]})
    return render.json_response({"exam": exam, "archived_at": rfc3339(archived_ms)})
