"""The waiting list as ops have it: look, cap, pause its dealing, suspend joining."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Annotated, Final

from pydantic import with_config
from typing_extensions import TypedDict

from quota_service.api.context import ApiContext
from quota_service.api.models import (
    STRICT,
    Answer,
    Count,
    ExamId,
    Next,
    Positive,
    Reader,
    ReservationId,
    SubjectId,
    Time,
    VenueId,
    parse_object,
    refuse_bad_candidate,
    time_or_none,
)
from quota_service.api.ops import page_asked
from quota_service.api.waiting_list import WaitingListEntry, entry_json
from quota_service.domain.exam import MAX_CAPACITY, ListOrder
from quota_service.http.errors import InvalidRequest
from quota_service.http.request import Request
from quota_service.http.response import Response
from quota_service.registration import list_admin
from quota_service.registration.list_admin import AdministeredList
from quota_service.registration.stores import WaitingListStores
from quota_service.schema import Reason, Whole, example
from quota_service.waiting_list.entry import Entry, EntryState


class OfferedEntry(WaitingListEntry):
    """A place in the waiting list with its last offer, as Postgres has it."""

    reservation: ReservationId | None
    """The reservation of the last offer."""
    offers: Count
    """How many offers there were."""
    ended_at: Time | None
    """When it ended."""


class QuotaLength(Answer):
    """How many entries wait for a quota."""

    venue: VenueId
    subject: SubjectId
    waiting: Positive


class WaitingList(Answer):
    """The waiting list of an exam, as ops see it."""

    exam: ExamId
    paused: bool
    """Whether no seats are offered."""
    suspended: bool
    """Whether nobody can join."""
    order: ListOrder
    """`number`: as entries joined. `draw`: drawn among those who joined between two dealings."""
    length_max: Annotated[Positive, example(10_000)]
    """Entries that may wait for one quota."""
    last_number: Annotated[Count, example(4711)]
    """The number given last."""
    states: Annotated[Mapping[str, Count], example({"waiting": 4200, "served": 380})]
    """How many entries are in each state that any is in."""
    quotas: Sequence[QuotaLength]
    """How many wait for each quota that any wait for, by venue and subject."""


class WaitingListPage(WaitingList):
    """The waiting list of an exam and a page of its entries."""

    entries: Sequence[OfferedEntry]
    """By number. States are as Postgres has them: an offer that has just ended may still be
    `offered`."""
    next: Next


@with_config(STRICT)
class ListReason(TypedDict):
    """Why."""

    reason: Reason


@with_config(STRICT)
class ListLength(TypedDict):
    """How long the waiting list may be, and why."""

    reason: Reason
    length_max: Annotated[Annotated[int, Whole(1, MAX_CAPACITY)] | None, example(5000)]
    """Entries that may wait for one quota; null: as many as the definition says."""


REASON: Final = Reader(ListReason)
LENGTH: Final = Reader(ListLength)
_PARAMETERS: Final = ("state", "candidate")
_Act = Callable[[WaitingListStores, str, str], Awaitable[AdministeredList]]


async def get_waiting_list(context: ApiContext, request: Request) -> Response:
    """GET /v1/exams/{exam}/waiting-list."""
    after, limit = page_asked(request, *_PARAMETERS)
    states, candidate = _sought(request)
    stores, exam = context.stores.waiting_list, request.params["exam"]
    administered = await list_admin.show(stores, exam)
    page = await list_admin.page(stores, exam, after, limit, states, candidate)
    answer: WaitingListPage = {
        **_list_json(administered),
        "entries": [_offered_json(entry) for entry in page],
        "next": str(page[-1].number) if len(page) == limit else None,
    }
    return Response.json(answer)


async def put_waiting_list(context: ApiContext, request: Request) -> Response:
    """PUT /v1/exams/{exam}/waiting-list."""
    body = LENGTH.read(parse_object(request.body))
    stores, exam = context.stores.waiting_list, request.params["exam"]
    administered = await list_admin.set_length(stores, exam, body["length_max"], body["reason"])
    return Response.json(_list_json(administered))


async def post_pause(context: ApiContext, request: Request) -> Response:
    """POST /v1/exams/{exam}/waiting-list/pause."""
    return await _administer(context, request, list_admin.pause)


async def post_resume(context: ApiContext, request: Request) -> Response:
    """POST /v1/exams/{exam}/waiting-list/resume."""
    return await _administer(context, request, list_admin.resume)


async def post_suspend(context: ApiContext, request: Request) -> Response:
    """POST /v1/exams/{exam}/waiting-list/suspend."""
    return await _administer(context, request, list_admin.suspend)


async def post_reopen(context: ApiContext, request: Request) -> Response:
    """POST /v1/exams/{exam}/waiting-list/reopen."""
    return await _administer(context, request, list_admin.reopen)


async def _administer(context: ApiContext, request: Request, act: _Act) -> Response:
    reason = REASON.read(parse_object(request.body))["reason"]
    administered = await act(context.stores.waiting_list, request.params["exam"], reason)
    return Response.json(_list_json(administered))


def _sought(request: Request) -> tuple[list[EntryState] | None, str | None]:
    """Return the states and the candidate that entries are sought by; None for any."""
    query = request.read_query()
    state, candidate = query.get("state"), query.get("candidate")
    if candidate is not None:
        refuse_bad_candidate(candidate)
        request.candidate = candidate
    if state is None:
        return None, candidate
    if state not in set(EntryState):
        raise InvalidRequest([("state", f"must be one of {', '.join(EntryState)}")])
    return [EntryState(state)], candidate


def _offered_json(entry: Entry) -> OfferedEntry:
    return {
        **entry_json(entry),
        "reservation": entry.reservation,
        "offers": entry.offers,
        "ended_at": time_or_none(entry.ended_ms),
    }


def _list_json(administered: AdministeredList) -> WaitingList:
    status, counts = administered.status, administered.counts
    return {
        "exam": status.exam,
        "paused": status.is_paused,
        "suspended": status.is_suspended,
        "order": administered.rules.order,
        "length_max": administered.length_max,
        "last_number": status.last_number,
        "states": {state.value: count for state, count in counts.by_state.items()},
        "quotas": [
            {"venue": quota.venue, "subject": quota.subject, "waiting": waiting}
            for quota, waiting in counts.waiting_for.items()
        ],
    }
