"""Every call is in the class of work it should be in."""

import pytest

from quota_service.api.routes import ROUTES
from quota_service.http.priority import Priority
from quota_service.ledger.api_keys import Scope

CLASSES = {
    "POST /v1/payment-callbacks": Priority.CONFIRM,
    "DELETE /v1/reservations/{reservation}": Priority.RELEASE,
    "POST /v1/reservations/{reservation}/checkout": Priority.RELEASE,
    "PUT /v1/reservations/{reservation}/venue": Priority.RELEASE,
    "POST /v1/reservations/{reservation}/refund": Priority.RELEASE,
    "POST /v1/exams/{exam}/reservations": Priority.RESERVE,
    "POST /v1/exams/{exam}/waiting-room/claims": Priority.RESERVE,
    "DELETE /v1/exams/{exam}/waiting-room/claims/{candidate}": Priority.RESERVE,
    "GET /v1/reservations/{reservation}": Priority.OWN_READ,
    "GET /v1/exams/{exam}/candidates/{candidate}": Priority.OWN_READ,
    "GET /v1/exams/{exam}/waiting-room/proof": Priority.OWN_READ,
    "POST /v1/exams/{exam}/waiting-room": Priority.JOIN,
    "POST /v1/exams/{exam}/waiting-list": Priority.JOIN,
    "GET /v1/exams/{exam}/waiting-list/{entry}": Priority.OWN_READ,
    "DELETE /v1/exams/{exam}/waiting-list/{entry}": Priority.RELEASE,
    "GET /v1/exams/{exam}/availability/stream": Priority.FREE,
    "GET /v1/events": Priority.FREE,
    "POST /v1/candidate-tokens": Priority.OWN_READ,
    "POST /v1/candidate-tokens/revoke": Priority.RELEASE,
    "GET /livez": Priority.FREE,
    "GET /readyz": Priority.FREE,
}
"""The class of each call that is neither for ops nor a public read."""


@pytest.mark.parametrize("call", [f"{route.method} {route.path}" for route in ROUTES])
def test_every_route_is_in_the_class_it_should_be_in(call: str) -> None:
    (route,) = [route for route in ROUTES if f"{route.method} {route.path}" == call]
    otherwise = Priority.OPS if route.scopes == {Scope.OPS} else Priority.PUBLIC_READ

    assert route.priority == CLASSES.get(call, otherwise)
