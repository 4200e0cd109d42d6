"""Ids of reservations: nobody can compute one, all processes make the same, old ones stay valid."""

import pytest

from quota_service.app.opening import open_service
from quota_service.app.upkeep import refresh_memory
from quota_service.domain.reservation import derive_serial
from quota_service.registration.reserve import Order, reserve
from quota_service.settings import Settings
from tests.conftest import Running
from tests.support.client import ApiClient
from tests.support.evidence import Evidence
from tests.support.exams import exam_definition


async def test_who_knows_exam_candidate_and_key_cannot_compute_the_id(api: ApiClient) -> None:
    await api.import_exam(exam_definition("exam-2"))

    here = (await api.reserve("c-1", idempotency_key="key-a")).json["id"]
    there = (await api.reserve("c-1", exam="exam-2", idempotency_key="key-a")).json["id"]

    for exam, made in (("exam-1", here), ("exam-2", there)):
        assert made != f"{exam}.0.{derive_serial(None, exam, 'c-1', 'key-a')}"
        assert made != f"{exam}.0.{derive_serial(bytes(32), exam, 'c-1', 'key-a')}"


async def test_every_process_makes_the_same_id_and_an_import_changes_none(
    running: Running, settings: Settings
) -> None:
    api = running.client
    first = await api.reserve("c-1", venues=("tianjin",), idempotency_key="key-a")
    changed = exam_definition()
    changed["title"] = {"zh": "另一个", "en": "Another"}
    assert (await api.import_exam(changed)).json["changes"]

    async with open_service(settings) as other:
        await refresh_memory(other)
        order = Order("c-1", ("general",), ("tianjin",), "2023-1")
        again = await reserve(other.stores.reservations, "exam-1", order, "key-a")

    assert (again.reservation.id, again.replayed) == (first.json["id"], True)


@pytest.mark.usefixtures("service")
async def test_an_exam_that_is_older_than_such_keys_goes_on_with_the_ids_it_has(
    evidence: Evidence, settings: Settings
) -> None:
    await evidence.rows("UPDATE exams SET id_key = NULL")
    order = Order("c-1", ("general",), ("tianjin",), "2023-1")
    async with open_service(settings) as upgraded:
        await refresh_memory(upgraded)

        made = [
            await reserve(upgraded.stores.reservations, "exam-1", order, "key-a") for _ in range(2)
        ]

    plain = f"exam-1.0.{derive_serial(None, 'exam-1', 'c-1', 'key-a')}"
    assert [each.reservation.id for each in made] == [plain, plain]
    assert [each.replayed for each in made] == [False, True]
