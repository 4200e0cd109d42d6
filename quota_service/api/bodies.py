"""Reads request bodies: strict JSON, known members only, everything that is wrong named at once."""

import hashlib
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeGuard

import orjson

from quota_service.api.errors import (
    InvalidRequest,
    MalformedJson,
    NationalIdRefused,
    PayloadTooLarge,
)
from quota_service.api.times import parse_rfc3339
from quota_service.domain.candidate import is_candidate_id, is_resident_id
from quota_service.domain.definition_parts import MAX_RATE_PER_S, MIN_RATE_PER_S
from quota_service.domain.payment import OUTCOMES_WITHOUT_CAPTURE, PaymentEvent, PaymentStatus
from quota_service.observability.logs import REQUEST_ID
from quota_service.registration.reserve import Order
from quota_service.waiting_room.signing import SIGNED_MAX

LIST_MAX = 32
"""Subjects or venues of one order."""
ID_MAX = 64
"""Characters of an id that is looked up."""
TICKET_MAX = SIGNED_MAX
"""Characters of a ticket; ours have fewer."""
TEXT_MAX = 255
"""Characters of a reference the provider chooses."""
TEXT = re.compile(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029]+")
"""Such a reference: anything but control characters and what breaks lines."""
AMOUNT_MAX = 10**12
"""Minor units of one payment."""

_ORDER_MEMBERS = 4
_PAYMENT_MEMBERS = frozenset(
    {"reservation", "status", "amount", "currency", "paid_at", "provider_reference"}
)
_STATUSES = f"must be one of {', '.join(PaymentStatus)}"
_MISSING = object()
_CURRENCY = re.compile(r"[A-Z]{3}")


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
        Members(parse_object(body)).finish()


class Members:
    """The members of one object, taken out one by one; what is wrong is collected."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._left = dict(document)
        self._wrong: list[tuple[str, str]] = []

    def take(
        self, name: str, problem_of: Callable[[Any], str | None], *, default: Any = _MISSING
    ) -> Any:
        """Take a member out; `problem_of` says what is wrong with its value, or None."""
        value = self._left.pop(name, _MISSING)
        if value is _MISSING:
            if default is _MISSING:
                self.wrong(name, "is missing")
            return default
        problem = problem_of(value)
        if problem is not None:
            self.wrong(name, problem)
        return value

    def take_ids(self, name: str) -> tuple[str, ...]:
        """Take a list of 1 to LIST_MAX different ids out."""
        values = self._left.pop(name, _MISSING)
        if values is _MISSING:
            self.wrong(name, "is missing")
            return ()
        if not isinstance(values, list):
            self.wrong(name, "must be a list of ids")
            return ()
        if not 1 <= len(values) <= LIST_MAX:
            self.wrong(name, f"must have 1 to {LIST_MAX} members, not {len(values)}")
            return ()
        for i, value in enumerate(values):
            problem = _id_problem(value)
            if problem is not None:
                self.wrong(f"{name}[{i}]", problem)
            elif value in values[:i]:
                self.wrong(f"{name}[{i}]", "stands twice")
        return tuple(value for value in values if isinstance(value, str))

    def wrong(self, name: str, detail: str) -> None:
        """Note what is wrong with a member."""
        self._wrong.append((name, detail))

    def finish(self) -> None:
        """Raise InvalidRequest when anything was wrong or a member is unknown."""
        for name in self._left:
            self.wrong(name[:ID_MAX], "is not a member this request has")
        self.finish_known()

    def finish_known(self) -> None:
        """Raise InvalidRequest when anything was wrong; unknown members are passed over."""
        if self._wrong:
            raise InvalidRequest(self._wrong)


def parse_order(body: bytes) -> Order:
    """Return the order in a reservation's body."""
    document = parse_object(body)
    # Nearly every order is whole and right. What is not is looked at member by member.
    candidate, notice = document.get("candidate"), document.get("accepted_notice")
    subjects, venues = document.get("subjects"), document.get("venues")
    if (
        len(document) == _ORDER_MEMBERS
        and type(candidate) is str
        and is_candidate_id(candidate)
        and not is_resident_id(candidate)
        and type(notice) is str
        and len(notice) <= ID_MAX
        and _are_ids(subjects)
        and _are_ids(venues)
    ):
        return Order(candidate, tuple(subjects), tuple(venues), notice)
    return _order_of(Members(document))


def _are_ids(values: Any) -> TypeGuard[list[str]]:
    """Return whether a value is a list of 1 to LIST_MAX different ids."""
    if type(values) is not list or not 1 <= len(values) <= LIST_MAX:
        return False
    for value in values:
        if type(value) is not str or not 1 <= len(value) <= ID_MAX:
            return False
    return len(values) == 1 or len(set(values)) == len(values)


def _order_of(members: Members) -> Order:
    """Return the order of a body, or say all that is wrong with it."""
    candidate = members.take("candidate", candidate_problem)
    subjects = members.take_ids("subjects")
    venues = members.take_ids("venues")
    # Not accepted at all is a refusal of its own, which names the version to accept.
    notice = members.take("accepted_notice", _notice_problem, default=False)
    members.finish()
    if is_resident_id(candidate):
        raise NationalIdRefused
    return Order(candidate, subjects, venues, notice or False)


def parse_joining(body: bytes) -> str:
    """Return the candidate in the body of who joins a waiting room."""
    members = Members(parse_object(body))
    candidate: str = members.take("candidate", candidate_problem)
    members.finish()
    refuse_bad_candidate(candidate)
    return candidate


def parse_claim(body: bytes) -> tuple[str, str]:
    """Return candidate and ticket in the body of a claim."""
    members = Members(parse_object(body))
    candidate: str = members.take("candidate", candidate_problem)
    ticket: str = members.take("ticket", _ticket_problem)
    members.finish()
    refuse_bad_candidate(candidate)
    return candidate, ticket


def parse_venue(body: bytes) -> str:
    """Return the venue in the body of a change."""
    members = Members(parse_object(body))
    venue: str = members.take("venue", _id_problem)
    members.finish()
    return venue


def parse_payment(event: str, received_ms: int, body: bytes) -> PaymentEvent:
    """Return the payment event in a callback's body; `event` is its webhook-id.

    Unknown members are passed over: a provider adds some without asking us. Only a captured payment
    has to say when it was paid; for others the time they were received stands for it.
    """
    document = parse_object(body)
    if not _is_whole_payment(document):
        document = _payment_members(Members(document))
    reservation, status = document["reservation"], document["status"]
    amount, currency = document["amount"], document["currency"]
    paid_at, reference = document["paid_at"], document["provider_reference"]
    told = (reservation, status, amount, currency, paid_at, reference)
    paid_at_ms = parse_rfc3339(paid_at) if paid_at is not None else None
    return PaymentEvent(
        event=event,
        reservation=reservation,
        status=PaymentStatus(status),
        amount=amount,
        currency=currency,
        paid_at_ms=received_ms if paid_at_ms is None else paid_at_ms,
        provider_reference=reference,
        body_hash=hashlib.blake2b(orjson.dumps(told), digest_size=16).hexdigest(),
        request=REQUEST_ID.get(),
    )


def _is_whole_payment(document: Mapping[str, Any]) -> bool:
    """Return whether a payment is complete and right, as nearly all of them are."""
    return (
        document.keys() >= _PAYMENT_MEMBERS
        and _text_problem(document["reservation"]) is None
        and document["status"] == PaymentStatus.CAPTURED.value
        and _amount_problem(document["amount"]) is None
        and _currency_problem(document["currency"]) is None
        and _time_problem(document["paid_at"]) is None
        and _text_problem(document["provider_reference"]) is None
    )


def _payment_members(members: Members) -> dict[str, Any]:
    """Return the members of a payment, or say all that is wrong with them."""
    payment = {
        "reservation": members.take("reservation", _text_problem),
        "status": members.take("status", _status_problem),
        "amount": members.take("amount", _amount_problem),
        "currency": members.take("currency", _currency_problem),
    }
    if payment["status"] in list(OUTCOMES_WITHOUT_CAPTURE):
        payment["paid_at"] = members.take("paid_at", _optional_time_problem, default=None)
    else:
        payment["paid_at"] = members.take("paid_at", _time_problem)
    payment["provider_reference"] = members.take("provider_reference", _text_problem)
    members.finish_known()
    return payment


def candidate_problem(value: Any) -> str | None:
    """Return what is wrong with a candidate id, or None."""
    if isinstance(value, str) and is_candidate_id(value):
        return None
    return "must be 1 to 64 characters of A-Z a-z 0-9 . _ : @ ~ + = -"


def parse_rate(body: bytes) -> float | None:
    """Return the rate of admission in the body of who sets it, None to let it adapt."""
    members = Members(parse_object(body))
    rate = members.take("rate", _rate_problem)
    members.finish()
    return None if rate is None else float(rate)


def refuse_bad_candidate(value: str) -> None:
    """Raise InvalidRequest for what is no candidate id, NationalIdRefused for a resident ID."""
    problem = candidate_problem(value)
    if problem is not None:
        raise InvalidRequest([("candidate", problem)])
    if is_resident_id(value):
        raise NationalIdRefused


def _rate_problem(value: Any) -> str | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if value is None or (is_number and MIN_RATE_PER_S <= value <= MAX_RATE_PER_S):
        return None
    return f"must be a number from {MIN_RATE_PER_S} to {MAX_RATE_PER_S}, or null"


def _ticket_problem(value: Any) -> str | None:
    if isinstance(value, str) and len(value) <= TICKET_MAX:
        return None
    return f"must be a ticket of at most {TICKET_MAX} characters"


def _id_problem(value: Any) -> str | None:
    if isinstance(value, str) and 1 <= len(value) <= ID_MAX:
        return None
    return f"must be an id of 1 to {ID_MAX} characters"


def _notice_problem(value: Any) -> str | None:
    if (
        value is None
        or isinstance(value, bool)
        or (isinstance(value, str) and len(value) <= ID_MAX)
    ):
        return None
    return "must be the version of the notice that was accepted, or true"


def _status_problem(value: Any) -> str | None:
    return None if value in list(PaymentStatus) else _STATUSES


def _amount_problem(value: Any) -> str | None:
    if type(value) is int and 0 <= value <= AMOUNT_MAX:
        return None
    return f"must be a whole number of minor units, 0 to {AMOUNT_MAX}"


def _currency_problem(value: Any) -> str | None:
    if isinstance(value, str) and _CURRENCY.fullmatch(value):
        return None
    return "must be an ISO 4217 code such as CNY"


def _time_problem(value: Any) -> str | None:
    if isinstance(value, str) and parse_rfc3339(value) is not None:
        return None
    return "must be an RFC 3339 time with an offset, such as 2023-03-14T04:00:00Z, from 1970 on"


def _optional_time_problem(value: Any) -> str | None:
    return None if value is None else _time_problem(value)


def _text_problem(value: Any) -> str | None:
    if isinstance(value, str) and len(value) <= TEXT_MAX and TEXT.fullmatch(value):
        return None
    return f"must be 1 to {TEXT_MAX} characters, none of them a control character"
