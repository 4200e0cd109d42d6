"""Request bodies: the model of each, which is also its schema in the OpenAPI document.

JSON is strict, members are known ones, and everything that is wrong is named at once. The models
are typed dicts, because orders and payments come by the thousand a second and an instance of a
class takes as long to make as its members take to check.
"""

import hashlib
import re
import sys
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final, Generic, NotRequired, TypeVar

import orjson
from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
    with_config,
)
from pydantic.config import JsonDict
from typing_extensions import TypedDict

from quota_service.api.errors import (
    InvalidRequest,
    MalformedJson,
    NationalIdRefused,
    PayloadTooLarge,
)
from quota_service.api.times import parse_rfc3339
from quota_service.definitions.fields import MAX_RATE_PER_S, MIN_RATE_PER_S
from quota_service.domain.candidate import is_resident_id
from quota_service.domain.payment import OUTCOMES_WITHOUT_CAPTURE, PaymentEvent, PaymentStatus
from quota_service.observability.logs import REQUEST_ID
from quota_service.registration.reserve import Order
from quota_service.schema import (
    CLOCK_PATTERN,
    DATE_PATTERN,
    OFFSET_PATTERN,
    CandidateId,
    Currency,
    Fault,
    Matching,
    Meaning,
    Number,
    Whole,
    faults,
    wrong,
)
from quota_service.waiting_room.signing import SIGNED_MAX

LIST_MAX = 32
"""Subjects or venues of one order."""
ID_MAX = 64
"""Characters of an id that is looked up."""
TICKET_MAX = SIGNED_MAX
"""Characters of a ticket; ours have fewer."""
TEXT_MAX = 255
"""Characters of a reference the provider chooses."""
AMOUNT_MAX = 10**12
"""Minor units of one payment."""

_CONTENT = ("reservation", "status", "amount", "currency", "paid_at", "provider_reference")
"""What is the same in a payment event that is sent again."""
_WITHOUT_CAPTURE = [status.value for status in OUTCOMES_WITHOUT_CAPTURE]
_PAID_AT = "must be an RFC 3339 time with an offset, such as 2023-03-14T04:00:00Z, from 1970 on"
_Body = TypeVar("_Body")
_STRICT: Final = ConfigDict(extra="forbid", use_attribute_docstrings=True)


def _paid_at_ms(value: Any) -> int:
    time_ms = parse_rfc3339(value) if isinstance(value, str) else None
    if time_ms is None:
        raise wrong(_PAID_AT)
    return time_ms


Id = Annotated[
    str,
    Field(strict=True, min_length=1, max_length=ID_MAX),
    Meaning(f"an id of 1 to {ID_MAX} characters"),
]
"""An id that is looked up; one of another form is unknown."""
Ids = Annotated[
    list[Id],
    Field(
        strict=True,
        min_length=1,
        max_length=LIST_MAX,
        json_schema_extra={"uniqueItems": True},
    ),
]
"""Ids that must differ, see `_duplicates`."""
Reference = Annotated[
    str,
    Matching(
        re.compile(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029]+"),
        f"1 to {TEXT_MAX} characters, none of them a control character",
        TEXT_MAX,
    ),
]
"""A text the provider chooses: anything but control characters and what breaks lines."""
PaidAt = Annotated[
    int,
    BeforeValidator(_paid_at_ms),
    WithJsonSchema(
        {
            "type": "string",
            "format": "date-time",
            "pattern": f"^{DATE_PATTERN}[Tt]{CLOCK_PATTERN}{OFFSET_PATTERN}$",
        }
    ),
]
"""A time in milliseconds since the epoch, from RFC 3339 with any offset."""


@with_config(_STRICT)
class OrderBody(TypedDict):
    """What a candidate asks for: all subjects at one venue, or nothing."""

    candidate: CandidateId
    subjects: Ids
    """Ids of subjects, each in a session of its own."""
    venues: Ids
    """Ids of venues in order of choice; the first with every subject wins."""
    accepted_notice: NotRequired[
        Annotated[
            Annotated[str, Field(strict=True, max_length=ID_MAX)]
            | Annotated[bool, Field(strict=True)]
            | None,
            Meaning("the version of the notice that was accepted, or true"),
        ]
    ]
    """Version of the notice the candidate accepted, or true for the one in force. Anything else is
    refused as `notice-not-accepted`."""


@with_config(_STRICT)
class Joining(TypedDict):
    """Who joins a waiting room."""

    candidate: CandidateId


@with_config(_STRICT)
class Claim(TypedDict):
    """A ticket whose turn has come."""

    candidate: CandidateId
    ticket: Annotated[
        str,
        Field(strict=True, max_length=TICKET_MAX),
        Meaning(f"a ticket of at most {TICKET_MAX} characters"),
        WithJsonSchema({"type": "string", "pattern": f"^[A-Za-z0-9._-]{{1,{TICKET_MAX}}}$"}),
    ]
    """The ticket that joining the waiting room gave the candidate."""


@with_config(_STRICT)
class VenueChange(TypedDict):
    """Where a reservation is to go."""

    venue: Id
    """Id of the venue."""


@with_config(_STRICT)
class AdmissionRate(TypedDict):
    """How fast the waiting room lets candidates in."""

    rate: Annotated[
        Annotated[float, Number(MIN_RATE_PER_S, MAX_RATE_PER_S)] | None,
        Meaning(f"a number from {MIN_RATE_PER_S} to {MAX_RATE_PER_S}, or null"),
    ]
    """Candidates a second; null: as many as the service bears."""


@with_config(_STRICT)
class Nothing(TypedDict):
    """This call takes no members."""


_IF_CAPTURED: Final[JsonDict] = {
    "if": {"properties": {"status": {"const": PaymentStatus.CAPTURED.value}}},
    "then": {"required": ["paid_at"], "properties": {"paid_at": {"type": "string"}}},
}


@with_config(ConfigDict(use_attribute_docstrings=True, json_schema_extra=_IF_CAPTURED))
class PaymentCallback(TypedDict):
    """What happened to a payment."""

    reservation: Reference
    """Id of the reservation that was paid for; one that is unknown ends as `refund_due`. No control
    characters or line separators."""
    status: Annotated[PaymentStatus, Meaning(f"one of {', '.join(PaymentStatus)}")]
    """What happened to the money."""
    amount: Annotated[int, Whole(0, AMOUNT_MAX, " of minor units")]
    """In minor units, written without a fraction."""
    currency: Currency
    paid_at: NotRequired[PaidAt | None]
    """When it was paid: RFC 3339 with any offset, from the year 1970 on. Only a captured payment
    has to say; others may say null."""
    provider_reference: Reference
    """The provider's own reference of the payment. No control characters or line separators."""


class Reader(Generic[_Body]):
    """Reads bodies by a model; `check` finds what the model cannot say, in any document."""

    def __init__(
        self,
        model: type[_Body],
        check: Callable[[Mapping[str, Any]], list[Fault]] = lambda _: [],
        *,
        is_open: bool = False,
    ) -> None:
        self._validate = TypeAdapter(model).validator.validate_python
        self._members = list(model.__annotations__)
        self._members_max = sys.maxsize if is_open else len(self._members)
        self._check = check

    def read(self, document: Mapping[str, Any]) -> _Body:
        """Return the body by the model; InvalidRequest with all that is wrong, by `check` too."""
        if len(document) > self._members_max:
            raise self.refusal(document)
        try:
            body: _Body = self._validate(document)
        except ValidationError as error:
            raise self.refusal(document) from error
        return body

    def refusal(self, document: Mapping[str, Any]) -> InvalidRequest:
        """Return the error with each fault by its field, such as `subjects[1]`, in order.

        Unknown members, of which a body can have many, are told from the names alone.
        """
        found = self._check(document)
        try:
            self._validate({name: document[name] for name in self._members if name in document})
        except ValidationError as error:
            found = [*faults(error), *found]
        found.sort(key=lambda fault: (self._members.index(str(fault.place[0])), *fault.place[1:]))
        wrong = []
        for fault in found:
            member, *positions = fault.place
            wrong.append((f"{member}{''.join(f'[{each}]' for each in positions)}", fault.detail))
        if self._members_max < sys.maxsize:
            unknown = (name for name in document if name not in self._members)
            wrong += [(name[:ID_MAX], "is not a member this request has") for name in unknown]
        return InvalidRequest(wrong)


def _duplicates(document: Mapping[str, Any]) -> list[Fault]:
    """Return the ids of an order that its lists have already."""
    found = []
    for member in ("subjects", "venues"):
        ids = document.get(member)
        if isinstance(ids, list) and 1 < len(ids) <= LIST_MAX:
            texts = [value for value in ids if isinstance(value, str)]
            if len(set(texts)) < len(texts):
                found += [
                    Fault((member, i), "is duplicated")
                    for i, value in enumerate(ids)
                    if isinstance(value, str) and value in ids[:i]
                ]
    return found


def _undated(document: Mapping[str, Any]) -> list[Fault]:
    """Return that a captured payment, or one of no known status, does not say when it was paid."""
    if document.get("paid_at") is not None or document.get("status") in _WITHOUT_CAPTURE:
        return []
    return [Fault(("paid_at",), _PAID_AT if "paid_at" in document else "is missing")]


_ORDER: Final = Reader(OrderBody, _duplicates)
_JOINING: Final = Reader(Joining)
_CLAIM: Final = Reader(Claim)
_VENUE_CHANGE: Final = Reader(VenueChange)
_RATE: Final = Reader(AdmissionRate)
_NOTHING: Final = Reader(Nothing)
_CALLBACK: Final = Reader(PaymentCallback, _undated, is_open=True)

REQUESTS: Mapping[str, Any] = {
    "Joining": Joining,
    "Claim": Claim,
    "AdmissionRate": AdmissionRate,
    "VenueChange": VenueChange,
    "Order": OrderBody,
    "PaymentCallback": PaymentCallback,
    "Nothing": Nothing,
}
"""The models of request bodies by the name of their schema."""


def within(body: bytes, max_bytes: int) -> bytes:
    """Return a body that is within the limit; PayloadTooLarge otherwise."""
    if len(body) > max_bytes:
        raise PayloadTooLarge(max_bytes)
    return body


def parse_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object in a body; MalformedJson, or InvalidRequest for other JSON."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise MalformedJson(f"the body is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise InvalidRequest([("body", "must be a JSON object")])
    return document


def refuse_members(body: bytes) -> None:
    """Refuse a body that says anything: the call has nothing to be told."""
    if body.strip():
        _NOTHING.read(parse_object(body))


def parse_order(body: bytes) -> Order:
    """Return the order in a reservation's body."""
    document = parse_object(body)
    order = _ORDER.read(document)
    candidate, subjects, venues = order["candidate"], order["subjects"], order["venues"]
    # Most orders have no id in both lists, and are known by one look to have none twice.
    if len({*subjects, *venues}) < len(subjects) + len(venues) and _duplicates(document):
        raise _ORDER.refusal(document)
    if is_resident_id(candidate):
        raise NationalIdRefused
    # Not accepted at all is a refusal of its own, which names the version to accept.
    notice = order.get("accepted_notice") or False
    return Order(candidate, tuple(subjects), tuple(venues), notice)


def parse_joining(body: bytes) -> str:
    """Return the candidate in the body of who joins a waiting room."""
    candidate = _JOINING.read(parse_object(body))["candidate"]
    refuse_bad_candidate(candidate)
    return candidate


def parse_claim(body: bytes) -> tuple[str, str]:
    """Return candidate and ticket in the body of a claim."""
    claim = _CLAIM.read(parse_object(body))
    refuse_bad_candidate(claim["candidate"])
    return claim["candidate"], claim["ticket"]


def parse_venue(body: bytes) -> str:
    """Return the venue in the body of a change."""
    return _VENUE_CHANGE.read(parse_object(body))["venue"]


def parse_rate(body: bytes) -> float | None:
    """Return the rate of admission in the body of who sets it, None to let it adapt."""
    return _RATE.read(parse_object(body))["rate"]


def parse_payment(event: str, received_ms: int, body: bytes) -> PaymentEvent:
    """Return the payment event in a callback's body; `event` is its webhook-id.

    Unknown members are passed over: a provider adds some without asking us. Only a captured payment
    has to say when it was paid; for others the time they were received stands for it.
    """
    document = parse_object(body)
    payment = _CALLBACK.read(document)
    paid_at_ms = payment.get("paid_at")
    if paid_at_ms is None and payment["status"] is PaymentStatus.CAPTURED:
        raise _CALLBACK.refusal(document)
    content = [document.get(name) for name in _CONTENT]
    return PaymentEvent(
        event=event,
        reservation=payment["reservation"],
        status=payment["status"],
        amount=payment["amount"],
        currency=payment["currency"],
        paid_at_ms=received_ms if paid_at_ms is None else paid_at_ms,
        provider_reference=payment["provider_reference"],
        body_hash=hashlib.blake2b(orjson.dumps(content), digest_size=16).hexdigest(),
        request=REQUEST_ID.get(),
    )


def refuse_bad_candidate(value: str) -> None:
    """Raise InvalidRequest for what is no candidate id, NationalIdRefused for a resident ID."""
    _JOINING.read({"candidate": value})
    if is_resident_id(value):
        raise NationalIdRefused
