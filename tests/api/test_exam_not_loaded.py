"""One exam that cannot be loaded is named, and the others are served."""

import importlib.metadata
import io
import json
import re
import zoneinfo
from collections.abc import Iterator
from typing import Any

import pytest
import redis.asyncio

from quota_service.app.opening import open_service
from quota_service.app.upkeep import refresh_memory
from quota_service.definitions.reading import parse_exam
from quota_service.domain.definition import exam_document
from quota_service.settings import Settings
from quota_service.workers.expiry import ExpiryWorker
from tests.conftest import Running
from tests.support.command_line import CommandLine
from tests.support.exams import exam_definition, make_exam
from tests.support.lost_shards import rows
from tests.support.records import move_due_into_the_past
from tests.support.refusals import assert_refused

MARS = "jsonb_set(definition, '{time_zone}', '\"Mars/Base\"')"
EARTH = "jsonb_set(definition, '{time_zone}', '\"Asia/Shanghai\"')"


@pytest.fixture
def no_system_zones() -> Iterator[None]:
    """A host without the files of time zones."""
    zoneinfo.reset_tzpath(to=[])
    zoneinfo.ZoneInfo.clear_cache()
    yield
    zoneinfo.reset_tzpath()
    zoneinfo.ZoneInfo.clear_cache()


async def rewrite(running: Running, definition: str, exam: str = "exam-2") -> None:
    """Change a definition where it is stored, and let the service read it."""
    await rows(
        running.service,
        f"UPDATE exams SET definition = {definition}, revision = revision + 1"  # noqa: S608
        f" WHERE id = '{exam}'",
    )
    await refresh_memory(running.service)
    await running.service.stores.worker_lease.renew()
    await running.service.health.refresh()


def logged(log: io.StringIO, **members: object) -> list[dict[str, Any]]:
    parsed = [json.loads(line) for line in log.getvalue().splitlines()]
    return [line for line in parsed if members.items() <= line.items()]


async def warning_metric(running: Running, part: str) -> float | None:
    family = running.service.metrics.warnings.collect()
    values = [s.value for metric in family for s in metric.samples if s.labels == {"part": part}]
    return values[0] if values else None


async def test_an_exam_that_cannot_be_loaded_is_named_and_the_others_are_served(
    running: Running, log_lines: io.StringIO
) -> None:
    api = running.client
    await api.import_exam(exam_definition("exam-2"))

    await rewrite(running, MARS)
    served, listed = await api.reserve(), await api.get("/v1/exams", key=None)
    shown = await api.get("/v1/exams/exam-2", key=None)
    refused = await api.reserve(exam="exam-2")
    ready = await api.get("/readyz", key=None)

    assert served.status == 201
    assert [exam["id"] for exam in listed.json["exams"]] == ["exam-1"]
    for reply in (shown, refused):
        assert_refused(reply, 503, "not-ready")
    assert (ready.status, ready.json) == (200, {"status": "ok", "warnings": ["exam:exam-2"]})
    assert await warning_metric(running, "exam:exam-2") == 1
    (line,) = logged(log_lines, message="readiness warning", part="exam:exam-2")
    assert "time_zone" in line["cause"]
    assert "Mars/Base" in line["cause"]


async def test_an_exam_that_can_be_loaded_again_is_served_and_no_warning_stays(
    running: Running, log_lines: io.StringIO
) -> None:
    await running.client.import_exam(exam_definition("exam-2"))
    await rewrite(running, MARS)

    await rewrite(running, EARTH)
    ready = await running.client.get("/readyz", key=None)
    served = await running.client.reserve(exam="exam-2")

    assert served.status == 201
    assert ready.json == {"status": "ok"}
    assert await warning_metric(running, "exam:exam-2") == 0
    assert len(logged(log_lines, message="readiness warning ended", part="exam:exam-2")) == 1


async def test_holds_of_an_exam_that_cannot_be_loaded_expire_all_the_same(
    running: Running, redis_client: "redis.asyncio.Redis"
) -> None:
    service = running.service
    await running.client.import_exam(exam_definition("exam-2"))
    held = (await running.client.reserve(exam="exam-2")).json
    await move_due_into_the_past(redis_client, held["id"])

    await rewrite(running, MARS)
    counts = await ExpiryWorker(service.stores, service.settings).run_once()

    assert counts == {"expired": 1}


async def test_a_payment_for_an_exam_that_cannot_be_loaded_is_booked_once_it_can(
    running: Running,
) -> None:
    api = running.client
    await api.import_exam(exam_definition("exam-2"))
    held = (await api.reserve(exam="exam-2")).json

    await rewrite(running, MARS)
    meanwhile = await api.pay(held, event="e-1")
    await rewrite(running, EARTH)
    later = await api.pay(held, event="e-1")

    assert meanwhile.status == 503 or meanwhile.json["outcome"] == "confirmed"
    assert (later.status, later.json["outcome"]) == (200, "confirmed")


async def test_a_process_starts_beside_an_exam_that_cannot_be_loaded(
    running: Running, settings: Settings
) -> None:
    await running.client.import_exam(exam_definition("exam-2"))
    await rewrite(running, MARS)

    async with open_service(settings) as other:
        await refresh_memory(other)
        found = [exam.id for exam in other.stores.registry.all()]
        not_loaded = other.stores.registry.not_loaded()

    assert found == ["exam-1"]
    assert list(not_loaded) == ["exam-2"]


async def test_the_import_of_an_exam_that_cannot_be_loaded_says_so_and_changes_nothing(
    running: Running,
) -> None:
    await running.client.import_exam(exam_definition("exam-2"))
    await rewrite(running, MARS)
    before = await rows(running.service, "SELECT * FROM exams")

    definition = exam_definition("exam-2")
    reply = await running.client.call(
        "PUT", "/v1/exams/exam-2", key=running.client.ops_key, json=definition
    )

    assert_refused(reply, 503, "not-ready")
    assert await rows(running.service, "SELECT * FROM exams") == before


async def test_the_list_of_the_command_line_names_an_exam_that_cannot_be_loaded(
    running: Running,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    await running.client.import_exam(exam_definition("exam-2"))
    await rewrite(running, MARS)

    done = await CommandLine(settings, monkeypatch, capsys)("exam", "list")

    listed = done.printed.splitlines()
    assert [re.split("\t", line)[0] for line in listed] == ["exam-1", "exam-2"]
    assert "cannot be loaded" in listed[1]


@pytest.mark.usefixtures("no_system_zones")
def test_time_zones_are_known_on_a_host_that_has_none() -> None:
    exam = make_exam()

    assert parse_exam(exam_document(exam)) == exam
    needed = importlib.metadata.requires("quota-service") or []
    assert any(each.startswith("tzdata") and "extra" not in each for each in needed)
