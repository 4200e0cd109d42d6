"""Set-asides as ops have them: seats kept for groups, their codes, seats handed out from them."""

import re
from collections.abc import Coroutine, Sequence
from typing import Annotated, Any, Final, NotRequired

from pydantic import ConfigDict, Field, with_config
from pydantic.config import JsonDict
from typing_extensions import TypedDict

from quota_service.api.acting import REASONED, read_ops_order
from quota_service.api.context import ApiContext
from quota_service.api.exams import Text
from quota_service.api.models import (
    STRICT,
    Answer,
    Count,
    ExamId,
    Next,
    Positive,
    Reader,
    SeatCount,
    SubjectId,
    Time,
    VenueId,
    parse_object,
    time_or_none,
)
from quota_service.api.ops import page_asked
from quota_service.api.reservations import idempotency_key, reserved_answer
from quota_service.domain.definition import rfc3339, text_document
from quota_service.domain.set_aside_code import LENGTH_MAX, LENGTH_MIN, WRITTEN_MAX, hash_code
from quota_service.http.errors import InvalidRequest
from quota_service.http.request import Request
from quota_service.http.response import Response
from quota_service.registration import set_asides
from quota_service.registration.set_asides import CodeView, SetAsideView
from quota_service.schema import Identifier, Matching, Reason, Whole, example, one_line
from quota_service.seats.set_asides import KeptSeats

MADE_MAX = 1000
"""Codes that are made in one call."""
GIVEN_MAX = 100
"""Codes or hashes that are given in one call."""
USES_MAX = 1_000_000
NOTE_MAX = 200
CODE_ID = re.compile(r"[0-9a-f]{12}", re.ASCII)
_AS_WRITTEN: Final = Field(
    json_schema_extra={"pattern": f"^([- ]*[0-9A-Za-z]){{{LENGTH_MIN},{LENGTH_MAX}}}[- ]*$"}
)
_HASH = re.compile(r"[0-9a-f]{64}", re.ASCII)

_ONE_WAY: Final[JsonDict] = {"oneOf": [{"required": [way]} for way in ("count", "codes", "hashes")]}
CODE_EXAMPLE: Final = "5d1c07a4e2f9"
SET_ASIDE_EXAMPLE: Final = "teachers"
CodeId = Annotated[
    str,
    Matching(CODE_ID, "the id of a code"),
    Field(description="Id of the code."),
    example(CODE_EXAMPLE),
]
SetAsideId = Annotated[
    Identifier, Field(description="Id of the set-aside."), example(SET_ASIDE_EXAMPLE)
]


class KeptQuota(Answer):
    """The seats of one quota that are kept."""

    venue: VenueId
    subject: SubjectId
    seats: SeatCount
    """Seats that are kept, those that were reserved among them."""
    left: SeatCount
    """Seats that can be reserved; 0 once the set-aside is over."""


class SetAside(Answer):
    """Seats kept for a group."""

    id: SetAsideId
    title: Annotated[Text | None, example({"zh": "教师", "en": "Teachers"})]
    """What it is for; null where the definition does not have it any more."""
    until: Time
    """When what is left of it is given to everybody."""
    over: bool
    """Whether that has happened."""
    quotas: Sequence[KeptQuota]
    """By venue and subject."""


class SetAsides(Answer):
    """The set-asides of an exam."""

    exam: ExamId
    set_asides: Sequence[SetAside]
    """By id, those that are over too."""


class MadeCode(Answer):
    """A code that is stored now."""

    id: CodeId
    code: Annotated[str | None, example("7k3vd-m0q8t-x2fcz-91hrw")]
    """The code, where it was made here: it is shown this once, and stored nowhere. Null for one
    that was given."""


class MadeCodes(Answer):
    """Codes that are stored now."""

    exam: ExamId
    set_aside: SetAsideId
    uses_max: Positive
    """How many reservations each can have at once."""
    codes: Sequence[MadeCode]
    """Those that are new; what was there before stays as it was."""


class Code(Answer):
    """A code, without the code itself."""

    id: CodeId
    uses: Count
    """Live reservations and bookings made with it."""
    uses_max: Positive
    """How many it can have at once."""
    note: Annotated[str, example("letters of 10 March")]
    """What was noted when it was made."""
    made_at: Time
    """When."""
    revoked_at: Time | None
    """When it was revoked."""


class Codes(Answer):
    """A page of the codes of a set-aside."""

    exam: ExamId
    set_aside: SetAsideId
    codes: Sequence[Code]
    """In the order in which they were made."""
    next: Next


@with_config(ConfigDict(**STRICT, json_schema_extra=_ONE_WAY))
class CodeMaking(TypedDict):
    """Codes to be made, or given: one of `count`, `codes` and `hashes`."""

    reason: Reason
    count: NotRequired[Annotated[Annotated[int, Whole(1, MADE_MAX)], example(20)]]
    """So many new codes of 100 random bits."""
    codes: NotRequired[
        Annotated[
            list[Annotated[str, Field(strict=True, max_length=WRITTEN_MAX), _AS_WRITTEN]],
            Field(min_length=1, max_length=GIVEN_MAX),
        ]
    ]
    """Codes that were made elsewhere, of 16 to 64 letters and digits: random ones."""
    hashes: NotRequired[
        Annotated[
            list[Annotated[str, Matching(_HASH, "64 of 0-9 and a-f")]],
            Field(min_length=1, max_length=GIVEN_MAX),
        ]
    ]
    """The same, as hex of SHA-256 over the exam's id, a zero byte and the code: in lower case,
    without hyphens and blanks, 1 for i and l, 0 for o."""
    uses_max: NotRequired[Annotated[Annotated[int, Whole(1, USES_MAX)], example(1)]]
    """How many reservations each code can have at once; 1 when omitted."""
    note: NotRequired[Annotated[Annotated[str, one_line(NOTE_MAX)], example("letters of 10 March")]]
    """For those who look at the list."""


CODE_MAKING: Final = Reader(CodeMaking)


async def get_set_asides(context: ApiContext, request: Request) -> Response:
    """GET /v1/exams/{exam}/set-asides."""
    exam = request.params["exam"]
    found = await set_asides.view_set_asides(context.stores, exam)
    answer: SetAsides = {"exam": exam, "set_asides": [_set_aside_json(each) for each in found]}
    return Response.json(answer)


async def post_codes(context: ApiContext, request: Request) -> Response:
    """POST /v1/exams/{exam}/set-asides/{set_aside}/codes."""
    exam, set_aside = request.params["exam"], request.params["set_aside"]
    body = CODE_MAKING.read(parse_object(request.body))
    uses_max = body.get("uses_max", 1)
    made = await set_asides.make_codes(
        context.stores,
        exam,
        set_aside,
        wanted_codes(exam, body),
        uses_max,
        body.get("note", ""),
        body["reason"],
    )
    answer: MadeCodes = {
        "exam": exam,
        "set_aside": set_aside,
        "uses_max": uses_max,
        "codes": [{"id": each.id, "code": each.code} for each in made],
    }
    return Response.json(answer, 201)


async def get_codes(context: ApiContext, request: Request) -> Response:
    """GET /v1/exams/{exam}/set-asides/{set_aside}/codes."""
    after, limit = page_asked(request)
    exam, set_aside = request.params["exam"], request.params["set_aside"]
    page = await set_asides.list_codes(context.stores, exam, set_aside, after, limit)
    answer: Codes = {
        "exam": exam,
        "set_aside": set_aside,
        "codes": [_code_json(each) for each in page],
        "next": str(page[-1].code.number) if len(page) == limit else None,
    }
    return Response.json(answer)


async def post_revoke(context: ApiContext, request: Request) -> Response:
    """POST /v1/exams/{exam}/set-asides/{set_aside}/codes/{code}/revoke."""
    reason = REASONED.read(parse_object(request.body))["reason"]
    params = request.params
    revoked = await set_asides.revoke_code(
        context.stores, params["exam"], params["set_aside"], params["code"], reason
    )
    return Response.json(_code_json(revoked))


def post_hand_out(context: ApiContext, request: Request) -> Coroutine[Any, Any, Response]:
    """POST /v1/exams/{exam}/set-asides/{set_aside}/hand-out."""
    key = idempotency_key(request.headers)
    document = parse_object(request.body)
    order = read_ops_order(document)
    request.candidate = order.candidate

    async def run() -> Response:
        stores, params = context.stores.reservations, request.params
        found = await set_asides.hand_out(
            stores, params["exam"], params["set_aside"], order, key, document["reason"]
        )
        return reserved_answer(found)

    return run()


def wanted_codes(exam: str, body: CodeMaking) -> int | list[bytes]:
    """Return how many codes are to be made, or the hashes of those that are given.

    Raises InvalidRequest for none and for several of the three, and for codes that cannot be ones.
    """
    ways = [way for way in ("count", "codes", "hashes") if way in body]
    if len(ways) != 1:
        raise InvalidRequest([("count", "give one of count, codes and hashes")])
    if "count" in body:
        return body["count"]
    if "hashes" in body:
        return [bytes.fromhex(text) for text in body["hashes"]]
    hashes = [hash_code(exam, code) for code in body["codes"]]
    wrong = f"must have {LENGTH_MIN} to {LENGTH_MAX} letters and digits"
    if None in hashes:
        raise InvalidRequest(
            [(f"codes[{i}]", wrong) for i, hashed in enumerate(hashes) if hashed is None]
        )
    return [hashed for hashed in hashes if hashed is not None]


def _set_aside_json(each: SetAsideView) -> SetAside:
    none = KeptSeats(0, 0)
    return {
        "id": each.id,
        "title": None if each.title is None else text_document(each.title),
        "until": rfc3339(each.until_ms),
        "over": each.is_over,
        "quotas": [
            {
                "venue": quota.venue,
                "subject": quota.subject,
                "seats": seats,
                "left": each.left.get(quota, none).left,
            }
            for quota, seats in sorted(each.seats.items())
        ],
    }


def _code_json(each: CodeView) -> Code:
    code = each.code
    return {
        "id": code.id,
        "uses": each.uses,
        "uses_max": code.uses_max,
        "note": code.note,
        "made_at": rfc3339(code.made_ms),
        "revoked_at": time_or_none(code.revoked_ms),
    }
