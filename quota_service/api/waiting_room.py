"""The waiting room: join, look, claim, finish; and how ops administer it."""

import hashlib
import logging
from collections.abc import Coroutine, Sequence
from dataclasses import asdict
from typing import Annotated, Any, Final, Literal, cast

from pydantic import Field, WithJsonSchema, with_config
from typing_extensions import TypedDict

from quota_service.api.context import ApiContext
from quota_service.api.draw_documents import DrawMembers, draw_members
from quota_service.api.models import (
    STRICT,
    Answer,
    Count,
    ExamId,
    Positive,
    Rank,
    Reader,
    Seconds,
    Time,
    parse_object,
    reason_given,
    refuse_bad_candidate,
    refuse_members,
    refuse_resident_id,
)
from quota_service.definitions.fields import MAX_RATE_PER_S, MIN_RATE_PER_S
from quota_service.domain.definition import rfc3339
from quota_service.http.etags import not_modified
from quota_service.http.request import Request
from quota_service.http.response import Response
from quota_service.registration import room_admin
from quota_service.registration.waiting_room import claim, finish, join
from quota_service.schema import TICKET_EXAMPLE, CandidateId, Meaning, Number, example
from quota_service.waiting_room.document import PublicDocument
from quota_service.waiting_room.signals import Report
from quota_service.waiting_room.signing import SIGNED_MAX
from quota_service.waiting_room.status import Phase

log = logging.getLogger(__name__)

TICKET_MAX = SIGNED_MAX
"""Characters of a ticket; ours have fewer."""

_SEED = "5c" * 32
_COMMITMENT = hashlib.sha256(bytes.fromhex(_SEED)).hexdigest()

PollAfter = Annotated[
    float,
    example(13.4),
    Field(
        ge=0,
        description="Seconds after which to ask again; it grows with the wait, and varies. Where "
        "all get the same value, each client adds jitter of its own (up to half, up or down), so "
        "that they do not return at once.",
    ),
]
Milliseconds = Annotated[float, Field(ge=0)]


@with_config(STRICT)
class Joining(TypedDict):
    """The candidate who joins a waiting room."""

    candidate: CandidateId


@with_config(STRICT)
class Claim(TypedDict):
    """A ticket at its turn."""

    candidate: CandidateId
    ticket: Annotated[
        str,
        Field(strict=True, max_length=TICKET_MAX),
        Meaning(f"a ticket of at most {TICKET_MAX} characters"),
        WithJsonSchema({"type": "string", "pattern": f"^[A-Za-z0-9._-]{{1,{TICKET_MAX}}}$"}),
        example(TICKET_EXAMPLE),
    ]
    """The ticket that joining the waiting room gave the candidate."""


@with_config(STRICT)
class AdmissionRate(TypedDict):
    """The rate at which the waiting room admits candidates."""

    rate: Annotated[
        Annotated[float, Number(MIN_RATE_PER_S, MAX_RATE_PER_S)] | None,
        Meaning(f"a number from {MIN_RATE_PER_S} to {MAX_RATE_PER_S}, or null"),
        example(35),
    ]
    """Candidates per second; null: the rate adapts to the load."""


class RoomMembers(Answer):
    """The members of a waiting room that the public and ops see."""

    exam: ExamId
    phase: Annotated[Phase, example(Phase.DRAW)]
    """`before`: no candidate is admitted; those who join take part in the draw, or get a number
    when an opening was postponed after it had come. `draw`: the draw is admitted, by rank; those
    who join get a number. `queue`: numbers are admitted. `closed`: registration is over."""
    paused: bool
    """Whether ops have paused admission, or the exam as a whole."""
    threshold: Rank
    """Ranks up to this have had their turn."""
    late_threshold: Annotated[Rank, example("0" * 64)]
    """Ranks up to this can be claimed no more."""
    serving: Count
    """Numbers up to this have had their turn."""
    late_through: Count
    """Numbers up to this can be claimed no more."""
    waiting: Annotated[Count, example(7058)]
    """Candidates who wait for their turn, estimated."""
    waiting_in_draw: Annotated[Count, example(6120)]
    """Those of them who are in the draw, and so come before every number."""
    poll_after: PollAfter
    poll_after_max: Annotated[Seconds, example(15.0)]
    """The longest time between two polls of a client, in seconds."""
    seed_commitment: Annotated[Rank, example(_COMMITMENT)]
    """SHA-256 of the seed, known from the start."""
    seed: Annotated[Rank | None, example(_SEED)]
    """The seed of the draw; null before the opening, or, with a source, until that is known."""
    opens_at: Annotated[Time, example("2023-03-14T04:00:00.000Z")]
    """When registration opens; the first opening to come closes the draw."""
    claim_grace_s: Annotated[Positive, example(300)]
    """Seconds after a turn came in which it can be claimed."""
    server_time: Time
    """The time of this answer."""


class WaitingRoom(RoomMembers, DrawMembers):
    """The public state of a waiting room: the same for all clients, renewed each second.

    A ticket for the draw has its turn when its rank is not above `threshold`, and a number when it
    is not above `serving`.
    """

    rate: Annotated[Seconds, example(20.0)]
    """Candidates admitted per second, smoothed."""


class Ticket(Answer):
    """A candidate's place in the order."""

    exam: ExamId
    candidate: CandidateId
    kind: Literal["draw", "number"]
    """In the draw, or with a number."""
    ticket: Annotated[str, example(TICKET_EXAMPLE)]
    """A signed text; keep it as it is."""
    number: Positive | None
    """The number; null in the draw."""
    rank: Rank | None
    """Null: the rank of a ticket for the draw is HMAC-SHA256, with the bytes of the seed as its
    key, of exam id and candidate id put together. With a source the key is the seed and the
    randomness, with a zero byte between the ids."""
    poll_after: PollAfter
    eta_s: Seconds | None
    """Seconds until the turn, estimated; null in the draw."""
    issued_at: Time
    """When it was answered."""


_Granted = TypedDict(
    "_Granted",
    {
        "pass": Annotated[
            str,
            Field(description="For Waiting-Room-Pass. A signed text; keep it as it is."),
            example(TICKET_EXAMPLE),
        ]
    },
)


class Pass(Answer, _Granted):
    """The pass with which a candidate reserves."""

    candidate: CandidateId
    exam: ExamId
    expires_at: Time
    """When the pass ends; where the opening is postponed before that, `pass_ttl_s` after the new
    one."""
    idle_s: Annotated[Positive, example(300)]
    """Seconds without a reservation after which it ends earlier."""


class Finished(Answer):
    """A candidate without a place."""

    exam: ExamId
    candidate: CandidateId
    state: Literal["finished"]
    """The state of the candidate."""


class Measures(Answer):
    """Measurements of the process over the last seconds."""

    requests: Count
    """Reservations and payment callbacks answered."""
    failures: Count
    """Those of them that were answered 5xx."""
    reserve_p99_ms: Milliseconds | None
    """p99 of the time to answer a reservation, in ms; null when nothing was measured."""
    redis_p99_ms: Milliseconds | None
    """p99 of the time for Redis to answer, in ms; null when nothing was measured."""
    pool_wait_p99_ms: Milliseconds | None
    """p99 of the wait for a connection to Postgres, in ms; null when nothing was measured."""
    backlog: Count
    """Payments that wait for a transaction."""


class LoadReport(Answer):
    """The last load report of one process."""

    process: Annotated[str, example("4be1c90d27aa35f8")]
    """Names the process until it ends."""
    age_s: Annotated[Seconds, example(0.412)]
    """Seconds since it reported."""
    measures: Annotated[
        Measures | None,
        example(
            {
                "requests": 1240,
                "failures": 0,
                "reserve_p99_ms": 8.7,
                "redis_p99_ms": 2.1,
                "pool_wait_p99_ms": 0.5,
                "backlog": 12,
            }
        ),
    ]
    """Null when a process of another version sent a report that this one cannot read."""


class SteeredRoom(RoomMembers, DrawMembers):
    """A waiting room as ops see it: the public document, and the inputs of admission."""

    rate: Annotated[Seconds, example(35.0)]
    """Candidates let in a second now, not smoothed."""
    fixed_rate: Annotated[Seconds | None, example(35.0)]
    """The rate that was set; null: it adapts."""
    places: Annotated[Count | None, example(812)]
    """Candidates with a place; null while Redis cannot be asked."""
    leader_epoch: Count
    """How often the leader of admission has changed."""
    signals: Sequence[LoadReport]
    """Load reports of the processes; without any, no candidate is admitted."""


_JOINING: Final = Reader(Joining)
_CLAIM: Final = Reader(Claim)
_RATE: Final = Reader(AdmissionRate)


def post_waiting_room(context: ApiContext, request: Request) -> Coroutine[Any, Any, Response]:
    """POST /v1/exams/{exam}/waiting-room."""
    candidate = _JOINING.read(parse_object(request.body))["candidate"]
    refuse_resident_id(candidate)
    request.candidate = candidate

    async def run() -> Response:
        found = await join(context.stores.waiting_room, request.params["exam"], candidate)
        ticket = found.ticket
        answer: Ticket = {
            "exam": ticket.exam,
            "candidate": ticket.candidate,
            "kind": "draw" if ticket.is_for_draw else "number",
            "ticket": found.text,
            "number": None if ticket.is_for_draw else ticket.place,
            "rank": None,  # for everybody to compute from the revealed seed
            "poll_after": found.poll_after_s,
            "eta_s": None if found.eta_s is None else round(found.eta_s, 1),
            "issued_at": rfc3339(found.issued_ms),
        }
        return Response.json(answer, 201)

    return run()


def get_waiting_room(context: ApiContext, request: Request) -> Response:
    """GET /v1/exams/{exam}/waiting-room: from memory, the same bytes for everybody."""
    exam = request.params["exam"]
    shown = context.stores.waiting_room.rooms.current(exam)
    rendered = context.rendered_rooms.document(exam, shown.document, _room_json)
    headers = (("ETag", rendered.etag), ("Cache-Control", "public, max-age=1"))
    return not_modified(request, headers) or Response(rendered.body, 200, headers)


def post_claim(context: ApiContext, request: Request) -> Coroutine[Any, Any, Response]:
    """POST /v1/exams/{exam}/waiting-room/claims."""
    asked = _CLAIM.read(parse_object(request.body))
    refuse_resident_id(asked["candidate"])
    request.candidate = asked["candidate"]

    async def run() -> Response:
        exam = request.params["exam"]
        found = await claim(context.stores.waiting_room, exam, asked["candidate"], asked["ticket"])
        answer: Pass = {
            "pass": found.text,
            "candidate": found.granted.candidate,
            "exam": found.granted.exam,
            "expires_at": rfc3339(found.granted.expires_ms),
            "idle_s": found.idle_s,
        }
        return Response.json(answer, 200 if found.replayed else 201)

    return run()


async def delete_claim(context: ApiContext, request: Request) -> Response:
    """DELETE /v1/exams/{exam}/waiting-room/claims/{candidate}."""
    exam, candidate = request.params["exam"], request.params["candidate"]
    refuse_bad_candidate(candidate)
    request.candidate = candidate
    await finish(context.stores.waiting_room, exam, candidate)
    answer: Finished = {"exam": exam, "candidate": candidate, "state": "finished"}
    return Response.json(answer)


async def put_waiting_room(context: ApiContext, request: Request) -> Response:
    """PUT /v1/exams/{exam}/waiting-room."""
    rate, reason = _RATE.read(parse_object(request.body))["rate"], reason_given(request)
    exam, stores = request.params["exam"], context.stores.waiting_room
    return administered(await room_admin.set_rate(stores, exam, rate, reason))


async def post_pause(context: ApiContext, request: Request) -> Response:
    """POST /v1/exams/{exam}/waiting-room/pause."""
    refuse_members(request.body)
    exam, stores = request.params["exam"], context.stores.waiting_room
    return administered(await room_admin.pause(stores, exam, reason_given(request)))


async def post_resume(context: ApiContext, request: Request) -> Response:
    """POST /v1/exams/{exam}/waiting-room/resume."""
    refuse_members(request.body)
    exam, stores = request.params["exam"], context.stores.waiting_room
    return administered(await room_admin.resume(stores, exam, reason_given(request)))


def administered(administered: room_admin.AdministeredRoom) -> Response:
    """Return the answer with a waiting room, and log which key asked."""
    room = administered.room
    log.info(
        "a waiting room was administered",
        extra={
            "exam": room.exam,
            "paused": room.is_paused,
            "fixed_rate": room.fixed_rate,
        },
    )
    statistics = administered.statistics
    answer: SteeredRoom = {
        **_room_json(administered.document),
        "rate": room.rate if room.fixed_rate is None else room.fixed_rate,
        "fixed_rate": room.fixed_rate,
        "places": None if statistics is None else statistics.places,
        "leader_epoch": room.leader_epoch,
        "signals": [report_json(each) for each in statistics.reports] if statistics else [],
    }
    return Response.json(answer)


def _room_json(document: PublicDocument) -> WaitingRoom:
    """Return the public document of a waiting room."""
    return {
        "exam": document.exam,
        "phase": document.phase,
        "paused": document.is_paused,
        "threshold": document.threshold,
        "late_threshold": document.late_threshold,
        "serving": document.serving,
        "late_through": document.late_through,
        "rate": document.rate_per_s,
        "waiting": document.waiting,
        "waiting_in_draw": document.waiting_in_draw,
        "poll_after": document.poll_after_s,
        "poll_after_max": document.poll_after_max_s,
        "seed_commitment": document.seed_commitment,
        "seed": document.seed,
        **draw_members(document.draw),
        "opens_at": rfc3339(document.opens_at_ms),
        "claim_grace_s": document.claim_grace_s,
        "server_time": rfc3339(document.server_time_ms),
    }


def report_json(report: Report) -> LoadReport:
    """Return the last load report of a process."""
    signals = report.signals
    measures = None if signals is None else cast("Measures", asdict(signals))
    return {"process": report.process, "age_s": report.age_s, "measures": measures}
