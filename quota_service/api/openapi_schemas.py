"""The schemas of the OpenAPI document and the bodies that show them, made from the models."""

from collections.abc import Collection, Iterator, Mapping
from functools import cache
from typing import Any

import orjson
from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema
from typing_extensions import TypedDict

from quota_service.api import (
    acting,
    availability,
    candidate_tokens,
    candidates,
    day,
    draws,
    event_models,
    exam_load,
    exams,
    exports,
    operations,
    ops,
    ops_actions,
    pauses,
    payments,
    problems,
    reservations,
    search,
    seat_releases,
    service,
    set_asides,
    venues,
    waiting_list,
    waiting_list_ops,
    waiting_room,
    webhook_endpoints,
)
from quota_service.api.models import Nothing, Time
from quota_service.definitions.model import ExamDefinition
from quota_service.domain.event import EventKind

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
    made = {
        name: value if name == "examples" else _whole(value, parts, is_open=is_open)
        for name, value in node.items()
    }
    if isinstance(made.get("title"), str):
        del made["title"]
    if made.get("default", "") is None:
        del made["default"]
    if is_open and made.get("additionalProperties") is False:
        del made["additionalProperties"]
    # A member may be called `note`, which is no text.
    note = made.pop("note") if isinstance(made.get("note"), str) else None
    words = [made.get("description"), note]
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
    """Return a schema with "or null" as a type where it can be, which is shorter than `anyOf`.

    What shows the type does not show a member that may be null: it shows itself, or null does.
    """
    if not isinstance(node.get("anyOf"), list):
        return node
    *members, null = [_resolved(member, parts) for member in node["anyOf"]]
    types = [member.get("type") for member in members]
    if null != {"type": "null"} or not all(isinstance(each, str) for each in types):
        return node
    if len(set(types)) < len(types):  # several forms of one type stay apart
        return node
    merged = {name: value for member in members for name, value in member.items()}
    merged.pop("examples", None)
    if "enum" in merged:
        merged["enum"] = [*merged["enum"], None]
    rest = {name: node[name] for name in node if name != "anyOf"}
    return {**merged, **rest, "type": [*types, "null"]}


# fmt: off
ANSWERS: Mapping[str, Any] = {"Text": exams.Text} | {model.__name__: model for model in (
    exams.Exam, exams.ExamList, exams.ImportResult, exams.Archived,
    availability.Availability, availability.AvailabilityChange, availability.AvailabilityStale,
    reservations.Reservation, candidates.CandidateView, candidates.Refund, candidates.Refusals,
    candidate_tokens.CandidateToken, candidate_tokens.RevokedCandidateTokens,
    payments.Payment, payments.PaymentResult, service.Health, problems.ProblemMeaning,
    waiting_room.WaitingRoom, waiting_room.SteeredRoom, waiting_room.Ticket, waiting_room.Pass,
    waiting_room.Finished, draws.EntryProof, ops.Audit, ops.RefundDue, ops.RefundsDue,
    ops.UnreadablePayment, ops.UnreadablePayments, ops_actions.OpsAction, ops_actions.OpsActions,
    waiting_list.WaitingListEntry, waiting_list.CandidateEntry, waiting_list.ListedEntry,
    waiting_list_ops.WaitingList, waiting_list_ops.WaitingListPage,
    search.FoundReservations, venues.VenueSale, venues.MovedOut,
    seat_releases.SeatRelease, seat_releases.SeatReleases,
    pauses.Pause, day.PausedExam, day.ResumedExam, day.ExtendedHolds, operations.Operations,
    exam_load.ExamLoad,
    webhook_endpoints.WebhookEndpoint, webhook_endpoints.WebhookEndpoints,
    webhook_endpoints.WebhookSecret, webhook_endpoints.WebhookDeliveries,
    webhook_endpoints.WebhookReplay,
    set_asides.SetAsides, set_asides.MadeCodes, set_asides.Code, set_asides.Codes,
)}
# fmt: on

REQUESTS: Mapping[str, Any] = {"Order": reservations.CodedOrderBody} | {
    model.__name__: model
    for model in (
        *(waiting_room.Joining, waiting_room.Claim, waiting_room.AdmissionRate),
        *(waiting_list.ListWish, waiting_list_ops.ListReason, waiting_list_ops.ListLength),
        draws.SourceEvidence,
        *(
            reservations.VenueChange,
            candidate_tokens.NewCandidateToken,
            candidate_tokens.TokenRevocation,
            payments.PaymentCallback,
            acting.OpsOrder,
            acting.MarkedPaid,
            acting.Reasoned,
            ops.Reopening,
            acting.Move,
            venues.VenueClosing,
            venues.MovingOut,
            seat_releases.NewSeatRelease,
            day.Pausing,
            day.Resuming,
            day.Extending,
            set_asides.CodeMaking,
            webhook_endpoints.NewWebhookEndpoint,
            webhook_endpoints.SecretRotation,
            webhook_endpoints.ReplayWanted,
            Nothing,
            ExamDefinition,
        ),
    )
}
"""The models of request bodies by the name of their schema."""


@cache
def schemas() -> Mapping[str, Schema]:
    """Return the schemas of bodies by component name."""
    events = (availability.Snapshot, availability.Change, availability.Stale)
    return {
        **{name: schema_of(model, ANSWERS, is_answer=True) for name, model in ANSWERS.items()},
        "AvailabilityEvent": {
            "description": "A server-sent event of the stream, once its lines are read.",
            "oneOf": [schema_of(event, is_answer=True) for event in events],
        },
        "BookingsFile": {
            "type": "string",
            "description": "CSV (RFC 4180) in UTF-8 with a header line.",
            "examples": [exports.plain_file().head.decode()],
        },
        "RosterFile": {
            "type": "string",
            "description": "CSV (RFC 4180) in UTF-8 with a header line.",
            "examples": [exports.plain_roster().head.decode()],
        },
        **{name: schema_of(model) for name, model in REQUESTS.items()},
        **_events(),
    }


def _events() -> Mapping[str, Schema]:
    """Return the schema of an event, and that of each kind."""
    of_kind = {event_models.schema_name(kind): _event(kind) for kind in EventKind}
    mapping = {kind.value: component(event_models.schema_name(kind))["$ref"] for kind in EventKind}
    told: Schema = {
        "description": "What has happened, as the stream of events and webhooks tell it.",
        "oneOf": [component(name) for name in of_kind],
        "discriminator": {"propertyName": "type", "mapping": mapping},
    }
    return {"Event": told, **of_kind}


def _event(kind: EventKind) -> Schema:
    data = schema_of(event_models.DATA[kind], is_answer=True)
    time = schema_of(Time, is_answer=True)
    members = {
        "type": {"type": "string", "const": kind},
        "timestamp": {**time, "description": f"When it happened. {time['description']}"},
        "data": data,
    }
    words = data.pop("description")
    required = list(members)
    return {"type": "object", "description": words, "properties": members, "required": required}


def shown(schema: Schema, told: Mapping[str, Any] | None = None) -> Any:
    """Return an example value of a schema, with the given members.

    It is the example of the schema, else composed of its parts. Members that may be left out are,
    unless they have an example. Raises LookupError for a part that nothing shows.
    """
    if "$ref" in schema:
        return shown(schemas()[schema["$ref"].removeprefix(_COMPONENT)], told)
    own_values = () if told else tuple(_own_values(schema))
    if own_values:
        return own_values[0]
    if schema.get("type") == "object":
        told, needed = told or {}, schema.get("required", ())
        return {
            name: told[name] if name in told else shown(member)
            for name, member in schema.get("properties", {}).items()
            if name in told or name in needed or "examples" in member
        }
    if "items" in schema:
        return [shown(schema["items"])]
    if "contentSchema" in schema:
        return orjson.dumps(shown(schema["contentSchema"])).decode()
    if "oneOf" in schema:
        return shown(schema["oneOf"][0])
    raise LookupError(f"nothing shows {schema}")


def _own_values(schema: Schema) -> Iterator[Any]:
    """Yield what a schema names of its values, the best first: what may be null is null."""
    yield from schema.get("examples", ())
    if "const" in schema:
        yield schema["const"]
    if "null" in schema.get("type", ()) or {"type": "null"} in schema.get("anyOf", ()):
        yield None
    yield from schema.get("enum", ())
    if schema.get("type") == "boolean":
        yield False
    if "minimum" in schema:
        yield schema["minimum"]
