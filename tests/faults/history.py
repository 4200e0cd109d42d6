"""The history of a round: every call and how it ended, appended to a file as it happens.

A call is `ok`, `refused` or `unknown`. Unknown is not failed: a timeout, a reset or a 503 says
nothing about whether the call had its effect. A call without an end in the file is unknown too.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, TextIO


class Kind(StrEnum):
    OK = "ok"
    REFUSED = "refused"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Answer:
    """How a call ended: HTTP status (0: none came), the problem's slug or the fault, the body."""

    kind: Kind
    status: int = 0
    slug: str = ""
    body: Any = None

    @property
    def is_ok(self) -> bool:
        return self.kind is Kind.OK

    @property
    def is_unknown(self) -> bool:
        return self.kind is Kind.UNKNOWN


class History:
    """Writes the file; each line leaves the process before the call it tells of goes on."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: TextIO = path.open("w", encoding="utf-8")
        self._count = 0

    @property
    def count(self) -> int:
        """How many calls were invoked."""
        return self._count

    def invoked(self, op: str, args: Mapping[str, Any]) -> int:
        self._count += 1
        self._write({"n": self._count, "is": "invoked", "op": op, "args": args})
        return self._count

    def ended(self, number: int, answer: Answer) -> None:
        told = {"status": answer.status, "slug": answer.slug, "body": answer.body}
        self._write({"n": number, "is": answer.kind, **told})

    def close(self) -> None:
        self._file.close()

    def _write(self, line: Mapping[str, Any]) -> None:
        self._file.write(json.dumps({"at_ms": now_ms(), **line}) + "\n")
        self._file.flush()


@dataclass(slots=True)
class Call:
    """One call as the file tells it; `ended_ms` None while, or for ever, it is under way."""

    number: int
    op: str
    args: dict[str, Any]
    invoked_ms: int
    ended_ms: int | None = None
    answer: Answer = field(default_factory=lambda: Answer(Kind.UNKNOWN, slug="no end"))


def read_history(path: Path) -> list[Call]:
    """Return every call of a file, in the order of their beginnings."""
    calls: dict[int, Call] = {}
    with path.open(encoding="utf-8") as lines:
        for text in lines:
            line = json.loads(text)
            if line["is"] == "invoked":
                calls[line["n"]] = Call(line["n"], line["op"], line["args"], line["at_ms"])
                continue
            call = calls[line["n"]]
            call.ended_ms = line["at_ms"]
            call.answer = Answer(Kind(line["is"]), line["status"], line["slug"], line["body"])
    return list(calls.values())


def now_ms() -> int:
    return round(time.time() * 1000)
