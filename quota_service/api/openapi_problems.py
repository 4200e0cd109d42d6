"""Problem answers for the OpenAPI document: schema, example and response of each problem type.

All of it is made from the `PROBLEMS` table. The members of a problem are those its example shows.
"""

from collections.abc import Collection, Mapping
from typing import Any

from quota_service.api.openapi_models import Schema, component, schema_of
from quota_service.api.problems import CONTENT_TYPE, PROBLEMS, Problem, ProblemMembers, ProblemType

_MEMBERS: Schema = schema_of(ProblemMembers, is_answer=True)["properties"]

_HEADERS: Mapping[int, tuple[str, ...]] = {
    401: ("WWW-Authenticate",),
    405: ("Allow",),
    429: ("Retry-After", "RateLimit-Policy", "RateLimit"),
    503: ("Retry-After",),
}
"""Headers that come with a status, whichever problem it is."""


def problem_schemas() -> dict[str, Schema]:
    """Return the schema all problems share, and the schema of each, by component name."""
    return {"Problem": schema_of(Problem, is_answer=True)} | {
        _name(problem): _schema(problem) for problem in PROBLEMS.values()
    }


def problem_examples() -> dict[str, Schema]:
    """Return a complete example of each problem, by slug."""
    return {
        slug: {"summary": problem.title, "value": _example(problem)}
        for slug, problem in PROBLEMS.items()
    }


def problem_response(slugs: Collection[str]) -> tuple[Schema, tuple[str, ...]]:
    """Return the response for problems of one status, and the names of the headers it has."""
    problems = [PROBLEMS[slug] for slug in slugs]
    (status,) = {problem.status for problem in problems}
    response = {
        "description": "\n".join(f"- `{p.slug}`: {p.meaning}" for p in problems),
        "content": {
            CONTENT_TYPE: {
                "schema": _any_of(problems),
                "examples": {p.slug: {"$ref": f"#/components/examples/{p.slug}"} for p in problems},
            }
        },
    }
    return response, _HEADERS.get(status, ())


def _name(problem: ProblemType) -> str:
    return "".join(word.capitalize() for word in problem.slug.split("-")) + "Problem"


def _schema(problem: ProblemType) -> Schema:
    members: dict[str, Schema] = {
        "type": {"const": problem.uri},
        "title": {"const": problem.title},
        "status": {"const": problem.status},
        **{name: _MEMBERS[name] for name in problem.example},
    }
    own = {
        "type": "object",
        "description": problem.meaning,
        "properties": members,
        "required": list(members),
    }
    return {"allOf": [component("Problem"), own]}


def _example(problem: ProblemType) -> dict[str, Any]:
    return {
        "type": problem.uri,
        "title": problem.title,
        "status": problem.status,
        "detail": problem.meaning,
        **problem.example,
    }


def _any_of(problems: list[ProblemType]) -> Schema:
    if len(problems) == 1:
        return component(_name(problems[0]))
    references = {problem.uri: component(_name(problem)) for problem in problems}
    return {
        "oneOf": list(references.values()),
        "discriminator": {
            "propertyName": "type",
            "mapping": {uri: reference["$ref"] for uri, reference in references.items()},
        },
    }
