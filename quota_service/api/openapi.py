"""The OpenAPI document, made from the tables of routes and problems.

What the tables do not know (words, bodies, answers) stands in the modules beside this one; a route
that they do not describe is a mistake that shows when the service starts.
"""

import re
from collections.abc import Collection, Iterator, Mapping

import quota_service
from quota_service.api.openapi_examples import EXAMPLES
from quota_service.api.openapi_models import Schema, component
from quota_service.api.openapi_operations import OPERATIONS, TAGS, Answer, Body, Operation
from quota_service.api.openapi_problems import (
    problem_examples,
    problem_response,
    problem_schemas,
)
from quota_service.api.openapi_requests import PARAMETERS, REQUEST_SCHEMAS
from quota_service.api.openapi_schemas import ANSWER_SCHEMAS
from quota_service.api.problems import PROBLEMS
from quota_service.api.routes import ROUTES, Route
from quota_service.http.priority import Priority

_PLACEHOLDER = re.compile(r"\{(\w+)\}")

_ANY_REQUEST = ("malformed-request", "content-encoding-refused")
_SCOPED = ("unauthorized", "forbidden", "not-ready")
"""How the check of an API key can refuse; not-ready until the keys have been read."""

_RATE_HEADERS = ("RateLimit-Policy", "RateLimit")
"""What every answer to a call with a key tells; problems of the call tell it too."""

_DESCRIPTION = """\
A reservation holds seats at once, a payment keeps them, and no seat is ever sold twice.

**Form.** JSON in snake_case; times are RFC 3339 in UTC with milliseconds; money is in minor units
with its ISO 4217 code. Bodies are strict: a member this document does not name is refused.

**Problems.** Every error is `application/problem+json` (RFC 9457); tell them apart by `type`, which
is also the address of its meaning. An address that does not exist is `not-found`, another method
at one that does is `method-not-allowed`. HEAD is taken wherever GET is.

**Asking again.** After a 503 nothing acknowledged is lost: ask again after `Retry-After` seconds,
reservations with the same `Idempotency-Key`. A 429 says the same to a caller that asks too fast;
`RateLimit` and `RateLimit-Policy` on the answers to a key tell it before. Both come from a proxy
that limits rates; without one they are never sent.
"""

_SECURITY_SCHEMES: Mapping[str, Schema] = {
    "frontend_key": {
        "type": "http",
        "scheme": "bearer",
        "description": "An API key with the scope `frontend`.",
    },
    "refunds_key": {
        "type": "http",
        "scheme": "bearer",
        "description": "An API key with the scope `refunds`.",
    },
    "ops_key": {
        "type": "http",
        "scheme": "bearer",
        "description": "An API key with the scope `ops`.",
    },
    "webhook_signature": {
        "type": "apiKey",
        "in": "header",
        "name": "webhook-signature",
        "description": "Signature of the callback by the Standard Webhooks scheme: `v1,<base64>`, "
        "several separated by spaces while a secret is rotated.",
    },
}


def _header(description: str, schema: Schema, example: object, *, always: bool = True) -> Schema:
    return {"description": description, "required": always, "schema": schema, "example": example}


_TEXT: Schema = {"type": "string"}
_HEADERS: Mapping[str, Schema] = {
    "X-Request-ID": _header(
        "Finds the request in the logs: the id that was sent, if it had the form of one.",
        {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$"},
        "frontend-1-000042",
    ),
    "Retry-After": _header(
        "Seconds to wait before asking again.", {"type": "integer", "minimum": 1}, 2
    ),
    "RateLimit-Policy": _header(
        "How fast the caller may ask: `q` requests in `w` seconds "
        "(draft-ietf-httpapi-ratelimit-headers-10). Absent when rates are not limited.",
        _TEXT,
        '"key";q=20000;w=1',
        always=False,
    ),
    "RateLimit": _header(
        "How many requests are left (`r`), and in how many seconds all are there again (`t`).",
        _TEXT,
        '"key";r=19999;t=1',
        always=False,
    ),
    "WWW-Authenticate": _header("How to authenticate.", _TEXT, "Bearer"),
    "Allow": _header("The methods the address takes.", _TEXT, "GET, HEAD"),
    "ETag": _header("Names this state of what is answered.", _TEXT, 'W/"1-42"'),
    "Cache-Control": _header("How long anybody may keep it.", _TEXT, "public, max-age=1"),
    "Location": _header(
        "Address of the reservation.",
        {"type": "string", "format": "uri-reference"},
        "/v1/reservations/ccaa-2023-1.0.kx5wcu3hqzyd2m7fov4tnbra",
    ),
    "Idempotency-Replayed": _header(
        "Present when an earlier request with the same key did it.",
        {"type": "string", "enum": ["true"]},
        "true",
        always=False,
    ),
}


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
        "tags": [{"name": name, "description": words} for name, words in TAGS.items()],
        "paths": _paths(),
        "components": {
            "schemas": {**ANSWER_SCHEMAS, **REQUEST_SCHEMAS, **problem_schemas()},
            "examples": {
                **{n: {"summary": e.summary, "value": e.value} for n, e in EXAMPLES.items()},
                **problem_examples(),
            },
            "parameters": dict(PARAMETERS),
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


def _call(route: Route, operation: Operation) -> Schema:
    names = (*_PLACEHOLDER.findall(route.path), *operation.parameters, "X-Request-ID")
    call: Schema = {
        "operationId": operation.id,
        "tags": [operation.tag],
        "summary": route.summary,
        "description": operation.description,
        "security": _security(route, operation),
        "parameters": [{"$ref": f"#/components/parameters/{name}"} for name in names],
        "responses": {
            str(status): response for status, response in sorted(_responses(route, operation))
        },
    }
    if operation.body is not None:
        call["requestBody"] = {
            "required": operation.body_is_required,
            "content": _content(operation.body),
        }
    return call


def _security(route: Route, operation: Operation) -> list[dict[str, list[str]]]:
    if operation.signed:
        return [{"webhook_signature": []}]
    return [] if route.scope is None else [{f"{route.scope}_key": []}]


def _responses(route: Route, operation: Operation) -> Iterator[tuple[int, Schema]]:
    for status, answer in operation.answers.items():
        yield status, _answer(answer, _RATE_HEADERS if route.scope is not None else ())
    by_status: dict[int, list[str]] = {}
    general = (
        *_ANY_REQUEST,
        *(_SCOPED if route.scope is not None else ()),
        *(() if route.priority is Priority.FREE else ("overloaded", "rate-limited")),
        "internal-error",
    )
    for slug in dict.fromkeys((*route.refusals, *general)):
        by_status.setdefault(PROBLEMS[slug].status, []).append(slug)
    for status, slugs in by_status.items():
        yield status, _problem(slugs)


def _answer(answer: Answer, more: Collection[str]) -> Schema:
    response: Schema = {
        "description": answer.description,
        "headers": _headers((*answer.headers, *more)),
    }
    if answer.body is not None:
        response["content"] = _content(answer.body)
    if answer.links:
        response["links"] = {
            name: {"operationId": name, "parameters": {"reservation": "$response.body#/id"}}
            for name in answer.links
        }
    return response


def _problem(slugs: Collection[str]) -> Schema:
    response, headers = problem_response(slugs)
    return {**response, "headers": _headers(headers)}


def _headers(names: Collection[str]) -> Schema:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in ("X-Request-ID", *names)}


def _content(body: Body) -> Schema:
    plain: Schema = {"type": "object" if body.media_type.endswith("json") else "string"}
    media: Schema = {"schema": plain if body.schema is None else component(body.schema)}
    if body.examples:
        media["examples"] = {
            name: {"$ref": f"#/components/examples/{name}"} for name in body.examples
        }
    return {body.media_type: media}
