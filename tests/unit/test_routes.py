"""The table of routes: whose calls are candidates', and how each of them knows its owner."""

from quota_service.api.routes import ROUTES, AiohttpOnly
from quota_service.ledger.api_keys import Scope


def test_a_call_of_candidates_checks_its_owner_and_no_other_does() -> None:
    assert {route.path for route in ROUTES if Scope.CANDIDATE in route.scopes}
    for route in ROUTES:
        assert (route.owner is not None) == (Scope.CANDIDATE in route.scopes), route


def test_no_call_of_candidates_is_for_them_alone_or_goes_past_the_check() -> None:
    for route in ROUTES:
        if Scope.CANDIDATE in route.scopes:
            assert len(route.scopes) > 1, route
            assert not isinstance(route.handler, AiohttpOnly), route
            assert "{exam}" in route.path or "{reservation}" in route.path, route
