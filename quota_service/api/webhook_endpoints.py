"""Webhook endpoints as ops have them: where events are sent to, and what became of that."""

from collections.abc import Sequence
from typing import Annotated, Final, NotRequired

from pydantic import Field, WithJsonSchema, with_config
from typing_extensions import TypedDict

from quota_service.api.acting import REASONED
from quota_service.api.context import ApiContext
from quota_service.api.models import (
    LIST_MAX,
    STRICT,
    Answer,
    Count,
    ExamId,
    NamedReservation,
    Next,
    Reader,
    Time,
    parse_object,
    time_or_none,
)
from quota_service.api.ops import page_asked
from quota_service.api.payments import Instant
from quota_service.domain.definition import rfc3339
from quota_service.domain.event import EventKind
from quota_service.domain.webhook import URL_MAX, DeliveryState, DisabledReason, fault_of_url
from quota_service.http.errors import InvalidRequest
from quota_service.http.request import Request
from quota_service.http.response import Response
from quota_service.ledger.webhook_endpoints import NewEndpoint, StoredDelivery, StoredEndpoint
from quota_service.registration import webhook_endpoints
from quota_service.registration.webhook_endpoints import MadeEndpoint
from quota_service.schema import (
    EXAM_EXAMPLE,
    RESERVATION_EXAMPLE,
    Identifier,
    Meaning,
    OneOf,
    Reason,
    Whole,
    example,
    one_line,
)

ENDPOINT_EXAMPLE: Final = "wh_5d1c07a4e2f9"
KEEP_OLD_S: Final = 86_400
"""How long the secret before signs beside a new one, unless another time is asked for."""
_KEEP_OLD_MAX_S = 7 * 86_400
_DESCRIPTION_MAX = 200
_KINDS = tuple(kind for kind in EventKind if kind is not EventKind.TEST)
_URL_EXAMPLE = "https://portal.example/webhooks"
_DESCRIPTION_EXAMPLE = "the portal of the registration team"
_SECRET_EXAMPLE = "whsec_bm90IGEgc2VjcmV0OiBhbiBleGFtcGxlIG9mIGl0cyBmb3Jt"  # noqa: S105  no secret

_A_NAME_AND_PATH: Final = Field(
    json_schema_extra={
        "pattern": "^https://[a-z]{1,40}([.][a-z]{1,40}){1,4}(:[1-9][0-9]{0,3})?(/[A-Za-z0-9/._~?=&-]*)?$"
    }
)
"""What is taken in any case; other names, ports and public addresses are too."""

EndpointId = Annotated[
    str, Field(description="Id of the webhook endpoint."), example(ENDPOINT_EXAMPLE)
]
_Url = Annotated[str, example(_URL_EXAMPLE)]
_Kind = Annotated[
    str, OneOf(*_KINDS), Field(description="A kind of event."), example(EventKind.CONFIRMED.value)
]
_Exams = Annotated[list[Identifier], Field(min_length=1, max_length=LIST_MAX)]
_Kinds = Annotated[list[_Kind], Field(min_length=1, max_length=len(_KINDS))]


class WebhookEndpoint(Answer):
    """Where events are sent to."""

    id: EndpointId
    url: _Url
    """Where they are posted to."""
    exams: Annotated[Sequence[ExamId] | None, example([EXAM_EXAMPLE])]
    """The exams whose events are sent; null for all, and for what belongs to none."""
    kinds: Annotated[Sequence[_Kind] | None, example([EventKind.CONFIRMED.value])]
    """The kinds that are sent; null for all."""
    description: Annotated[str, example(_DESCRIPTION_EXAMPLE)]
    """What it is, for people."""
    created_at: Time
    """When it was made; it is told of what has happened since."""
    disabled_at: Time | None
    """Since when nothing is sent to it; null while it is enabled."""
    disabled_reason: DisabledReason | None
    """`ops`: they disabled it. `failing`: it took nothing for three days. `gone`: it answered
    410."""
    failing_since: Time | None
    """Since when it has taken nothing that was sent; null while it takes what comes."""
    old_secret_ends_at: Time | None
    """Until when the secret before the newest signs beside it."""
    pending: Annotated[Count, example(3)]
    """Events that it has still to take."""
    given_up: Annotated[Count, example(0)]
    """Events that it refused for three days while it took others; a replay sends them again."""


class WebhookEndpoints(Answer):
    """Every webhook endpoint."""

    webhook_endpoints: Sequence[WebhookEndpoint]
    """The oldest first."""


class WebhookSecret(Answer):
    """A webhook endpoint with its newest secret."""

    webhook_endpoint: WebhookEndpoint
    """The endpoint."""
    secret: Annotated[str, example(_SECRET_EXAMPLE)]
    """The secret that signs, as Standard Webhooks write it; it is shown this once."""


class WebhookDelivery(Answer):
    """What became of an event at an endpoint."""

    event: Annotated[str, example("evt_1729")]
    """Id of the event, which is its `webhook-id`."""
    type: Annotated[str, example(EventKind.CONFIRMED.value)]
    """What has happened; of a test `webhook.test`."""
    at: Time
    """When."""
    exam: Annotated[str | None, WithJsonSchema({"type": ["string", "null"]}), example(EXAM_EXAMPLE)]
    """Id of the exam; null for what belongs to none."""
    reservation: Annotated[NamedReservation | None, example(RESERVATION_EXAMPLE)]
    """Id of the reservation; null for what belongs to none."""
    state: DeliveryState
    """`pending`, `delivered`, or `given-up`: refused for three days while others were taken."""
    attempts: Annotated[Count, example(1)]
    """How often it was tried."""
    next_at: Time | None
    """The earliest next attempt; null once it has ended. Earlier events of its reservation go
    first."""
    last_tried_at: Time | None
    """When it was tried last."""
    last_status: Annotated[int | None, example(204)]
    """The status of the last answer; null where none came."""
    last_error: Annotated[str | None, example(None)]
    """Why the last attempt failed; null where it did not."""


class WebhookDeliveries(Answer):
    """A page of the deliveries to an endpoint."""

    endpoint: EndpointId
    deliveries: Sequence[WebhookDelivery]
    """The newest event first."""
    next: Next


class WebhookReplay(Answer):
    """What is sent again."""

    endpoint: EndpointId
    since: Time
    """Events since then are sent."""
    deliveries: Annotated[Count, example(1204)]
    """How many they are."""


@with_config(STRICT)
class NewWebhookEndpoint(TypedDict):
    """Where events are to be sent to."""

    url: Annotated[
        str,
        Field(strict=True, min_length=1, max_length=URL_MAX),
        Meaning(f"a URL of at most {URL_MAX} characters"),
        _A_NAME_AND_PATH,
        example(_URL_EXAMPLE),
    ]
    """An https URL without a user name and a fragment, whose host has a public address."""
    description: Annotated[str, one_line(_DESCRIPTION_MAX), example(_DESCRIPTION_EXAMPLE)]
    """What it is, for people."""
    reason: Reason
    exams: NotRequired[Annotated[_Exams | None, example([EXAM_EXAMPLE])]]
    """Only events of these exams; all events when omitted or null."""
    kinds: NotRequired[Annotated[_Kinds | None, example([EventKind.CONFIRMED.value])]]
    """Only events of these kinds; all kinds when omitted or null."""


@with_config(STRICT)
class SecretRotation(TypedDict):
    """A new secret for an endpoint."""

    reason: Reason
    keep_old_s: NotRequired[Annotated[Annotated[int, Whole(0, _KEEP_OLD_MAX_S)], example(3600)]]
    """For how many seconds the secret before signs beside the new one; a day when omitted, 0 where
    strangers have it."""


@with_config(STRICT)
class ReplayWanted(TypedDict):
    """From when on events are sent again."""

    since: Annotated[Instant, example("2023-03-14T04:00:00.000Z")]
    """The time of the first event; RFC 3339 with any offset. Events are kept for 30 days."""
    reason: Reason


@with_config(STRICT)
class _Asked(TypedDict):
    state: Annotated[str, OneOf(*DeliveryState)]


NEW_ENDPOINT: Final = Reader(NewWebhookEndpoint)
ROTATION: Final = Reader(SecretRotation)
REPLAY: Final = Reader(ReplayWanted)
_ASKED: Final = Reader(_Asked)


async def post_endpoint(context: ApiContext, request: Request) -> Response:
    """POST /v1/webhook-endpoints."""
    body = NEW_ENDPOINT.read(parse_object(request.body))
    takes_private = context.settings.webhook_private_addresses
    new = new_endpoint(body, takes_private=takes_private)
    stores = context.stores.webhooks
    made = await webhook_endpoints.make_endpoint(stores, new, body["reason"])
    return Response.json(_secret_json(made), 201)


async def get_endpoints(context: ApiContext, _request: Request) -> Response:
    """GET /v1/webhook-endpoints."""
    found = await context.stores.webhooks.endpoints.all()
    answer: WebhookEndpoints = {"webhook_endpoints": [endpoint_json(each) for each in found]}
    return Response.json(answer)


async def get_endpoint(context: ApiContext, request: Request) -> Response:
    """GET /v1/webhook-endpoints/{endpoint}."""
    endpoint = request.params["endpoint"]
    found = await webhook_endpoints.find_endpoint(context.stores.webhooks, endpoint)
    return Response.json(endpoint_json(found))


async def delete_endpoint(context: ApiContext, request: Request) -> Response:
    """DELETE /v1/webhook-endpoints/{endpoint}."""
    reason = REASONED.read(dict(request.read_query()))["reason"]
    stores, endpoint = context.stores.webhooks, request.params["endpoint"]
    deleted = await webhook_endpoints.delete_endpoint(stores, endpoint, reason)
    return Response.json(endpoint_json(deleted))


async def post_rotation(context: ApiContext, request: Request) -> Response:
    """POST /v1/webhook-endpoints/{endpoint}/rotate-secret."""
    body = ROTATION.read(parse_object(request.body))
    made = await webhook_endpoints.rotate_secret(
        context.stores.webhooks,
        request.params["endpoint"],
        body.get("keep_old_s", KEEP_OLD_S),
        body["reason"],
    )
    return Response.json(_secret_json(made))


async def post_enable(context: ApiContext, request: Request) -> Response:
    """POST /v1/webhook-endpoints/{endpoint}/enable."""
    reason = REASONED.read(parse_object(request.body))["reason"]
    stores, endpoint = context.stores.webhooks, request.params["endpoint"]
    enabled = await webhook_endpoints.enable_endpoint(stores, endpoint, reason)
    return Response.json(endpoint_json(enabled))


async def post_disable(context: ApiContext, request: Request) -> Response:
    """POST /v1/webhook-endpoints/{endpoint}/disable."""
    reason = REASONED.read(parse_object(request.body))["reason"]
    stores, endpoint = context.stores.webhooks, request.params["endpoint"]
    disabled = await webhook_endpoints.disable_endpoint(stores, endpoint, reason)
    return Response.json(endpoint_json(disabled))


async def post_test(context: ApiContext, request: Request) -> Response:
    """POST /v1/webhook-endpoints/{endpoint}/test."""
    reason = REASONED.read(parse_object(request.body))["reason"]
    stores, endpoint = context.stores.webhooks, request.params["endpoint"]
    tested = await webhook_endpoints.send_test(stores, endpoint, reason)
    return Response.json(endpoint_json(tested), 202)


async def post_replay(context: ApiContext, request: Request) -> Response:
    """POST /v1/webhook-endpoints/{endpoint}/replay."""
    body = REPLAY.read(parse_object(request.body))
    stores, endpoint = context.stores.webhooks, request.params["endpoint"]
    count = await webhook_endpoints.replay(stores, endpoint, body["since"], body["reason"])
    answer: WebhookReplay = {
        "endpoint": endpoint,
        "since": rfc3339(body["since"]),
        "deliveries": count,
    }
    return Response.json(answer)


async def get_deliveries(context: ApiContext, request: Request) -> Response:
    """GET /v1/webhook-endpoints/{endpoint}/deliveries."""
    before, limit = page_asked(request, "state")
    asked, state = request.read_query().get("state"), None
    if asked is not None:
        state = DeliveryState(_ASKED.read({"state": asked})["state"])
    stores, endpoint = context.stores.webhooks, request.params["endpoint"]
    page = await webhook_endpoints.list_deliveries(stores, endpoint, before, state, limit)
    answer: WebhookDeliveries = {
        "endpoint": endpoint,
        "deliveries": [_delivery_json(each) for each in page],
        "next": str(page[-1].sequence) if len(page) == limit else None,
    }
    return Response.json(answer)


def new_endpoint(body: NewWebhookEndpoint, *, takes_private: bool) -> NewEndpoint:
    """Return the endpoint that a body describes; InvalidRequest for a URL that will not do."""
    fault = fault_of_url(body["url"], takes_private=takes_private)
    if fault is not None:
        raise InvalidRequest([("url", fault)])
    exams, kinds = body.get("exams"), body.get("kinds")
    return NewEndpoint(
        body["url"],
        None if exams is None else sorted(set(exams)),
        None if kinds is None else sorted(set(kinds)),
        body["description"],
    )


def endpoint_json(stored: StoredEndpoint) -> WebhookEndpoint:
    """Return an endpoint as it is answered."""
    wanted = stored.wanted
    return {
        "id": stored.id,
        "url": wanted.url,
        "exams": wanted.exams,
        "kinds": wanted.kinds,
        "description": wanted.description,
        "created_at": rfc3339(stored.created_ms),
        "disabled_at": time_or_none(stored.disabled_ms),
        "disabled_reason": stored.disabled_reason,
        "failing_since": time_or_none(stored.failing_since_ms),
        "old_secret_ends_at": time_or_none(stored.old_secret_ends_ms),
        "pending": stored.pending,
        "given_up": stored.given_up,
    }


def _secret_json(made: MadeEndpoint) -> WebhookSecret:
    return {"webhook_endpoint": endpoint_json(made.endpoint), "secret": made.secret_text}


def _delivery_json(stored: StoredDelivery) -> WebhookDelivery:
    return {
        "event": stored.event,
        "type": stored.kind,
        "at": rfc3339(stored.at_ms),
        "exam": stored.exam,
        "reservation": stored.reservation,
        "state": stored.state,
        "attempts": stored.attempts,
        "next_at": time_or_none(stored.next_ms),
        "last_tried_at": time_or_none(stored.last_tried_ms),
        "last_status": stored.last_status,
        "last_error": stored.last_error,
    }
