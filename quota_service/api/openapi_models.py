"""The schemas of the OpenAPI document, made from the models that read and describe bodies."""

from collections.abc import Collection
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema
from typing_extensions import TypedDict

Schema = dict[str, Any]

_COMPONENT = "#/components/schemas/"


def component(name: str) -> Schema:
    """Return the reference to a schema of the document."""
    return {"$ref": _COMPONENT + name}


def schema_of(model: Any, components: Collection[str] = (), *, is_answer: bool = False) -> Schema:
    """Return the schema of a model; it refers to `components`, and has all others inside.

    Answers are open: they may get members that a client does not know yet.
    """
    made = TypeAdapter(model).json_schema(
        ref_template=_COMPONENT + "{model}",
        schema_generator=_Schemas,
        mode="serialization" if is_answer else "validation",
    )
    parts = {name: part for name, part in made.pop("$defs", {}).items() if name not in components}
    whole: Schema = _whole(made, parts, is_open=is_answer)
    return whole


class _Schemas(GenerateJsonSchema):
    """Makes schemas of the forms that this document has."""

    def tagged_union_schema(self, schema: core_schema.TaggedUnionSchema) -> JsonSchemaValue:
        """Return the schema of a value of one of several forms, which no member names."""
        return {"anyOf": super().tagged_union_schema(schema)["oneOf"]}

    def dict_schema(self, schema: core_schema.DictSchema) -> JsonSchemaValue:
        """Return the schema of a table; keys of another form than they must have are refused."""
        made = super().dict_schema(schema)
        for pattern, values in made.pop("patternProperties", {}).items():
            made |= {"propertyNames": {"pattern": pattern}, "additionalProperties": values}
        return made

    def typed_dict_schema(self, schema: core_schema.TypedDictSchema) -> JsonSchemaValue:
        """Return the schema of a typed dict; what it inherits is described in the base."""
        made = super().typed_dict_schema(schema)
        for base in getattr(schema.get("cls"), "__orig_bases__", ()):
            if base is not TypedDict:
                inherited = TypeAdapter(base).json_schema(schema_generator=_Schemas)["properties"]
                for name, member in made["properties"].items():
                    description = inherited.get(name, {}).get("description")
                    if description is not None:
                        member.setdefault("description", description)
        return made


def _whole(node: Any, parts: dict[str, Schema], *, is_open: bool) -> Any:
    """Return a schema with the parts it refers to inside, and without the titles of members."""
    if isinstance(node, list):
        return [_whole(each, parts, is_open=is_open) for each in node]
    if not isinstance(node, dict):
        return node
    if "component" in node:
        return component(node["component"])
    node = _with_null_as_type(_resolved(node, parts), parts)
    made = {name: _whole(value, parts, is_open=is_open) for name, value in node.items()}
    if isinstance(made.get("title"), str):
        del made["title"]
    if made.get("default", "") is None:
        del made["default"]
    if is_open and made.get("additionalProperties") is False:
        del made["additionalProperties"]
    words = [made.get("description"), made.pop("note", None)]
    if any(isinstance(each, str) for each in words):
        # Docstrings have line breaks where their lines end.
        made["description"] = " ".join(" ".join(filter(None, words)).split())
    return made


def _resolved(node: Schema, parts: dict[str, Schema]) -> Schema:
    """Return a schema with the part it refers to in place of the reference."""
    reference = str(node.get("$ref", "")).removeprefix(_COMPONENT)
    if reference not in parts:
        return node
    return {**parts[reference], **{name: node[name] for name in node if name != "$ref"}}


def _with_null_as_type(node: Schema, parts: dict[str, Schema]) -> Schema:
    """Return a schema with "or null" as a type where it can be, which is shorter than `anyOf`."""
    if not isinstance(node.get("anyOf"), list):
        return node
    *members, null = [_resolved(member, parts) for member in node["anyOf"]]
    types = [member.get("type") for member in members]
    if null != {"type": "null"} or not all(isinstance(each, str) for each in types):
        return node
    merged = {name: value for member in members for name, value in member.items()}
    if "enum" in merged:
        merged["enum"] = [*merged["enum"], None]
    rest = {name: node[name] for name in node if name != "anyOf"}
    return {**merged, **rest, "type": [*types, "null"]}
