"""Every refusal has a problem type, and its answer has the members that the type shows."""

import dataclasses
import typing
from collections.abc import Sequence
from typing import Any

import orjson
import pytest

from quota_service.api.problems import PROBLEMS, answer_for
from quota_service.domain.errors import Refused, SeatsLeft
from quota_service.domain.exam import Pause

STANDARD = {"type", "title", "status", "detail"}
EXAMPLES: dict[Any, Any] = {
    str: "word",
    int: 1,
    float: 1.0,
    tuple[str, ...]: ("a", "b"),
    tuple[SeatsLeft, ...]: (SeatsLeft("jinan", "general", 0),),
    Sequence[tuple[str, str]]: [("seats", "too few")],
    Pause: Pause("jinan", "", stops_changes=False, reason="word", retry_after_s=60, since_ms=1),
}


def example_of(refusal: type[Refused]) -> Refused:
    fields = dataclasses.fields(refusal) if dataclasses.is_dataclass(refusal) else ()
    types = typing.get_type_hints(refusal)
    return refusal(*(EXAMPLES[types[field.name]] for field in fields))


@pytest.mark.parametrize("refusal", Refused.__subclasses__(), ids=lambda refusal: refusal.slug)
def test_a_refusal_is_answered_as_its_problem_type_shows(refusal: type[Refused]) -> None:
    answer = answer_for(example_of(refusal))

    told, problem = orjson.loads(answer.body), PROBLEMS[refusal.slug]
    assert answer.status == problem.status
    assert told["detail"]
    assert "{" not in told["detail"]
    assert told.keys() - STANDARD == problem.example.keys()
