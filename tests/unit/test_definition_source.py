"""The source of a draw in a definition: what it may be, and when it has to come."""

import dataclasses
from typing import Any

import pytest

from quota_service.definitions.reading import parse_exam
from quota_service.definitions.sources import parse_source
from quota_service.domain.changes import plan_changes
from quota_service.domain.definition import DefinitionError, exam_document, source_document
from quota_service.domain.exam import DrawSource, SourceKind
from quota_service.domain.timetable import contradictions
from quota_service.waiting_room.drand import QUICKNET
from tests.support.exams import exam_definition

WITHOUT = exam_definition()
CLOSE, AT = "2026-03-01T11:00:00Z", "2026-03-01T11:05:00Z"
EVENT = {"kind": "event", "entries_close_at": CLOSE, "at": AT, "description": "Lotto"}
ROUND = {"kind": "drand", "entries_close_at": CLOSE, "at": AT, "chain": "ab" * 32, "round": 7}


def definition(source: Any) -> dict[str, Any]:
    return {**WITHOUT, "waiting_room": {"source": source}}


def source_of(source: Any) -> DrawSource:
    rules = parse_exam(definition(source)).waiting_room
    assert rules is not None
    assert rules.source is not None
    return rules.source


def test_a_source_is_a_round_or_an_event_and_its_document_is_read_back() -> None:
    event, drand = source_of(EVENT), source_of(ROUND)

    assert event == DrawSource(SourceKind.EVENT, 1772362800000, 1772363100000, description="Lotto")
    assert (drand.kind, drand.chain, drand.round) == (SourceKind.DRAND, "ab" * 32, 7)
    for each in (event, drand):
        assert parse_source(source_document(each)) == each
    for given in (EVENT, ROUND):
        exam = parse_exam(definition(given))
        assert parse_exam(exam_document(exam)) == exam


def test_a_room_without_a_source_has_the_document_it_had() -> None:
    exam = parse_exam({**WITHOUT, "waiting_room": {}})
    document: Any = exam_document(exam)

    assert "source" not in document["waiting_room"]
    assert parse_exam(definition(None)) == exam


@pytest.mark.parametrize(
    ("source", "where", "why"),
    [
        (5, "waiting_room.source", "a table whose kind is drand or event"),
        ({"kind": "dice"}, "waiting_room.source", "a table whose kind is drand or event"),
        ({"kind": "event"}, "waiting_room.source.at", "is missing"),
        (EVENT | {"description": " "}, "waiting_room.source.description", "must not be empty"),
        (EVENT | {"round": 7}, "waiting_room.source.round", "unknown key"),
        (EVENT | {"at": CLOSE}, "waiting_room.source.at", "at least 60 s after"),
        (EVENT | {"at": "2026-03-01T11:00:59Z"}, "waiting_room.source.at", "at least 60 s after"),
        (ROUND | {"round": 0}, "waiting_room.source.round", "a whole number from 1"),
        (ROUND | {"chain": "AB" * 32}, "waiting_room.source.chain", "64 hex digits"),
        (ROUND | {"chain": QUICKNET}, "waiting_room.source.at", "must be 2023-08-23T15:09:45.000Z"),
    ],
)
def test_what_is_wrong_with_a_source_is_said_with_its_place(
    source: Any, where: str, why: str
) -> None:
    with pytest.raises(DefinitionError) as refused:
        parse_exam(definition(source))

    assert [each for each in refused.value.problems if each.where == where and why in each.detail]


def test_a_source_comes_before_registration_opens() -> None:
    exam = parse_exam(definition(EVENT))
    registration = dataclasses.replace(exam.registration, opens_at_ms=1772363100000)
    late = dataclasses.replace(exam, registration=registration)
    in_time = dataclasses.replace(
        exam, registration=dataclasses.replace(registration, opens_at_ms=1772363100001)
    )

    of_source = "waiting_room.source.at"
    assert of_source in {each.where for each in contradictions(late)}
    assert of_source not in {each.where for each in contradictions(in_time)}


def test_another_source_is_a_change_that_is_told_member_by_member() -> None:
    without, event = parse_exam(definition(None)), parse_exam(definition(EVENT))
    drand = parse_exam(definition(ROUND))

    added = plan_changes(without, event, {}).changes
    changed = plan_changes(event, drand, {}).changes

    assert {each.where.removeprefix("waiting_room.source.") for each in added} == set(EVENT)
    assert {each.where for each in changed} == {
        f"waiting_room.source.{name}" for name in ("kind", "description", "chain", "round")
    }
