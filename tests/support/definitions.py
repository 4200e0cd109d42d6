"""A small definition of an exam, ways to spoil it, and what reading it finds wrong."""

import json
from pathlib import Path
from typing import Any

import pytest

from quota_service.definitions.files import load_exam_file
from quota_service.definitions.reading import parse_exam
from quota_service.domain.definition import DefinitionError, Problem

Document = dict[str, Any]


def document() -> Document:
    """Return a small definition that is right; each test spoils its own copy."""
    return {
        "id": "spring",
        "title": {"zh": "春季考试", "en": "Spring exam"},
        "time_zone": "Asia/Shanghai",
        "registration": {"opens_at": "2023-03-14T12:00:00", "closes_at": "2023-03-22T12:00:00"},
        "refund": {
            "opens_at": "2023-03-14T12:00:00+08:00",
            "closes_at": "2023-03-22T04:00:00.000Z",
        },
        "fee": {"amount": 8000, "currency": "CNY"},
        "hold": {"ttl_s": 900, "checkout_grace_s": 300, "expiry_slack_s": 2},
        "notice": {"version": "v1", "text": {"zh": "须知\n第二行", "en": "Notice\nline two"}},
        "sessions": [
            {
                "id": "am",
                "title": {"zh": "上午", "en": "Morning"},
                "starts_at": "2023-05-20T09:00:00",
                "ends_at": "2023-05-20T11:00:00",
            },
            {
                "id": "pm",
                "title": {"zh": "下午", "en": "Afternoon"},
                "starts_at": "2023-05-20T14:00:00",
                "ends_at": "2023-05-20T16:00:00",
            },
        ],
        "subjects": [
            {"id": "general", "title": {"zh": "基础", "en": "General"}, "session": "am"},
            {"id": "qms", "title": {"zh": "质量", "en": "QMS"}, "session": "pm"},
        ],
        "venues": [
            {"id": "jinan", "title": {"zh": "济南", "en": "Jinan"}},
            {"id": "hefei", "title": {"zh": "合肥", "en": "Hefei"}},
        ],
        "seats": {"jinan": {"general": 10, "qms": 5}, "hefei": {"general": 0}},
    }


def spoil(path: str, value: object) -> Document:
    """Return the right definition with the member at `a.b.0.c` set to `value`."""
    whole = document()
    parent, last = _member(whole, path)
    parent[last] = value
    return whole


def without(path: str) -> Document:
    """Return the right definition without the member at `a.b.0.c`."""
    whole = document()
    parent, last = _member(whole, path)
    del parent[last]
    return whole


def _member(whole: Document, path: str) -> tuple[Any, str | int]:
    """Return the table or list that a member is in, and its key or position there."""
    *parents, last = path.split(".")
    parent: Any = whole
    for part in parents:
        parent = parent[_key(parent, part)]
    return parent, _key(parent, last)


def _key(parent: object, part: str) -> str | int:
    return int(part) if isinstance(parent, list) else part


def problems_of(raw: Any) -> tuple[Problem, ...]:
    with pytest.raises(DefinitionError) as caught:
        parse_exam(raw)
    return caught.value.problems


def places_of(raw: Any) -> list[str]:
    return [problem.where for problem in problems_of(raw)]


def shortly(value: object) -> str:
    """Name a case of a parametrized test."""
    return repr(value)[:40]


def write_definition(folder: Path, raw: Document) -> Path:
    path = folder / "spring.json"
    path.write_text(json.dumps(raw, ensure_ascii=False), encoding="utf-8")
    return path


def write_with_csv(folder: Path, csv: str) -> Path:
    (folder / "seats.csv").write_text(csv, encoding="utf-8")
    return write_definition(folder, {**without("seats"), "seats_csv": "seats.csv"})


def file_problems_of(path: Path) -> tuple[Problem, ...]:
    with pytest.raises(DefinitionError) as caught:
        load_exam_file(path)
    return caught.value.problems
