"""How long a request waits for the stores: a limit for all, and none for the audit."""

import asyncio

import pytest

from quota_service.settings import Settings
from tests.conftest import Running
from tests.support.bookings import book
from tests.support.ledger_locks import bookings_held, waits
from tests.support.use_cases import hold
from tests.support.waiting import eventually


@pytest.mark.settings(request_timeout_s=0.2)
async def test_an_audit_is_waited_for_longer_than_other_calls(
    running: Running, settings: Settings
) -> None:
    api = running.client
    await book(running.service)
    unpaid = await hold(running.service, "candidate-2")

    async with bookings_held(settings) as holder:
        auditing = asyncio.create_task(api.get("/v1/exams/exam-1/audit", key=api.ops_key))
        await eventually(lambda: waits(holder))
        began_later = await api.pay(unpaid.id)
    audited = await auditing

    assert (began_later.status, began_later.slug) == (503, "not-ready")
    assert (audited.status, audited.json["clean"]) == (200, True)
