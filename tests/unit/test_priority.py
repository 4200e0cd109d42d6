"""Every call is in the class of work it should be in."""

import pytest

from quota_service.api.routes import ROUTES
from quota_service.http.priority import Work
from quota_service.ledger.api_keys import Scope

CLASSES = {
    "POST /v1/payment-callbacks": Work.CONFIRM,
    "DELETE /v1/reservations/{reservation}": Work.RELEASE,
    "POST /v1/reservations/{reservation}/checkout": Work.RELEASE,
    "PUT /v1/reservations/{reservation}/venue": Work.RELEASE,
    "POST /v1/reservations/{reservation}/refund": Work.RELEASE,
    "POST /v1/exams/{exam}/reservations": Work.RESERVE,
    "POST /v1/exams/{exam}/waiting-room/claims": Work.RESERVE,
    "DELETE /v1/exams/{exam}/waiting-room/claims/{candidate}": Work.RESERVE,
    "GET /v1/reservations/{reservation}": Work.OWN_READ,
    "GET /v1/exams/{exam}/candidates/{candidate}": Work.OWN_READ,
    "POST /v1/exams/{exam}/waiting-room": Work.JOIN,
    "GET /v1/exams/{exam}/availability/stream": Work.FREE,
    "GET /livez": Work.FREE,
    "GET /readyz": Work.FREE,
}
"""The class of each call that is neither for ops nor a public read."""


@pytest.mark.parametrize("call", [f"{route.method} {route.path}" for route in ROUTES])
def test_every_route_is_in_the_class_it_should_be_in(call: str) -> None:
    (route,) = [route for route in ROUTES if f"{route.method} {route.path}" == call]
    otherwise = Work.OPS if route.scope is Scope.OPS else Work.PUBLIC_READ

    assert route.priority == CLASSES.get(call, otherwise)
