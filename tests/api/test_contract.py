"""The contract only grows: what clients were told once is still in the OpenAPI document.

`contract.txt` has the calls, parameters, bodies, problems, members and values of the document as it
was when pydantic took it over, a line each. Lines are added to it when a release has them, and none
goes: a client may count on it.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from quota_service.api.openapi import openapi_document
from quota_service.api.openapi_schemas import REQUESTS

OF_ALL_CALLS = {
    *("malformed-request", "content-encoding-refused", "unauthorized", "forbidden", "not-ready"),
    *("overloaded", "rate-limited", "internal-error", "malformed-json", "payload-too-large"),
    "body-too-slow",
}
"""Refusals that nearly all calls share."""
TOLD = Path(__file__).with_name("contract.txt")


def facts(document: dict[str, Any]) -> Iterator[str]:
    """Yield what a client can count on, a line each."""
    for path, item in document["paths"].items():
        for method, call in item.items():
            name = f"{method.upper()} {path}"
            yield f"{name} is {call['operationId']}"
            for scheme in call["security"]:
                yield f"{name} asks for {', '.join(scheme)}"
            for parameter in call["parameters"]:
                yield f"{name} takes {_last(parameter)}"
            for content in call.get("requestBody", {}).get("content", {}).values():
                yield f"{name} takes {_last(content['schema'])}"
            for status, response in call["responses"].items():
                yield from _answers(f"{name} answers {status}", response.get("content", {}))
    schemas = document["components"]["schemas"]
    for name, schema in schemas.items():
        yield from _members(name, schema)
        if schemas["Problem"]["required"] == [*_in_both(schema, schemas["Problem"])]:
            yield f"{name}: Problem"


def _in_both(schema: dict[str, Any], other: dict[str, Any]) -> Iterator[str]:
    """Yield the members of another schema that one has too, of the same type."""
    for name, member in other["properties"].items():
        mine = schema.get("properties", {}).get(name, {})
        if name in schema.get("required", ()) and mine.get("type") == member["type"]:
            yield name


def _answers(name: str, contents: dict[str, Any]) -> Iterator[str]:
    for kind, content in contents.items():
        if "problem" in kind:
            for slug in sorted(content["examples"].keys() - OF_ALL_CALLS):
                yield f"{name} {slug}"
        else:
            yield f"{name} {kind} {_last(content['schema'])}"


def _members(place: str, schema: dict[str, Any]) -> Iterator[str]:
    """Yield the form of a value, and those of what is in it."""
    for form in ("allOf", "anyOf", "oneOf"):
        for each in schema.get(form, ()):
            yield from _members(place, each)
    yield from _form(place, schema)
    for name, member in schema.get("properties", {}).items():
        if name != "title" or "const" not in member:  # of a problem: told to people
            presence = "" if name in schema.get("required", ()) else "?"
            yield from _members(f"{place}.{name}{presence}", member)
    for part in ("items", "additionalProperties"):
        if isinstance(schema.get(part), dict):
            yield from _members(f"{place}[]", schema[part])


def _form(place: str, schema: dict[str, Any]) -> Iterator[str]:
    if "$ref" in schema:
        yield f"{place}: {_last(schema)}"
    for kind in sorted(_list(schema.get("type", ()))):
        yield f"{place}: {kind}"
    for value in [*schema.get("enum", ()), *([schema["const"]] if "const" in schema else [])]:
        yield f"{place} = {value}"
    for limit in ("pattern", "format"):
        if limit in schema:
            yield f"{place} {limit} {schema[limit]}"


def _last(reference: dict[str, Any]) -> str:
    return str(reference.get("$ref", reference.get("type"))).rpartition("/")[2]


def _list(types: str | list[str]) -> list[str]:
    return [types] if isinstance(types, str) else list(types)


def test_all_that_clients_were_told_is_still_in_the_document() -> None:
    told = TOLD.read_text(encoding="utf-8").splitlines()

    assert len(told) > 1000  # or the document was not read
    assert sorted(set(told) - set(facts(openapi_document()))) == []


def test_no_request_needs_more_than_it_did() -> None:
    told = TOLD.read_text(encoding="utf-8")
    document: dict[str, Any] = openapi_document()

    needed = {
        f"{name}.{member}"
        for name in REQUESTS
        for member in document["components"]["schemas"][name].get("required", ())
    }

    assert len(needed) > 10
    assert [
        place for place in sorted(needed) if not re.search(rf"^{place}[:.\[ ]", told, re.MULTILINE)
    ] == []
