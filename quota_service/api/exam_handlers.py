"""The public documents of exams: rendered once a definition, told to who has not got them yet.

Only the server's time is of the moment, and stands behind the rest. Who asks for the list without
`limit` gets all of it, as ever.
"""

from collections.abc import Sequence

import orjson

from quota_service.api.context import ApiContext
from quota_service.api.errors import InvalidRequest
from quota_service.api.etags import is_known
from quota_service.api.rendered import RenderedExam, tag_of
from quota_service.api.times import rfc3339
from quota_service.domain.exam import IDENTIFIER
from quota_service.http.request import Request
from quota_service.http.response import Response

EXAMS_MAX = 100
"""Exams of one page of the list, at most."""


def list_exams(context: ApiContext, request: Request) -> Response:
    """GET /v1/exams."""
    after, limit = _page_asked(request)
    exams = [exam for exam in context.stores.registry.all() if exam.id > after]
    page = exams if limit is None else exams[:limit]
    following = orjson.dumps(page[-1].id if len(page) < len(exams) else None)
    rendered = [context.rendered_exams.exam(exam) for exam in page]
    tag = tag_of(b"".join(each.tag for each in rendered) + following)
    return _answer(context, request, tag, rendered, following=following)


def get_exam(context: ApiContext, request: Request) -> Response:
    """GET /v1/exams/{exam}."""
    rendered = context.rendered_exams.exam(context.stores.registry.find(request.params["exam"]))
    return _answer(context, request, rendered.tag, [rendered])


def _answer(
    context: ApiContext,
    request: Request,
    tag: bytes,
    exams: Sequence[RenderedExam],
    *,
    following: bytes | None = None,
) -> Response:
    """Return exams with the time of now, unless the client has them.

    A list says which exam is the last of the page, as JSON, when more follow.
    """
    etag = f'W/"{tag.hex()}"'
    headers = (("ETag", etag), ("Cache-Control", "no-cache"))
    if is_known(request.headers.getall("If-None-Match", ()), etag):
        return Response(b"", 304, headers)
    time = b',"server_time":"%b"}' % rfc3339(context.health.now_ms()).encode()
    body = b",".join([each.body[:-1] + time for each in exams])
    if following is not None:
        body = b'{"exams":[%b],"next":%b}' % (body, following)
    return Response(body, headers=headers)


def _page_asked(request: Request) -> tuple[str, int | None]:
    """Return the exam to go on after, and how many to list, None for all."""
    query = request.read_query()
    after, limit = query.get("after", ""), query.get("limit")
    wrong = []
    if "after" in query and not IDENTIFIER.fullmatch(after):
        wrong.append(("after", "must be the `next` of the page before"))
    if limit is not None and (
        not (limit.isascii() and limit.isdigit() and len(limit) <= len(str(EXAMS_MAX)))
        or not 1 <= int(limit) <= EXAMS_MAX
    ):
        wrong.append(("limit", f"must be a whole number from 1 to {EXAMS_MAX}"))
    if wrong:
        raise InvalidRequest(wrong)
    return after, None if limit is None else int(limit)
