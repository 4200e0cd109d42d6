"""The OpenAPI document, made from the tables of routes and problems and from the models.

The name and description of a call are in `openapi_operations`; a route
that is not described there is a mistake that shows when the document is made.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from threading import Lock

import orjson

import quota_service
from quota_service.api.event_models import schema_name
from quota_service.api.openapi_operations import OPERATIONS, Body, Operation, parameters
from quota_service.api.openapi_schemas import Schema, component, schema_of, schemas, shown
from quota_service.api.problems import PROBLEMS, Problem, ProblemMembers
from quota_service.api.routes import ROUTES, Route
from quota_service.domain.event import EventKind
from quota_service.http.priority import Priority
from quota_service.http.problems import CONTENT_TYPE, ProblemType
from quota_service.ledger.api_keys import Scope
from quota_service.schema import RESERVATION_EXAMPLE

_TAGS: Mapping[str, str] = {
    "exams": "What can be taken, when and where, and what is left of it.",
    "reservations": "Holding seats, paying for them, giving them back.",
    "waiting room": "Being let in, fairly, at the rate the service bears.",
    "payments": "What the payment provider reports.",
    "operations": "Running the exam: needs a key with the scope `ops`.",
    "service": "Health, and the documents of this API.",
}
_TAG_OF: Mapping[str, str] = {
    "/waiting-room": "waiting room",
    "/reservations": "reservations",
    "/candidates": "reservations",
    "/v1/candidate-tokens": "reservations",
    "/v1/exams": "exams",
    "/v1/payment": "payments",
}
"""Tags by what the address has, the first of them; calls of ops have their own."""

_PLACEHOLDER = re.compile(r"\{(\w+)\}")

_ANY_REQUEST = ("malformed-request", "content-encoding-refused")
_SCOPED = ("unauthorized", "forbidden", "not-ready")
"""How the check of an API key can refuse; not-ready until the keys have been read."""

_RATE_HEADERS = ("RateLimit-Policy", "RateLimit")
"""Headers of every answer to a call with a key, problems included."""

_PROBLEM_HEADERS: Mapping[int, tuple[str, ...]] = {
    401: ("WWW-Authenticate",),
    405: ("Allow",),
    429: ("Retry-After", *_RATE_HEADERS),
    503: ("Retry-After",),
}
"""Headers that come with a status, whichever problem it is."""

_DESCRIPTION = """\
A reservation holds seats at once, a payment keeps them, and no seat is ever sold twice.

**Form.** JSON in snake_case; times are RFC 3339 in UTC with milliseconds; money is in minor units
with its ISO 4217 code. Bodies are strict: a member this document does not name is refused.

**Problems.** Every error is `application/problem+json` (RFC 9457); distinguish them by `type`,
which is also the address of its meaning. An address that does not exist is `not-found`, another
method at one that does is `method-not-allowed`. HEAD is taken wherever GET is.

**Asking again.** After a 503 nothing acknowledged is lost: ask again after `Retry-After` seconds,
reservations with the same `Idempotency-Key`. A 429 says the same to a caller that asks too fast;
`RateLimit` and `RateLimit-Policy` on the answers to a key announce it. Both come from a proxy
that limits rates; without one they are never sent.
"""

_SECURITY_SCHEMES: Mapping[str, Schema] = {
    **{
        f"{scope}_key": {
            "type": "http",
            "scheme": "bearer",
            "description": f"An API key with the scope `{scope}`.",
        }
        for scope in (Scope.FRONTEND, Scope.REFUNDS, Scope.OPS)
    },
    "candidate_token": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "A token that `create_candidate_token` made: the call is about what the "
        "candidate itself has in the exam of the token. What somebody else has is answered as "
        "unknown, another candidate or exam as `forbidden`. It can do nothing that the key it was "
        "made with cannot do.",
    },
    "webhook_signature": {
        "type": "apiKey",
        "in": "header",
        "name": "webhook-signature",
        "description": "Signature of the callback by the Standard Webhooks scheme: `v1,<base64>`, "
        "several separated by spaces while a secret is rotated.",
    },
}


def _header(description: str, example: object, *, always: bool = True, **form: object) -> Schema:
    schema = form or {"type": "string"}
    return {"description": description, "required": always, "schema": schema, "example": example}


# fmt: off
_HEADERS: Mapping[str, Schema] = {
    "X-Request-ID": _header(
        "Finds the request in the logs: the id that was sent, if it had the form of one.",
        "frontend-1-000042", type="string", pattern="^[A-Za-z0-9._-]{1,64}$"),
    "Retry-After": _header("Seconds to wait before asking again.", 2, type="integer", minimum=1),
    "RateLimit-Policy": _header(
        "The rate limit of the caller: `q` requests in `w` seconds "
        "(draft-ietf-httpapi-ratelimit-headers-10). Absent when rates are not limited.",
        '"key";q=20000;w=1', always=False),
    "RateLimit": _header(
        "Requests left (`r`), and seconds until all of them are available again (`t`).",
        '"key";r=19999;t=1', always=False),
    "WWW-Authenticate": _header("How to authenticate.", "Bearer"),
    "Allow": _header("The methods the address takes.", "GET, HEAD"),
    "ETag": _header("Names this state of what is answered.", 'W/"1-42"'),
    "Cache-Control": _header("How long anybody may keep it.", "public, max-age=1"),
    "Location": _header("Address of the reservation.", f"/v1/reservations/{RESERVATION_EXAMPLE}",
                        type="string", format="uri-reference"),
    "Idempotency-Replayed": _header("Present when an earlier request with the same key did it.",
                                    "true", always=False, type="string", enum=["true"]),
}
# fmt: on


def openapi_json() -> bytes:
    """Return the document as JSON, made at its first use in a process: models are read slowly.

    For some seconds then, so it is called in a thread; those who ask meanwhile wait for the first.
    """
    with _MAKING:
        return _made()


_MAKING = Lock()


@cache
def _made() -> bytes:
    return orjson.dumps(openapi_document())


def openapi_document() -> dict[str, object]:
    """Return the document, ready for JSON."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Quota service",
            "version": quota_service.__version__,
            "summary": "Seat reservation for exam registration.",
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/", "description": "The service this document came from."}],
        "tags": [{"name": name, "description": words} for name, words in _TAGS.items()],
        "paths": _paths(),
        "webhooks": _webhooks(),
        "components": {
            "schemas": {
                **schemas(),
                **_problem_schemas(),
            },
            "examples": {
                slug: {
                    "summary": problem.title,
                    "value": problem.document(problem.meaning, **problem.example),
                }
                for slug, problem in PROBLEMS.items()
            },
            "parameters": parameters(),
            "headers": dict(_HEADERS),
            "responses": {
                # What no call answers, but every address can.
                "NotFound": _problem(["not-found"]),
                "MethodNotAllowed": _problem(["method-not-allowed"]),
            },
            "securitySchemes": dict(_SECURITY_SCHEMES),
        },
    }


def _paths() -> dict[str, dict[str, Schema]]:
    paths: dict[str, dict[str, Schema]] = {}
    for route in ROUTES:
        operation = OPERATIONS[f"{route.method} {route.path}"]
        paths.setdefault(route.path, {})[route.method.lower()] = _call(route, operation)
    return paths


def _webhooks() -> dict[str, dict[str, Schema]]:
    """Return what is sent to webhook endpoints: one event a request, by its type."""
    answers = {"2XX": {"description": "Taken. Anything else is sent again later."}}
    return {
        kind.value: {
            "post": {
                "operationId": f"receive_{kind.replace('.', '_')}",
                "tags": ["operations"],
                "summary": schemas()[schema_name(kind)]["description"].partition(".")[0],
                "description": "Signed by the Standard Webhooks scheme; `webhook-id` is the id of "
                "the event, the same each time it is sent.",
                "requestBody": {"required": True, "content": _content(Body(schema_name(kind)))},
                "responses": answers,
            }
        }
        for kind in EventKind
    }


def _call(route: Route, operation: Operation) -> Schema:
    names = (*_PLACEHOLDER.findall(route.path), *operation.parameters, "X-Request-ID")
    call: Schema = {
        "operationId": operation.id,
        "tags": [_tag(route)],
        "summary": route.summary,
        "description": operation.description,
        "security": _security(route),
        "parameters": [{"$ref": f"#/components/parameters/{name}"} for name in names],
        "responses": {
            str(status): response for status, response in sorted(_responses(route, operation))
        },
    }
    if operation.body is not None:
        call["requestBody"] = {
            "required": operation.body.schema != "Nothing",
            "content": _content(operation.body),
        }
    return call


def _tag(route: Route) -> str:
    if route.scopes == {Scope.OPS}:
        return "operations"
    return next((tag for part, tag in _TAG_OF.items() if part in route.path), "service")


def _security(route: Route) -> list[dict[str, list[str]]]:
    if route.verify is not None:
        return [{"webhook_signature": []}]
    return [{_scheme(scope): []} for scope in Scope if scope in route.scopes]


def _scheme(scope: Scope) -> str:
    return "candidate_token" if scope is Scope.CANDIDATE else f"{scope}_key"


def _responses(route: Route, operation: Operation) -> Iterator[tuple[int, Schema]]:
    etag = ("ETag",) if "If-None-Match" in operation.parameters else ()
    headers = (*etag, *operation.headers)
    told = operation.answers
    for status, body in ({200: Body(told)} if isinstance(told, str) else told).items():
        yield status, _answer(body, operation, (*headers, *(_RATE_HEADERS if route.scopes else ())))
    if etag:
        unchanged = "Nothing has changed since the ETag named."
        yield 304, {"description": unchanged, "headers": _headers(headers)}
    by_status: dict[int, list[str]] = {}
    general = (
        *_ANY_REQUEST,
        *(_SCOPED if route.scopes else ()),
        *(() if route.priority is Priority.FREE else ("overloaded", "rate-limited")),
        "internal-error",
    )
    for slug in dict.fromkeys((*route.refusals, *general)):
        by_status.setdefault(PROBLEMS[slug].status, []).append(slug)
    for status, slugs in by_status.items():
        yield status, _problem(slugs)


def _answer(body: Body, operation: Operation, headers: Collection[str]) -> Schema:
    schema = {"description": "The document."} if body.schema is None else schemas()[body.schema]
    links = {
        name: {"operationId": name, "parameters": {"reservation": "$response.body#/id"}}
        for name in operation.links
    }
    return {
        "description": schema["description"],
        "headers": _headers(headers),
        "content": _content(body),
        **({"links": links} if links else {}),
    }


def _content(body: Body) -> Schema:
    if body.schema is None:
        form = {"type": "object" if body.media_type.endswith("json") else "string"}
        return {body.media_type: {"schema": form}}
    schema = component(body.schema)
    examples = body.examples or {body.schema: {}}
    shows = {
        name: {"value": shown(schema, told() if callable(told) else told)}
        for name, told in examples.items()
    }
    return {body.media_type: {"schema": schema, "examples": shows}}


def _problem(slugs: Collection[str]) -> Schema:
    """Return the response for problems of one status."""
    problems = [PROBLEMS[slug] for slug in slugs]
    (status,) = {problem.status for problem in problems}
    content = {
        "schema": _any_of(problems),
        "examples": {slug: {"$ref": f"#/components/examples/{slug}"} for slug in slugs},
    }
    return {
        "description": "\n".join(f"- `{each.slug}`: {each.meaning}" for each in problems),
        "content": {CONTENT_TYPE: content},
        "headers": _headers(_PROBLEM_HEADERS.get(status, ())),
    }


def _any_of(problems: list[ProblemType]) -> Schema:
    references = {problem.uri: component(_name(problem)) for problem in problems}
    schemas = list(references.values())
    if len(schemas) == 1:
        return schemas[0]
    mapping = {uri: reference["$ref"] for uri, reference in references.items()}
    return {"oneOf": schemas, "discriminator": {"propertyName": "type", "mapping": mapping}}


def _name(problem: ProblemType) -> str:
    return "".join(word.capitalize() for word in problem.slug.split("-")) + "Problem"


def _problem_schemas() -> Mapping[str, Schema]:
    """Return what all problems share, and the schema of each: its members are its example's.

    Each is whole, with a value of `type` that no other has: generators of clients make one type of
    several from that, and none from parts of a schema in which `type` is any text.
    """
    made = {"Problem": schema_of(Problem, is_answer=True)}
    shared = made["Problem"]["properties"]
    own = schema_of(ProblemMembers, is_answer=True)["properties"]
    for problem in PROBLEMS.values():
        members = {
            "type": {"type": "string", "const": problem.uri},
            "title": {"type": "string", "const": problem.title},
            "status": {"type": "integer", "const": problem.status},
            "detail": shared["detail"],
            **{name: own[name] for name in problem.example},
        }
        made[_name(problem)] = {
            "type": "object",
            "properties": members,
            "required": [name for name in members if name not in problem.optional],
            "description": problem.meaning,
        }
    return made


def _headers(names: Collection[str]) -> Schema:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in ("X-Request-ID", *names)}
