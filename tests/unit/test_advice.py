"""What people are told about a refusal, in both languages, and what they can do next."""

import json
import re
from importlib import resources

import pytest

from quota_service.api.problems import PROBLEMS
from quota_service.api.routes import ROUTES
from quota_service.ledger.api_keys import Scope

ADVICE = json.loads((resources.files("quota_service") / "web" / "advice.json").read_text("utf-8"))
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
