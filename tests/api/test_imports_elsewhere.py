"""Over HTTP too an order goes by the definition that another process has imported just now."""

import pytest

from quota_service.app.opening import open_service
from quota_service.app.upkeep import refresh_memory
from quota_service.definitions.reading import parse_exam
from quota_service.registration.import_exam import import_exam
from tests.conftest import Running
from tests.support.exams import SEATS, exam_definition

pytestmark = pytest.mark.settings(registry_refresh_s=3600)


async def test_orders_and_changes_go_by_what_was_imported_elsewhere(
    running: Running,
) -> None:
    """This process reads the exams only when Redis has told that it does not know the latest."""
    api = running.client
    held = await api.reserve("candidate-1", ("general",), ("jinan",))
    definition = exam_definition(seats={**SEATS, "xian": {"general": 2}})
    async with open_service(running.service.settings) as beside:
        await refresh_memory(beside)
        await import_exam(beside.stores.maintenance, parse_exam(definition))
        ordered = await api.reserve("candidate-2", ("general",), ("xian",))
        unknown = await api.reserve("candidate-3", ("general",), ("nowhere",))
        definition["venues"].append({"id": "wuhan", "title": {"zh": "武汉", "en": "Wuhan"}})
        definition["seats"]["wuhan"] = {"general": 1}
        await import_exam(beside.stores.maintenance, parse_exam(definition))
        moved = await api.call(
            "PUT", f"/v1/reservations/{held.json['id']}/venue", json={"venue": "wuhan"}
        )

    assert (ordered.status, ordered.json["venue"]) == (201, "xian")
    assert (unknown.status, unknown.slug) == (422, "unknown-venue")
    assert (moved.status, moved.json["venue"]) == (200, "wuhan")
