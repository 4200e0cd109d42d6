"""The small parts that the schemas of the OpenAPI document are put together from."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from quota_service.definitions.fields import LANGUAGE, MAX_LANGUAGES
from quota_service.domain.candidate import CANDIDATE_ID
from quota_service.domain.exam import IDENTIFIER
from quota_service.domain.reservation import RESERVATION_ID

Schema = dict[str, Any]

CURRENCY_PATTERN = "^[A-Z]{3}$"


def component(name: str) -> Schema:
    """Return the reference to a schema of the document."""
    return {"$ref": f"#/components/schemas/{name}"}


def record(
    description: str, members: Mapping[str, Schema], *, optional: Collection[str] = ()
) -> Schema:
    """Return the schema of an object; every member is required but the optional ones."""
    return {
        "type": "object",
        "description": description,
        "properties": dict(members),
        "required": [name for name in members if name not in optional],
    }


def listing(description: str, items: Schema) -> Schema:
    """Return the schema of a list."""
    return {"type": "array", "description": description, "items": items}


def whole(description: str, low: int, high: int | None = None) -> Schema:
    """Return the schema of a whole number within its limits."""
    limits = {"minimum": low} if high is None else {"minimum": low, "maximum": high}
    return {"type": "integer", "description": description, **limits}


def number(description: str, low: float) -> Schema:
    """Return the schema of a number, whole or not, and its lower limit."""
    return {"type": "number", "description": description, "minimum": low}


def rank(description: str) -> Schema:
    """Return the schema of a rank, or of a threshold for ranks."""
    words = f"{description} 64 hex digits, which compare as strings as they do as numbers."
    return {"type": "string", "pattern": "^[0-9a-f]{64}$", "description": words}


def one_of(description: str, values: Iterable[str]) -> Schema:
    """Return the schema of a string out of a list."""
    return {"type": "string", "description": description, "enum": [str(value) for value in values]}


def time(description: str) -> Schema:
    """Return the schema of a time as the API writes it."""
    return {
        "type": "string",
        "format": "date-time",
        "pattern": r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z$",
        "description": f"{description} RFC 3339, in UTC with milliseconds.",
    }


def identifier(description: str) -> Schema:
    """Return the schema of the id of an exam or of one of its parts."""
    return {"type": "string", "pattern": f"^{IDENTIFIER.pattern}$", "description": description}


def reservation_id() -> Schema:
    """Return the schema of a reservation id."""
    return {
        "type": "string",
        "pattern": f"^{RESERVATION_ID.pattern}$",
        "description": "Id of the reservation: exam, shard and serial, separated by dots.",
    }


def candidate_id() -> Schema:
    """Return the schema of a candidate id."""
    return {
        "type": "string",
        "pattern": f"^{CANDIDATE_ID.pattern}$",
        "description": "Opaque id of the candidate, chosen by the frontend; a resident ID number "
        "is refused as `national-id-refused`.",
    }


def currency() -> Schema:
    """Return the schema of a currency."""
    return {"type": "string", "pattern": CURRENCY_PATTERN, "description": "ISO 4217 code."}


def closed(schema: Schema) -> Schema:
    """Return the schema of an object that takes no other members."""
    return {**schema, "additionalProperties": False}


def many(items: Schema, most: int, description: str) -> Schema:
    """Return the schema of a list of 1 to `most` items."""
    return {
        "type": "array",
        "description": description,
        "items": items,
        "minItems": 1,
        "maxItems": most,
    }


def texts(**limits: Any) -> Schema:
    """Return the schema of a text in any languages, or in none that is told."""
    text: Schema = {"type": "string", **limits}
    return {
        "description": "A text by language (the tag of BCP 47), or a plain text.",
        "anyOf": [
            text,
            {
                "type": "object",
                "minProperties": 1,
                "maxProperties": MAX_LANGUAGES,
                "propertyNames": {"pattern": f"^{LANGUAGE.pattern}$"},
                "additionalProperties": text,
            },
        ],
    }
