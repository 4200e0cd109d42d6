"""A draw with a public source: the proof of an entry, and what ops put in or decide."""

from typing import Annotated, Final

from pydantic import Field, with_config
from typing_extensions import TypedDict

from quota_service.api.acting import REASONED
from quota_service.api.context import ApiContext
from quota_service.api.models import (
    STRICT,
    Answer,
    Count,
    ExamId,
    Positive,
    Rank,
    Reader,
    parse_object,
)
from quota_service.api.waiting_room import TICKET_MAX, administered
from quota_service.http.errors import InvalidRequest
from quota_service.http.request import Request
from quota_service.http.response import Response
from quota_service.registration.decide_source import open_without_source, put_in_source
from quota_service.registration.prove_entry import prove_entry
from quota_service.schema import CandidateId, Evidence, Reason


@with_config(STRICT)
class SourceEvidence(TypedDict):
    """The outcome of the source of a draw."""

    evidence: Evidence
    """The outcome of an event, word for word as it was published: every character counts. Of a
    drand round that no worker can fetch, its signature in hex."""
    reason: Reason


class EntryProof(Answer):
    """The proof that a candidate is in the draw.

    From the entry, each hash of the path is put before or behind what is there, and SHA-256 of a
    byte 1 and both is taken: RFC 9162, section 2.1.3.2. It ends at the root.
    """

    exam: ExamId
    candidate: CandidateId
    entry: Rank
    """SHA-256 of a zero byte, exam id, a zero byte and candidate id."""
    index: Count
    """Position of the entry among all, from 0."""
    count: Positive
    """How many entries there are."""
    root: Rank
    """Root of the entries, as in the public document."""
    path: Annotated[list[Rank], Field(max_length=64)]
    """Hashes beside the way to the root, from below."""
    rank: Rank | None
    """The rank of the candidate; null until the source is known."""


EVIDENCE: Final = Reader(SourceEvidence)


async def get_proof(context: ApiContext, request: Request) -> Response:
    """GET /v1/exams/{exam}/waiting-room/proof."""
    ticket = request.read_query().get("ticket", "")
    if not 1 <= len(ticket) <= TICKET_MAX:
        raise InvalidRequest([("ticket", f"must be a ticket of at most {TICKET_MAX} characters")])
    proof = await prove_entry(context.stores.waiting_room, request.params["exam"], ticket)
    request.candidate = proof.candidate
    answer: EntryProof = {
        "exam": request.params["exam"],
        "candidate": proof.candidate,
        "entry": proof.proof.leaf.hex(),
        "index": proof.proof.index,
        "count": proof.proof.count,
        "root": proof.root.hex(),
        "path": [each.hex() for each in proof.proof.path],
        "rank": proof.rank,
    }
    return Response.json(answer)


async def post_source(context: ApiContext, request: Request) -> Response:
    """POST /v1/exams/{exam}/waiting-room/source."""
    body = EVIDENCE.read(parse_object(request.body))
    stores, exam = context.stores.waiting_room, request.params["exam"]
    return administered(await put_in_source(stores, exam, body["evidence"], body["reason"]))


async def post_open_without_draw(context: ApiContext, request: Request) -> Response:
    """POST /v1/exams/{exam}/waiting-room/open-without-draw."""
    reason = REASONED.read(parse_object(request.body))["reason"]
    return administered(
        await open_without_source(context.stores.waiting_room, request.params["exam"], reason)
    )
