"""The schemas of the OpenAPI document, made from the models that read and describe bodies."""

from collections.abc import Collection
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, JsonSchemaValue
from pydantic_core import core_schema

Schema = dict[str, Any]

_COMPONENT = "#/components/schemas/"


def component(name: str) -> Schema:
    """Return the reference to a schema of the document."""
    return {"$ref": _COMPONENT + name}


def schema_of(
    model: TypeAdapter[Any],
    components: Collection[str] = (),
    mode: JsonSchemaMode = "validation",
) -> Schema:
    """Return the schema of a model; it refers to `components`, and has all others inside."""
    made = model.json_schema(
        ref_template=_COMPONENT + "{model}", schema_generator=_Schemas, mode=mode
    )
    parts = made.pop("$defs", {})
    whole: Schema = _whole(made, {name: parts[name] for name in parts if name not in components})
    return whole


class _Schemas(GenerateJsonSchema):
    """Writes "or null" as a second type where it can, which is shorter than `anyOf`."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        """Return the schema of a value or null."""
        made = super().nullable_schema(schema)
        *members, null = made.get("anyOf", [made])
        types = [member.get("type") for member in members]
        if null != {"type": "null"} or not all(isinstance(each, str) for each in types):
            return made
        merged = {name: value for member in members for name, value in member.items()}
        return {**merged, "type": [*types, "null"]}

    def tagged_union_schema(self, schema: core_schema.TaggedUnionSchema) -> JsonSchemaValue:
        """Return the schema of a value of one of several forms, which no member names."""
        return {"anyOf": super().tagged_union_schema(schema)["oneOf"]}

    def dict_schema(self, schema: core_schema.DictSchema) -> JsonSchemaValue:
        """Return the schema of a table; keys of another form than they must have are refused."""
        made = super().dict_schema(schema)
        for pattern, values in made.pop("patternProperties", {}).items():
            made |= {"propertyNames": {"pattern": pattern}, "additionalProperties": values}
        return made


def _whole(node: Any, parts: dict[str, Schema]) -> Any:
    """Return a schema with the parts it refers to inside, and without the titles of members."""
    if isinstance(node, list):
        return [_whole(each, parts) for each in node]
    if not isinstance(node, dict):
        return node
    reference = str(node.get("$ref", "")).removeprefix(_COMPONENT)
    if reference in parts:
        rest = {name: value for name, value in node.items() if name != "$ref"}
        return _whole({**parts[reference], **rest}, parts)
    made = {name: _whole(value, parts) for name, value in node.items()}
    if isinstance(made.get("title"), str):
        del made["title"]
    if made.get("default", "") is None:
        del made["default"]
    if isinstance(made.get("description"), str):
        # Docstrings have line breaks where their lines end.
        made["description"] = " ".join(made["description"].split())
    return made
