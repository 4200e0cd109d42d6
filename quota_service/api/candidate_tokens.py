"""Candidate tokens: a frontend gets one for a candidate, whose browser then calls by itself."""

import re
from typing import Annotated, Final, NotRequired

from pydantic import Field, with_config
from typing_extensions import TypedDict

from quota_service.api.context import ApiContext
from quota_service.api.models import (
    STRICT,
    Answer,
    ExamId,
    Id,
    Reader,
    Time,
    parse_object,
    refuse_resident_id,
)
from quota_service.api.tokens import TTL_MAX_S
from quota_service.domain.definition import rfc3339
from quota_service.domain.errors import CandidateTokensOff
from quota_service.http.request import Request
from quota_service.http.response import Response
from quota_service.registration.revoke_tokens import revoke_tokens
from quota_service.schema import EXAM_EXAMPLE, CandidateId, Matching, Reason, Whole, example

TOKEN_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_ID_EXAMPLE = "Zk9xQ2mB7cV4tR1w"
TokenId = Annotated[
    str,
    Field(description="Id of the token, by which it can be revoked."),
    example(_ID_EXAMPLE),
]
_TOKEN_EXAMPLE = "eyJhbGciOiJIUzI1NiIsImtpZCI6IjNmOWEwYzEyIn0.eyJzdWIiOiJjLTEwMDEifQ.Q0VzTGl2"  # noqa: S105


@with_config(STRICT)
class NewCandidateToken(TypedDict):
    """Whom a token is for."""

    exam: Annotated[Id, Field(description="Id of the exam."), example(EXAM_EXAMPLE)]
    candidate: CandidateId
    ttl_s: Annotated[int, Whole(1, TTL_MAX_S, " of seconds"), example(3600)]
    """Seconds after which the token ends."""


class CandidateToken(Answer):
    """A token of a candidate for an exam."""

    token: Annotated[str, example(_TOKEN_EXAMPLE)]
    """For `Authorization: Bearer`, in the place of an API key. A signed JWT; keep it as it is."""
    exam: ExamId
    candidate: CandidateId
    id: TokenId
    expires_at: Time
    """When the token ends."""


@with_config(STRICT)
class TokenRevocation(TypedDict):
    """Whose tokens are to end."""

    exam: Annotated[Id, Field(description="Id of the exam."), example(EXAM_EXAMPLE)]
    candidate: CandidateId
    id: NotRequired[Annotated[str, Matching(TOKEN_ID, "the id of a token"), example(_ID_EXAMPLE)]]
    """Of the only token that is meant; without it all that were issued until now are."""
    reason: NotRequired[Reason]


class RevokedCandidateTokens(Answer):
    """Tokens that are refused from now on."""

    exam: ExamId
    candidate: CandidateId
    id: Annotated[str | None, example(None)]
    """Id of the token; null where all are meant that were issued until `revoked_at`."""
    revoked_at: Time


_NEW: Final = Reader(NewCandidateToken)
_REVOCATION: Final = Reader(TokenRevocation)


def post_candidate_token(context: ApiContext, request: Request) -> Response:
    """POST /v1/candidate-tokens."""
    wanted = _NEW.read(parse_object(request.body))
    key = context.keys.check_exam(wanted["exam"])
    refuse_resident_id(wanted["candidate"])
    if context.tokens.is_empty:
        raise CandidateTokensOff
    exam = context.stores.registry.find(wanted["exam"])
    token, text = context.tokens.write(
        exam.id, wanted["candidate"], key.id, context.stores.clock.estimate_ms(), wanted["ttl_s"]
    )
    answer: CandidateToken = {
        "token": text,
        "exam": token.exam,
        "candidate": token.candidate,
        "id": token.id,
        "expires_at": rfc3339(token.expires_ms),
    }
    return Response.json(answer, 201, (("Cache-Control", "no-store"),))


async def post_revocation(context: ApiContext, request: Request) -> Response:
    """POST /v1/candidate-tokens/revoke."""
    body = _REVOCATION.read(parse_object(request.body))
    context.keys.check_exam(body["exam"])
    refuse_resident_id(body["candidate"])
    context.keys.revoked.check_room()
    revoked = await revoke_tokens(
        context.stores.maintenance,
        body["exam"],
        body["candidate"],
        body.get("id", ""),
        body.get("reason", ""),
    )
    context.keys.revoked.add(revoked)
    answer: RevokedCandidateTokens = {
        "exam": revoked.exam,
        "candidate": revoked.candidate,
        "id": revoked.token or None,
        "revoked_at": rfc3339(revoked.revoked_ms),
    }
    return Response.json(answer)
