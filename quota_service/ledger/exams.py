"""Exams and their quotas in Postgres."""

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import orjson

from quota_service.definitions.reading import parse_exam
from quota_service.domain.changes import Change
from quota_service.domain.definition import exam_document
from quota_service.domain.errors import ExamArchived, NotReady
from quota_service.domain.exam import Ceiling, Exam, Pause, Quota
from quota_service.domain.seat_release import release_from
from quota_service.ledger.pool import Ledger
from quota_service.observability.caller import Caller
from quota_service.slices import in_slices

if TYPE_CHECKING:
    from asyncpg import Record

    from quota_service.ledger.pool import Connection


_ID_KEY_BYTES = 32
_LARGE_LENGTH = 100_000
"""A definition of more characters is parsed beside the event loop."""
_QUOTAS_MAX = 5_000
"""Quotas written with one statement."""


class ShardState(StrEnum):
    """Whether a shard is served: not yet, now, or not until it is rebuilt."""

    NEW = "new"
    OPEN = "open"
    FENCED = "fenced"


@dataclass(frozen=True, slots=True)
class StoredExam:
    """An exam as Postgres keeps it, with the epoch and state of its shard.

    For a definition that this process cannot read this is the reason. What needs no definition,
    such as the expiry of holds, goes on for such an exam too.
    """

    id: str
    definition: Exam | str
    revision: int
    epoch: int
    state: ShardState
    is_retired: bool = False
    """Whether it has left Redis but for its counters."""
    id_key: bytes | None = None
    """The key of its reservation ids; None for an exam that is older than such keys."""

    @property
    def exam(self) -> Exam:
        """The definition; NotReady when it cannot be read here."""
        if isinstance(self.definition, str):
            raise NotReady(f"exam {self.id} cannot be loaded: {self.definition}")
        return self.definition


class ExamLedger:
    """Reads and writes exams. Methods with a connection belong to the caller's transaction."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._query = ledger.query

    async def fingerprint(self) -> str:
        """Return what changes with anything that `all` returns, at a hundredth of its cost."""
        rows = await self._ledger.fetch("select_exams_fingerprint")
        return str(rows[0]["fingerprint"])

    async def archived(self) -> frozenset[str]:
        """Return the ids of exams that are archived."""
        rows = await self._ledger.fetch("select_archived_exams")
        return frozenset(row["id"] for row in rows)

    async def all(self, known: Mapping[str, StoredExam]) -> dict[str, StoredExam]:
        """Return every exam; one whose revision is `known` is not read again."""
        revisions = [stored.revision for stored in known.values()]
        rows = await self._ledger.fetch("select_exams", list(known), revisions)
        return {row["id"]: await _stored(row, known.get(row["id"])) for row in rows}

    async def lock(self, connection: "Connection", exam: str) -> StoredExam | None:
        """Keep other imports of the exam out until the transaction ends; return it as stored.

        Raises ExamArchived.
        """
        await connection.execute(self._query["lock_exam"], exam)
        row = await connection.fetchrow(self._query["select_exam_for_update"], exam)
        if row is not None and row["archived"]:
            raise ExamArchived(exam)
        return None if row is None else await _stored(row)

    async def insert(self, connection: "Connection", exam: Exam) -> None:
        """Store a new exam, under its first revision, with a shard that Redis has not opened."""
        text = orjson.dumps(exam_document(exam)).decode()
        await connection.execute(
            self._query["insert_exam"], exam.id, text, secrets.token_bytes(_ID_KEY_BYTES)
        )
        await connection.execute(self._query["insert_shard"], exam.id)

    async def update(self, connection: "Connection", exam: Exam) -> Exam:
        """Store a changed definition; return it with the revision it has from now on."""
        text = orjson.dumps(exam_document(exam)).decode()
        (row,) = await connection.fetch(self._query["update_exam"], exam.id, text)
        return replace(exam, revision=row["revision"], **_set_by_ops(row))

    async def set_closed(
        self, connection: "Connection", exam: Exam, closed: frozenset[str]
    ) -> Exam:
        """Store what is closed for sale; return the exam with it and with its new revision."""
        revision = await connection.fetchval(self._query["set_closed"], exam.id, sorted(closed))
        return replace(exam, revision=revision, closed=closed)

    async def next_revision(self, connection: "Connection") -> int:
        """Return a revision that no definition has had."""
        revision: int = await connection.fetchval(self._query["next_revision"])
        return revision

    async def set_pauses(self, connection: "Connection", exam: Exam) -> None:
        """Store what is paused of an exam, its revision, and when it was resumed."""
        text = orjson.dumps(exam.pauses).decode()
        query = self._query["set_pauses"]
        await connection.execute(query, exam.id, text, exam.revision, exam.resumed_at_ms)

    async def touch(self, connection: "Connection", exam: str) -> None:
        """Let every process read an exam again: something beside its definition has changed."""
        await connection.execute(self._query["touch_exam"], exam)

    async def note_import(
        self, connection: "Connection", exam: str, by: Caller, changes: Sequence[Change]
    ) -> None:
        """Remember who made or changed a definition, and what in it."""
        listed = [[change.where, change.before, change.after] for change in changes]
        text = orjson.dumps(listed).decode()
        await connection.execute(self._query["insert_import"], exam, by.key_id, by.request_id, text)

    async def set_capacity(
        self, connection: "Connection", exam: str, capacity: Mapping[Quota, int]
    ) -> None:
        """Set the capacity of quotas; Oversold when one is below what is confirmed."""
        quotas = list(capacity.items())
        for start in range(0, len(quotas), _QUOTAS_MAX):
            page = quotas[start : start + _QUOTAS_MAX]
            await connection.execute(
                self._query["upsert_quotas"],
                exam,
                [quota.venue for quota, _ in page],
                [quota.subject for quota, _ in page],
                [seats for _, seats in page],
            )

    async def confirmed(self, connection: "Connection", exam: str) -> dict[Quota, int]:
        """Return the booked seats of every quota of an exam."""
        rows = await connection.fetch(self._query["select_quotas"], exam)
        return {
            Quota(row["venue"], row["subject"]): row["confirmed"] async for row in in_slices(rows)
        }

    async def capacity(self, connection: "Connection", exam: str) -> dict[Quota, int]:
        """Return the capacity of every quota of an exam."""
        rows = await connection.fetch(self._query["select_quotas"], exam)
        return {
            Quota(row["venue"], row["subject"]): row["capacity"] async for row in in_slices(rows)
        }

    async def set_ceilings(self, connection: "Connection", exam: Exam) -> None:
        """Set the ceilings of an exam, whose quotas are locked (`lock_quotas`) or new.

        What is booked under each is counted anew. Raises Oversold when one is below that.
        """
        await connection.execute(
            self._query["set_ceilings"],
            exam.id,
            list(exam.session_of),
            list(exam.session_of.values()),
            [venue for venue, _ in exam.ceilings],
            [session for _, session in exam.ceilings],
            list(exam.ceilings.values()),
        )

    async def lock_quotas(self, connection: "Connection", exam: str) -> None:
        """Let nobody else count in the quotas of an exam until the transaction ends."""
        await connection.execute(self._query["lock_quotas"], exam)

    async def ceilings(self, connection: "Connection", exam: str) -> list[Ceiling]:
        """Return the ceilings of an exam."""
        rows = await connection.fetch(self._query["select_ceilings"], exam)
        return [
            Ceiling(row["venue"], row["session"], row["seats"], tuple(row["subjects"]))
            for row in rows
        ]

    async def mark_open(self, connection: "Connection", exam: str) -> None:
        """Let its shard be served from the transaction's end on."""
        await connection.execute(self._query["mark_shard_open"], exam)


async def _stored(row: "Record", before: StoredExam | None = None) -> StoredExam:
    text, revision = row["definition"], row["revision"]
    if before is not None and before.revision == revision:
        definition = before.definition
    elif (
        len(text) + len(row["announced"]) > _LARGE_LENGTH
    ):  # seconds, in which requests have to be answered
        definition = await asyncio.to_thread(_definition, text, revision, row["announced"])
    else:
        definition = _definition(text, revision, row["announced"])
    if isinstance(definition, Exam):
        set_by_ops = _set_by_ops(row)
        if any(getattr(definition, name) != value for name, value in set_by_ops.items()):
            definition = replace(definition, **set_by_ops)
    return StoredExam(
        row["id"],
        definition,
        row["revision"],
        row["epoch"],
        ShardState(row["state"]),
        row["is_retired"],
        row["id_key"],
    )


def _set_by_ops(row: "Record") -> dict[str, Any]:
    """Return the members of an exam that no definition has."""
    return {
        "closed": frozenset(row["closed"]),
        "pauses": tuple(Pause(**pause) for pause in orjson.loads(row["pauses"])),
        "resumed_at_ms": row["resumed_at_ms"],
    }


def _definition(text: str, revision: int, announced: str) -> Exam | str:
    """Return the exam of a stored definition, or why it cannot be read."""
    try:
        releases = tuple(release_from(each) for each in orjson.loads(announced))
        exam = parse_exam(orjson.loads(text))
        return replace(exam, revision=revision, announced=releases)
    except Exception as error:  # noqa: BLE001  whatever it is, the other exams are served
        return f"{type(error).__name__}: {error}"
