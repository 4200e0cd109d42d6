"""What people are told about a refusal, in both languages, and what they can do next."""

import inspect
import json
import re
from collections.abc import Callable
from importlib import resources
from typing import Any

import pytest

from quota_service.api.problems import PROBLEMS
from quota_service.api.routes import ROUTES
from quota_service.client import QuotaClient, verify_webhook
from quota_service.client.draw import rank_of
from quota_service.ledger.api_keys import Scope

GUIDE = (resources.files("quota_service") / "client" / "README.md").read_text("utf-8")
ADVICE = json.loads((resources.files("quota_service") / "web" / "advice.json").read_text("utf-8"))
HELPERS: dict[str, Callable[..., Any]] = {"rank_of": rank_of, "verify_webhook": verify_webhook}
OF_ANY_CALL = {
    "content-encoding-refused",
    "forbidden",
    "internal-error",
    "malformed-request",
    "method-not-allowed",
    "not-found",
    "overloaded",
    "rate-limited",
    "unauthorized",
}
CHINESE = re.compile("[\u4e00-\u9fff]")
CALLED_FOR_CANDIDATES = [
    route
    for route in ROUTES
    if not route.scopes or route.scopes & {Scope.CANDIDATE, Scope.FRONTEND, Scope.REFUNDS}
]


@pytest.mark.parametrize(
    "slug",
    sorted(OF_ANY_CALL.union(*(route.refusals for route in CALLED_FOR_CANDIDATES))),
)
def test_people_are_told_what_to_do_about_what_they_can_meet(slug: str) -> None:
    assert slug in ADVICE


@pytest.mark.parametrize("slug", ADVICE)
def test_advice_is_of_a_known_problem_and_short_in_both_languages(slug: str) -> None:
    told = ADVICE[slug]

    assert slug in PROBLEMS
    assert set(told) == {"zh", "en"}
    assert CHINESE.search(told["zh"])
    assert not CHINESE.search(told["en"])
    assert told["zh"].endswith("。")
    assert len(re.findall("[。！？]", told["zh"])) <= 2
    assert re.fullmatch(r"[^.!?]+[.](?: [^.!?]+[.]){0,1}", told["en"])


def test_the_guide_prints_the_same() -> None:
    printed = re.findall(r"^\| `([a-z-]+)` \| (.+) \| (.+) \|$", GUIDE, re.MULTILINE)

    assert printed == [(slug, told["zh"], told["en"]) for slug, told in ADVICE.items()]


def test_every_call_that_the_guide_names_is_a_method_of_the_client_with_these_members() -> None:
    called = re.findall(r"`([a-z_]+)\(([^`]*)\)`", GUIDE)

    assert len(called) > 20
    for name, given in called:
        function = HELPERS.get(name) or getattr(QuotaClient, name)
        parameters = inspect.signature(function).parameters
        assert set(re.findall(r"(\w+)=", given)) <= parameters.keys(), name
