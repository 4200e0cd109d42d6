"""Writes the parts of the client that follow tables: `python -m tests.support.client_code`.

A method for each call, a typed dict for each document and an exception for each problem type. The
output depends on nothing else, so that a test can compare it with the committed files. Over 400
lines because the three files name each other's types.
"""

import keyword
import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from quota_service.api.event_models import DATA, schema_name
from quota_service.api.openapi_operations import OPERATIONS, Operation, parameters
from quota_service.api.openapi_schemas import ANSWERS, REQUESTS, Schema
from quota_service.api.problems import PROBLEMS, ProblemMembers
from quota_service.api.routes import ROUTES, Route
from quota_service.http.problems import ProblemType

FOLDER = Path("quota_service/client")

WRITTEN_BY_HAND = {
    "stream_availability": "availability_stream",
    "stream_events": "events",
    "report_payment": "report_payment",
}
"""Calls that have a method of their own in `QuotaClient`, by that method."""

# fmt: off
REPEATABLE = frozenset((
    "archive_exam", "checkout", "claim_place", "close_venue", "create_candidate_token",
    "disable_webhook_endpoint", "enable_webhook_endpoint", "join_waiting_room",
    "move_for_candidate", "move_out", "open_venue", "pause_admission", "pause_waiting_list",
    "plan_seat_release", "put_in_source", "refund", "refund_for_candidate",
    "release_for_candidate", "reopen_any_refund_due", "reopen_refund_due", "reopen_waiting_list",
    "resume_admission", "resume_waiting_list", "revoke_candidate_tokens", "revoke_code",
    "settle_any_refund_due", "settle_refund_due", "settle_unreadable_payment",
    "suspend_waiting_list",
))
"""POST calls without an Idempotency-Key that have one effect however often they are sent."""
# fmt: on

GENERAL = frozenset(
    {
        "malformed-json",
        "body-too-slow",
        "payload-too-large",
        "invalid-request",
        "idempotency-key-missing",
        "idempotency-key-ambiguous",
        "not-ready",
        "overloaded",
    }
)
"""Problems of any call, or of what this client does not send: calls are not said to have them."""

_ABOUT_CALLS = (
    "The calls, with their refusals beside those that any call can have.\n\n"
    "A call with an `idempotency_key` makes one where none is given, which only its own repeats "
    "have: give one that you keep where somebody presses the button again after NoAnswer."
)

_JSON, _CSV = "application/json", "text/csv"
_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_NAMES = (
    "Answer",
    "Call",
    "CallSender",
    "given",
    "new_idempotency_key",
    "quoted",
    "with_query",
)
_SUMMARY_MAX = 90
_BY_POSITION = ("path", "definition")
_NEVER_SENT = frozenset({"X-Request-ID", "If-None-Match"})
_TEXT: Schema = {"type": "string"}
_SIMPLE = {
    "string": "str",
    "integer": "int",
    "number": "float",
    "boolean": "bool",
    "null": "None",
}
_MADE = '"""{}\n\nMade by `python -m tests.support.client_code`, and as long as its tables.\n"""\n'


def files() -> Mapping[str, str]:
    """Return the text of each file by its name, before it is formatted."""
    documents = Documents()
    calls = _calls(documents)
    documents.keep("PaymentCallback")
    return {
        "calls.py": calls,
        "documents.py": documents.text(),
        "problems.py": _problems(documents),
    }


class Documents:
    """The typed dicts of answers, and of what calls take inside of their bodies."""

    def __init__(self) -> None:
        answers = [(name, "serialization", TypeAdapter(model)) for name, model in ANSWERS.items()]
        problems = ("ProblemMembers", "serialization", TypeAdapter(ProblemMembers))
        tops, made = TypeAdapter.json_schemas(
            [*answers, problems], schema_generator=GenerateJsonSchema
        )
        self.parts: dict[str, Schema] = dict(made["$defs"])
        self.problem_members: Schema = self.parts.pop("ProblemMembers")
        for name in ANSWERS:
            self.parts.setdefault(name, tops[name, "serialization"])
        self.parts |= _events()
        bodies = [(name, "validation", TypeAdapter(model)) for name, model in REQUESTS.items()]
        tops, made = TypeAdapter.json_schemas(bodies, schema_generator=GenerateJsonSchema)
        self._given: dict[str, Schema] = dict(made["$defs"])
        self.bodies = {name: self._resolved(tops[name, "validation"]) for name in REQUESTS}

    def _resolved(self, schema: Schema) -> Schema:
        while "$ref" in schema:
            schema = self._given[next(_references(schema))]
        return schema

    def take(self, schema: Schema) -> str:
        """Return the type of a part of a body, and keep what it refers to."""
        for name in _references(schema):
            if name not in self.parts:
                self.parts[name] = self._given[name]
                self.take(self._given[name])
        return type_of(schema, is_given=True)

    def keep(self, name: str) -> None:
        """Keep a whole body, for a call that is written by hand."""
        self.parts[name] = self.bodies[name]
        self.take(self.bodies[name])

    def text(self) -> str:
        """Return the module."""
        blocks = [_document(name, self.parts[name]) for name in _in_order(self.parts)]
        head = _MADE.format(
            "What calls answer and take, as typed dicts; `/docs` of a service says what members "
            "mean.\n\nServices may add members: read those that you know."
        )
        return "\n".join(
            (head, "from typing import Any, Literal, NotRequired, TypedDict\n", *blocks)
        )


def _events() -> dict[str, Schema]:
    """Return the schemas of events and of their data; the client puts the id with them."""
    found: dict[str, Schema] = {}
    for kind, model in DATA.items():
        name = schema_name(kind)
        data = TypeAdapter(model).json_schema(mode="serialization")
        found |= data.pop("$defs", {})
        members = {"id": _TEXT, "type": {"const": kind.value}, "timestamp": _TEXT}
        found[f"{name}Data"] = data
        found[name] = {
            "description": data["description"],
            "properties": {**members, "data": {"$ref": f"{name}Data"}},
            "required": [*members, "data"],
        }
    kinds = [{"$ref": schema_name(kind)} for kind in DATA]
    return {**found, "Event": {"anyOf": kinds}}


def _in_order(parts: Mapping[str, Schema]) -> list[str]:
    """Return the names of all types, each behind those that it refers to."""
    found: dict[str, None] = {}

    def find(name: str) -> None:
        for other in _references(parts[name]):
            find(other)
        found.setdefault(name)

    for name in sorted(parts):
        find(name)
    return [*found]


def type_of(schema: Schema, *, is_given: bool = False) -> str:
    """Return the annotation of a value; what is given may be any sequence or mapping."""
    if "$ref" in schema or "component" in schema:
        return next(_references(schema))
    if "const" in schema or "enum" in schema:
        values = schema.get("enum", [schema.get("const")])
        return f"Literal[{', '.join(map(_literal, values))}]"
    kinds = schema.get("type")
    forms = schema.get("anyOf") or schema.get("oneOf")
    if isinstance(kinds, list):
        forms = [{**schema, "type": kind} for kind in kinds]
    if forms:
        members = [type_of(form, is_given=is_given) for form in forms]
        return " | ".join(dict.fromkeys(members))
    if kinds in {"array", "object"}:
        return _collection(schema, is_given=is_given)
    return _SIMPLE.get(str(kinds), "Any")


def _collection(schema: Schema, *, is_given: bool) -> str:
    if schema["type"] == "array":
        items = type_of(schema.get("items", {}), is_given=is_given)
        return f"Sequence[{items}]" if is_given else f"list[{items}]"
    keyed = [*schema.get("patternProperties", {}).values()]
    values = keyed[0] if keyed else schema.get("additionalProperties")
    inner = type_of(values, is_given=is_given) if isinstance(values, dict) else "Any"
    return f"Mapping[str, {inner}]" if is_given else f"dict[str, {inner}]"


def _literal(value: Any) -> str:
    return repr(str(value) if isinstance(value, str) else value)


def _references(node: Any) -> Iterator[str]:
    """Yield the names of the parts that a schema refers to; models say `component` for one."""
    if isinstance(node, dict):
        for key in ("$ref", "component"):
            if isinstance(node.get(key), str):
                yield node[key].rpartition("/")[2]
        for value in node.values():
            yield from _references(value)
    elif isinstance(node, list):
        for value in node:
            yield from _references(value)


def _document(name: str, schema: Schema) -> str:
    """Return the definition of one type."""
    if "properties" not in schema:
        return f"{name} = {type_of(schema)}\n"
    needed = schema.get("required", ())
    members = {
        member: type_of(form) if member in needed else f"NotRequired[{type_of(form)}]"
        for member, form in schema["properties"].items()
    }
    about = schema.get("description") or f"A {name}."
    if any(map(keyword.iskeyword, members)):
        inner = ", ".join(f"{member!r}: {form}" for member, form in members.items())
        return f'{name} = TypedDict("{name}", {{{inner}}})\n"""{_words(about)}"""\n'
    lines = "\n".join(f"    {member}: {form}" for member, form in members.items())
    return f"class {name}(TypedDict):\n{_docstring(about, 4)}\n{lines}\n"


# --- calls


@dataclass(frozen=True, slots=True)
class _Argument:
    """One argument of a method: `into` says where its value goes, under which name."""

    name: str
    form: str
    is_needed: bool
    into: str
    member: str

    @property
    def declared(self) -> str:
        """What the signature has of it."""
        return f"{self.name}: {self.form}" + ("" if self.is_needed else " = None")


def _calls(documents: Documents) -> str:
    methods = []
    for route in ROUTES:
        operation = OPERATIONS[f"{route.method} {route.path}"]
        if operation.id not in WRITTEN_BY_HAND and _media_type(operation) in {_JSON, _CSV}:
            methods.append(_method(route, operation, documents))
    head = _MADE.format("A method for each call of the service.")
    signatures = re.findall(r"def .*:$", "\n".join(methods), re.MULTILINE)
    names = _used(documents, signatures)
    return "\n".join(
        (
            head,
            "from collections.abc import AsyncIterator, Mapping, Sequence",
            "from typing import Any, Literal\n",
            f"from quota_service.client.call import ({', '.join(_NAMES)})",
            f"from quota_service.client.documents import ({', '.join(names)})\n\n",
            "class Calls(CallSender):",
            f"{_docstring(_ABOUT_CALLS, 4)}\n",
            *methods,
        )
    )


def _media_type(operation: Operation) -> str:
    if isinstance(operation.answers, str):
        return _JSON
    return next(iter(operation.answers.values())).media_type


def _answer(operation: Operation) -> str:
    if isinstance(operation.answers, str):
        return operation.answers
    return next(iter(operation.answers.values())).schema or "dict[str, Any]"


def _method(route: Route, operation: Operation, documents: Documents) -> str:
    arguments = [*_arguments(route, operation, documents)]
    in_path = [each for each in arguments if each.into in _BY_POSITION]
    others = sorted(
        (each for each in arguments if each.into not in _BY_POSITION),
        key=lambda each: not each.is_needed,
    )
    signature = ", ".join(
        ["self", *(each.declared for each in in_path)]
        + (["*", *(each.declared for each in others)] if others else [])
    )
    call = [f'"{route.method}"', _address(route, others)]
    document = _body(arguments)
    if document:
        call.append(f"document={document}")
    headers = _headers(others)
    if headers:
        call.append(f"headers={headers}")
    if _is_repeatable(route, operation):
        call.append("is_repeatable=True")
    if route.is_long:
        call.append("is_long=True")
    is_file = _media_type(operation) == _CSV
    answer = "AsyncIterator[bytes]" if is_file else f"Answer[{_answer(operation)}]"
    send = "self._file" if is_file else "self._call"
    made = f"Call({', '.join(call)})"
    return (
        f"    def {operation.id}({signature}) -> {answer}:\n"
        f"{_docstring(_about(route), 8)}\n"
        f"        return {send}({made})\n"
    )


def _about(route: Route) -> str:
    refusals = ", ".join(f"`{slug}`" for slug in route.refusals if slug not in GENERAL)
    return f"{route.summary}.\n\n{route.method} {route.path}. Refusals: {refusals or 'none'}."


def _arguments(route: Route, operation: Operation, documents: Documents) -> Iterator[_Argument]:
    known = parameters()
    for name in _PLACEHOLDER.findall(route.path):
        yield _Argument(name, "str", True, "path", name)
    for key in operation.parameters:
        parameter = known[key]
        sent = str(parameter["name"])
        if sent not in _NEVER_SENT:
            form = _parameter_form(parameter["schema"])
            is_needed = bool(parameter.get("required")) and sent != "Idempotency-Key"
            form = form if is_needed else f"{form} | None"
            yield _Argument(_name(sent), form, is_needed, str(parameter["in"]), sent)
    if operation.body is None or operation.body.schema in {None, "Nothing"}:
        return
    body = documents.bodies[str(operation.body.schema)]
    if operation.body.schema == "ExamDefinition":
        yield _Argument("definition", "Mapping[str, Any]", True, "definition", "")
        return
    for member, schema in body["properties"].items():
        is_needed = member in body.get("required", ())
        form = documents.take(schema)
        if not is_needed and "None" not in form.split(" | "):
            form = f"{form} | None"
        yield _Argument(_name(member), form, is_needed, "body", member)


def _parameter_form(schema: Schema) -> str:
    if schema.get("enum") == ["true", "false"]:
        return "bool"
    return type_of(schema, is_given=True)


def _name(sent: str) -> str:
    name = sent.lower().replace("-", "_")
    return f"{name}_" if keyword.iskeyword(name) else name


def _address(route: Route, others: Iterable[_Argument]) -> str:
    query = "".join(f", {each.name}={each.name}" for each in others if each.into == "query")
    path = _PLACEHOLDER.sub(r"{quoted(\1)}", route.path)
    path = f'"{path}"' if path == route.path else f'f"{path}"'
    return f"with_query({path}{query})" if query else path


def _body(arguments: Iterable[_Argument]) -> str:
    members = [each for each in arguments if each.into in {"body", "definition"}]
    if members and members[0].into == "definition":
        return members[0].name
    needed = [f"{each.member!r}: {each.name}" for each in members if each.is_needed]
    if left := [f"{each.name}={each.name}" for each in members if not each.is_needed]:
        needed.append(f"**given({', '.join(left)})")
    return f"{{{', '.join(needed)}}}" if members else ""


def _headers(arguments: Iterable[_Argument]) -> str:
    parts, optional = [], []
    for each in arguments:
        if each.into != "header":
            continue
        if each.member == "Idempotency-Key":
            parts.append(f"{each.member!r}: {each.name} or new_idempotency_key()")
        else:
            optional.append(f"{each.member!r}: {each.name}")
    if optional:
        parts.append(f"**given(**{{{', '.join(optional)}}})")
    return f"{{{', '.join(parts)}}}" if parts else ""


def _is_repeatable(route: Route, operation: Operation) -> bool:
    has_key = any("Idempotency-Key" in name for name in operation.parameters)
    return route.method != "POST" or has_key or operation.id in REPEATABLE


# --- problems


def _problems(documents: Documents) -> str:
    members = documents.problem_members["properties"]
    classes = []
    for problem in PROBLEMS.values():
        lines = []
        for name in problem.example:
            form = type_of(members[name])
            lines.append(f"    {name}: {form + ' | None' if name in problem.optional else form}")
        classes.append(
            f"class {class_of(problem.slug)}(ProblemError):\n"
            f"{_docstring(_meaning(problem), 4)}\n\n"
            f'    slug = "{problem.slug}"\n' + "\n".join(lines) + "\n"
        )
    names = _used(documents, (type_of(form) for form in members.values()))
    return "\n".join(
        (
            _MADE.format("An exception for each problem type, with its members."),
            "from collections.abc import Mapping",
            "from typing import Literal\n",
            f"from quota_service.client.documents import ({', '.join(names)})",
            "from quota_service.client.errors import ProblemError\n\n",
            *classes,
            "\nPROBLEM_TYPES: Mapping[str, type[ProblemError]] = {",
            *(f'"{slug}": {class_of(slug)},' for slug in PROBLEMS),
            "}",
            '"""The exceptions by slug."""',
        )
    )


def _meaning(problem: ProblemType) -> str:
    """Return a docstring: the meaning where it is one line, else under the title."""
    is_short = len(problem.meaning) <= _SUMMARY_MAX
    return problem.meaning if is_short else f"{problem.title}.\n\n{problem.meaning}"


def class_of(slug: str) -> str:
    """Return the name of the exception of a problem type."""
    return "".join(word.capitalize() for word in slug.split("-"))


# --- text


def _used(documents: Documents, annotations: Iterable[str]) -> list[str]:
    """Return the names of types that annotations have."""
    words = {word for text in annotations for word in re.findall(r"\w+", text)}
    return sorted(words & documents.parts.keys())


def _words(text: str) -> str:
    return " ".join(text.split())


def _docstring(text: str, indent: int) -> str:
    """Return a docstring, its lines no longer than those of the code."""
    first, *more = [_words(part) for part in text.split("\n\n")]
    pad = " " * indent
    width = 100 - indent
    if not more and len(first) + 6 <= width:
        return f'{pad}"""{first}"""'
    parts = [_filled(first, width - 3), *(_filled(each, width) for each in more)]
    return textwrap.indent('"""' + "\n\n".join(parts) + '\n"""', pad)


def _filled(text: str, width: int) -> str:
    return textwrap.fill(text, width, break_on_hyphens=False, break_long_words=False)


if __name__ == "__main__":
    for name, text in files().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
