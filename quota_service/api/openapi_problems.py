"""Problem answers for the OpenAPI document: schema, example and response of each problem type.

All of it is made from the `PROBLEMS` table. The members of a problem are those its example shows;
what each member looks like stands here, once for all problems that carry it.
"""

from collections.abc import Collection, Mapping
from typing import Any

from quota_service.api.openapi_parts import (
    Schema,
    component,
    identifier,
    listing,
    number,
    one_of,
    rank,
    record,
    reservation_id,
    time,
    whole,
)
from quota_service.api.problems import CONTENT_TYPE, PROBLEMS, ProblemType
from quota_service.domain.exam import MAX_CAPACITY
from quota_service.domain.reservation import State

PROBLEM_MEMBERS: Mapping[str, Schema] = {
    "errors": listing(
        "Every part of the request that is wrong.",
        record(
            "One part that is wrong.",
            {
                "field": {
                    "type": "string",
                    "description": "Where: a member such as `subjects[1]`, a parameter, a header.",
                },
                "detail": {"type": "string", "description": "What is wrong with it, for people."},
            },
        ),
    ),
    "left": listing(
        "What is left of each quota asked for, in the order it was asked for.",
        record(
            "What is left of one quota.",
            {
                "venue": identifier("Id of the venue."),
                "subject": identifier("Id of the subject."),
                "remaining": whole("Seats left.", 0, MAX_CAPACITY),
                "offered": {
                    "type": "boolean",
                    "description": "Whether the venue offers the subject at all.",
                },
            },
        ),
    ),
    "session": identifier("Id of the session."),
    "subjects": listing("The subjects that share the session.", identifier("Id of a subject.")),
    "reservation": {**reservation_id(), "description": "The reservation that stands in the way."},
    "unpaid_holds": whole("Holds of the candidate that ended unpaid.", 1),
    "pause_ends_at": time("From when on the candidate can make the next hold."),
    "key_share_max_percent": whole("The share of a quota one API key may have unpaid.", 1, 100),
    "venue_changes_max": whole("How often a reservation can change its venue.", 0),
    "opens_at": time("When registration opens."),
    "closed_at": time("When registration closed."),
    "started_at": time("When the session began."),
    "ends_at": time("When the exam is over."),
    "unfinished": listing(
        "What is not at its end.",
        one_of("One of them.", ["holds", "payments", "refunds_due", "refunds", "journal"]),
    ),
    "state": one_of("How the reservation ended.", [state for state in State if state.is_ended]),
    "threshold": rank("Ranks up to this have had their turn."),
    "serving": whole("Numbers up to this have had their turn.", 0),
    "poll_after": number("Seconds after which to ask again.", 0),
    "version": {"type": "string", "description": "The version of the notice to accept."},
    "max_bytes": whole("The largest body that is taken, in bytes.", 1),
    "policy": {"type": "string", "description": "The limit: `key`, `address` or `render`."},
    "limit_per_s": whole("Requests a second that are taken; of `render`, milliseconds.", 1),
    "part": {"type": "string", "description": "The part of the service that is at fault."},
}
"""The members a problem can have beside the standard ones."""

_HEADERS: Mapping[int, tuple[str, ...]] = {
    401: ("WWW-Authenticate",),
    405: ("Allow",),
    429: ("Retry-After", "RateLimit-Policy", "RateLimit"),
    503: ("Retry-After",),
}
"""Headers that come with a status, whichever problem it is."""

_STANDARD: Schema = record(
    "A problem by RFC 9457. Clients tell problems apart by `type`, never by `title` or `detail`.",
    {
        "type": {
            "type": "string",
            "format": "uri-reference",
            "description": "Which problem it is; at this address is what it means.",
        },
        "title": {"type": "string", "description": "The same for every problem of the type."},
        "status": whole("The HTTP status.", 400, 599),
        "detail": {"type": "string", "description": "What happened this time, for people."},
    },
)


def problem_schemas() -> dict[str, Schema]:
    """Return the schema all problems share, and the schema of each, by component name."""
    return {"Problem": _STANDARD} | {
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
        **{name: PROBLEM_MEMBERS[name] for name in problem.example},
    }
    return {"allOf": [component("Problem"), record(problem.meaning, members)]}


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
