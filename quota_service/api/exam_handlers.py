"""The public documents of exams: rendered once a definition, told to who has not got them yet.

Only the server's time is of the moment, and stands behind the rest. Who asks for the list without
`limit` gets all of it, as ever; what that costs is counted against its address by its size.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import orjson
from aiohttp import web

from quota_service.api.context import CONTEXT, ApiContext
from quota_service.api.errors import InvalidRequest
from quota_service.api.etags import is_known
from quota_service.api.rates import take_large_of_address
from quota_service.api.render import exam_json
from quota_service.api.times import rfc3339
from quota_service.domain.exam import IDENTIFIER, Exam

EXAMS_MAX = 100
"""Exams of one page of the list, at most."""
_ETAG_BYTES = 8


@dataclass(frozen=True, slots=True)
class RenderedExam:
    """A definition as JSON, up to the server's time; the tag is a hash of it."""

    exam: Exam
    body: bytes
    tag: bytes


class RenderedExams:
    """The definitions that were asked for, each rendered once."""

    def __init__(self) -> None:
        self._rendered: dict[str, RenderedExam] = {}

    def exam(self, exam: Exam) -> RenderedExam:
        """Return a definition as it is told."""
        rendered = self._rendered.get(exam.id)
        if rendered is None or rendered.exam is not exam:
            body = orjson.dumps(exam_json(exam))
            rendered = RenderedExam(exam, body, _hash(body))
            self._rendered[exam.id] = rendered
        return rendered


RENDERED_EXAMS: web.AppKey[RenderedExams] = web.AppKey("rendered_exams", RenderedExams)


async def list_exams(request: web.Request) -> web.Response:
    """GET /v1/exams."""
    context = request.app[CONTEXT]
    after, limit = _page_asked(request)
    exams = [exam for exam in context.stores.registry.all() if exam.id > after]
    page = exams if limit is None else exams[:limit]
    following = page[-1].id if len(page) < len(exams) else None
    rendered = [request.app[RENDERED_EXAMS].exam(exam) for exam in page]
    tag = _hash(b"".join(each.tag for each in rendered) + orjson.dumps(following))
    return _answer(request, tag, rendered, b'{"exams":[', b'],"next":%b}' % orjson.dumps(following))


async def get_exam(request: web.Request) -> web.Response:
    """GET /v1/exams/{exam}."""
    context = request.app[CONTEXT]
    exam = context.stores.registry.find(request.match_info["exam"])
    rendered = request.app[RENDERED_EXAMS].exam(exam)
    return _answer(request, rendered.tag, [rendered], b"", b"")


def _answer(
    request: web.Request, tag: bytes, exams: Sequence[RenderedExam], head: bytes, tail: bytes
) -> web.Response:
    """Return exams with the time of now, unless the client has them."""
    etag = f'W/"{tag.hex()}"'
    headers = {"ETag": etag, "Cache-Control": "no-cache"}
    if is_known(request.headers.getall("If-None-Match", ()), etag):
        return web.Response(status=web.HTTPNotModified.status_code, headers=headers)
    context: ApiContext = request.app[CONTEXT]
    size = sum(len(each.body) for each in exams)
    take_large_of_address(context, request.remote or "", size)
    time = b',"server_time":"%b"}' % rfc3339(context.health.now_ms()).encode()
    body = b",".join([each.body[:-1] + time for each in exams])
    return web.Response(body=head + body + tail, headers=headers, content_type="application/json")


def _page_asked(request: web.Request) -> tuple[str, int | None]:
    """Return the exam to go on after, and how many to list, None for all."""
    after, limit = request.query.get("after", ""), request.query.get("limit")
    wrong = []
    if "after" in request.query and not IDENTIFIER.fullmatch(after):
        wrong.append(("after", "must be the `next` of the page before"))
    if limit is not None and (
        not (limit.isascii() and limit.isdigit() and len(limit) <= len(str(EXAMS_MAX)))
        or not 1 <= int(limit) <= EXAMS_MAX
    ):
        wrong.append(("limit", f"must be a whole number from 1 to {EXAMS_MAX}"))
    if wrong:
        raise InvalidRequest(wrong)
    return after, None if limit is None else int(limit)


def _hash(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=_ETAG_BYTES).digest()
