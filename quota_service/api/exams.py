"""Exams: their public documents, and what ops do with them: import, archive.

A document is rendered once for each definition. Only the server's time changes, and is
behind the rest. Who asks for the list without `limit` gets all of it, as ever.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, cast

import orjson
from pydantic import ConfigDict, Field
from typing_extensions import TypeAliasType

from quota_service.api.announced import AnnouncedRelease, announced_json
from quota_service.api.context import ApiContext
from quota_service.api.models import (
    Answer,
    ExamId,
    Next,
    Time,
    parse_object,
    refuse_members,
)
from quota_service.api.pauses import Pause, Scope, pause_json, scope_json
from quota_service.definitions.fields import MAX_LANGUAGES, Language
from quota_service.definitions.files import parse_definition_json
from quota_service.definitions.model import ExamMembers, optional
from quota_service.definitions.reading import parse_exam
from quota_service.domain.definition import DefinitionError, exam_document, rfc3339
from quota_service.domain.errors import DefinitionRefused
from quota_service.domain.exam import IDENTIFIER
from quota_service.domain.exam import Exam as DefinedExam
from quota_service.http.errors import InvalidRequest
from quota_service.http.etags import Rendered, etag_of, not_modified
from quota_service.http.request import Request
from quota_service.http.response import Response
from quota_service.observability.caller import caller
from quota_service.registration.archive import archive_exam
from quota_service.registration.import_exam import import_exam
from quota_service.schema import example

log = logging.getLogger(__name__)

EXAMS_MAX = 100
"""Exams of one page of the list, at most."""

Text = TypeAliasType(
    "Text",
    Annotated[
        str | Annotated[dict[Language, str], Field(min_length=1, max_length=MAX_LANGUAGES)],
        Field(description="A text by language (the tag of BCP 47), or a plain text."),
    ],
)


class Exam(ExamMembers):
    """One exam. Its seats are in its availability."""

    model_config = ConfigDict(
        json_schema_extra=optional(
            "waiting_room", "returned", "waiting_list", "rooms", "releases", "pauses", "closed"
        )
    )

    releases: Sequence[AnnouncedRelease]
    """Seat releases to come, as far as they are announced, by time; absent where there are none."""
    pauses: Sequence[Pause]
    """What ops have paused; absent where nothing is."""
    closed: Sequence[Scope]
    """Venues that ops have closed for sale, and quotas of venues that are closed in some subjects;
    they have no seats left. Absent where nothing is closed."""
    server_time: Time
    """The time by the clock that opens and closes registration."""


class ExamList(Answer):
    """Exams, all of them or a page."""

    exams: Sequence[Exam]
    """By id."""
    next: Next


class Archived(Answer):
    """An exam that is archived."""

    exam: ExamId
    archived_at: Time
    """Since when it is archived."""


class ImportedChange(Answer):
    """One difference."""

    where: Annotated[str, example("seats.jinan.qms")]
    """Key path in the definition."""
    before: Annotated[str, example("400")]
    """The value as it was."""
    after: Annotated[str, example("420")]
    """The value as it is now."""


class ImportedWarning(Answer):
    """One warning."""

    where: Annotated[str, example("sessions.day1-pm.starts_at")]
    """Key path in the definition."""
    detail: Annotated[
        str,
        example(
            "begins before session day1-am ends (2023-05-20T03:00:00.000Z): a candidate can "
            "reserve both"
        ),
    ]
    """What is odd, for people."""


class ImportResult(Answer):
    """What an import did; neither created nor changed is a repeat."""

    exam: ExamId
    created: bool
    """Whether the exam is new."""
    changes: Sequence[ImportedChange]
    """What differs from before, for people."""
    warnings: Sequence[ImportedWarning]
    """What may be meant and should be looked at: windows and sittings that do not go together,
    sessions at the same time."""


def list_exams(context: ApiContext, request: Request) -> Response:
    """GET /v1/exams."""
    after, limit = _page_asked(request)
    exams = [exam for exam in context.stores.registry.all() if exam.id > after]
    page = exams if limit is None else exams[:limit]
    following = orjson.dumps(page[-1].id if len(page) < len(exams) else None)
    rendered = [context.rendered_exams.document(exam.id, exam, exam_json) for exam in page]
    etag = etag_of("".join(each.etag for each in rendered).encode() + following)
    return _answer(context, request, etag, rendered, following=following)


def get_exam(context: ApiContext, request: Request) -> Response:
    """GET /v1/exams/{exam}."""
    exam = context.stores.registry.find(request.params["exam"])
    rendered = context.rendered_exams.document(exam.id, exam, exam_json)
    return _answer(context, request, rendered.etag, [rendered])


async def put_exam(context: ApiContext, request: Request) -> Response:
    """PUT /v1/exams/{exam}."""
    force = _force_asked(request)
    # The largest definition takes a second to read, in a thread, so that no request waits for it.
    exam = await asyncio.to_thread(_defined, request.params["exam"], request.body)
    imported = await import_exam(context.stores.maintenance, exam, force=force)
    answer: ImportResult = {
        "exam": exam.id,
        "created": imported.created,
        "changes": [
            {"where": change.where, "before": change.before, "after": change.after}
            for change in imported.changes
        ],
        "warnings": [
            {"where": warning.where, "detail": warning.detail} for warning in imported.warnings
        ],
    }
    return Response.json(answer, 201 if imported.created else 200)


def _force_asked(request: Request) -> bool:
    force = request.read_query().get("force", "false")
    if force not in {"true", "false"}:
        raise InvalidRequest([("force", "must be true or false")])
    return force == "true"


def _defined(exam_id: str, body: bytes) -> DefinedExam:
    """Return the exam that a body defines under its address."""
    parse_object(body)
    try:
        document = parse_definition_json(body)
        exam = parse_exam({"id": exam_id, **cast("dict[str, object]", document)})
    except DefinitionError as error:
        raise DefinitionRefused([(p.where, p.detail) for p in error.problems]) from error
    if exam.id != exam_id:
        raise DefinitionRefused([("id", f"is {exam.id!r}, the address says {exam_id!r}")])
    return exam


async def post_archive(context: ApiContext, request: Request) -> Response:
    """POST /v1/exams/{exam}/archive."""
    refuse_members(request.body)
    exam = request.params["exam"]
    archived_ms = await archive_exam(context.stores.maintenance, exam)
    log.info("an exam was archived", extra={"exam": exam, "key": caller().key_id})
    answer: Archived = {"exam": exam, "archived_at": rfc3339(archived_ms)}
    return Response.json(answer)


def _answer(
    context: ApiContext,
    request: Request,
    etag: str,
    exams: Sequence[Rendered[DefinedExam]],
    *,
    following: bytes | None = None,
) -> Response:
    """Return exams with the time of now, unless the client has them.

    A list says which exam is the last of the page, as JSON, when more follow.
    """
    headers = (("ETag", etag), ("Cache-Control", "no-cache"))
    if unchanged := not_modified(request, headers):
        return unchanged
    time = b',"server_time":"%b"}' % rfc3339(context.stores.clock.estimate_ms()).encode()
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


def exam_json(exam: DefinedExam) -> dict[str, Any]:
    """Return an exam without the server's time; its seats are in its availability.

    Of seat releases to come it has what is announced, of set-asides nothing.
    """
    document = exam_document(replace(exam, seats={}, releases=(), set_asides=()))
    del document["seats"]
    releases = [announced_json(release) for release in exam.announced]
    if releases:
        document["releases"] = releases
    if exam.pauses:
        document["pauses"] = [pause_json(pause) for pause in exam.pauses]
    if exam.closed:
        closed = (name.partition("/") for name in sorted(exam.closed))
        document["closed"] = [scope_json(venue, subject) for venue, _, subject in closed]
    return document
