"""Holds answers and examples against the OpenAPI document, as a strict reader of it would."""

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from quota_service.api.openapi import openapi_document
from tests.support.client import Reply

_ADDRESS = "urn:contract"


@dataclass(frozen=True, slots=True)
class Media:
    """One media type of a request (status None) or of an answer, and where it stands."""

    call: str
    status: str | None
    pointer: str
    schema: Mapping[str, Any]
    examples: Mapping[str, Any]


class Contract:
    """The document, its answers closed: a member it does not describe is a fault here."""

    def __init__(self) -> None:
        self.document: dict[str, Any] = orjson.loads(orjson.dumps(openapi_document()))
        closed = copy.deepcopy(self.document)
        _close(closed["components"]["schemas"])
        resource = Resource(contents=closed, specification=DRAFT202012)
        self._registry: Registry[Any] = Registry().with_resource(_ADDRESS, resource)

    @property
    def calls(self) -> dict[str, Mapping[str, Any]]:
        """The operations, by method and path."""
        return {
            f"{method.upper()} {path}": operation
            for path, item in self.document["paths"].items()
            for method, operation in item.items()
        }

    def media(self) -> Iterator[Media]:
        """Every body the document describes, its examples resolved."""
        for call, operation in self.calls.items():
            method, path = call.split(" ")
            base = f"/paths/{_escaped(path)}/{method.lower()}"
            for kind, media in operation.get("requestBody", {}).get("content", {}).items():
                yield self._media(call, None, f"{base}/requestBody/content", kind, media)
            for status, response in operation["responses"].items():
                for kind, media in response.get("content", {}).items():
                    pointer = f"{base}/responses/{status}/content"
                    yield self._media(call, status, pointer, kind, media)
        for name, response in self.document["components"]["responses"].items():
            for kind, media in response["content"].items():
                pointer = f"/components/responses/{name}/content"
                status = str(media["examples"] and self._only_status(media["examples"]))
                yield self._media(name, status, pointer, kind, media)

    def faults(self, pointer: str, value: Any) -> list[str]:
        """What is wrong with a value by the schema at a JSON pointer into the document."""
        validator = Draft202012Validator(
            {"$ref": f"{_ADDRESS}#{pointer}"},
            registry=self._registry,
            format_checker=Draft202012Validator.FORMAT_CHECKER,
        )
        return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(value)]

    def check(self, call: str, reply: Reply) -> None:
        """Assert that an answer is one that the document describes for the call."""
        status = str(reply.status)
        responses = self.calls[call]["responses"]
        assert status in responses, (call, reply)
        for name, header in responses[status]["headers"].items():
            described = self._resolved(header)
            assert name in reply.headers or not described["required"], (call, name, reply)
            if name in reply.headers and described["schema"]["type"] == "string":
                pointer = f"/components/headers/{name}/schema"
                assert not self.faults(pointer, reply.headers[name]), (call, name, reply)
        content = responses[status].get("content")
        if content is None:
            assert not reply.body, (call, reply)
            return
        kind = reply.headers["Content-Type"].partition(";")[0]
        assert kind in content, (call, reply)
        if kind.endswith("json"):
            method, path = call.split(" ")
            pointer = (
                f"/paths/{_escaped(path)}/{method.lower()}/responses/{status}"
                f"/content/{_escaped(kind)}/schema"
            )
            assert self.faults(pointer, reply.json) == [], (call, reply)

    def _media(
        self, call: str, status: str | None, pointer: str, kind: str, media: Mapping[str, Any]
    ) -> Media:
        examples = {
            name: self._resolved(example)["value"]
            for name, example in media.get("examples", {}).items()
        }
        place = f"{pointer}/{_escaped(kind)}/schema"
        return Media(call, status, place, media["schema"], examples)

    def _only_status(self, examples: Mapping[str, Any]) -> int:
        (status,) = {self._resolved(e)["value"]["status"] for e in examples.values()}
        return int(status)

    def _resolved(self, node: Mapping[str, Any]) -> Mapping[str, Any]:
        if "$ref" not in node:
            return node
        found: Any = self.document
        for part in node["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        return found


def _close(schema: Any) -> None:
    """Let no object in a schema have members that are not described."""
    if isinstance(schema, list):
        for each in schema:
            _close(each)
    if not isinstance(schema, dict):
        return
    if "properties" in schema:
        schema["unevaluatedProperties"] = False
    for part in schema.values():
        _close(part)


def _escaped(text: str) -> str:
    """Return a part of a JSON pointer as a URI fragment takes it."""
    escaped = text.replace("~", "~0").replace("/", "~1")
    return escaped.replace("{", "%7B").replace("}", "%7D")
