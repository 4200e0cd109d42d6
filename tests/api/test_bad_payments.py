"""A payment callback that is signed well and says something that cannot be."""

import json
from typing import Any

import pytest

from tests.api.conftest import NothingChanges
from tests.support.client import ApiClient
from tests.support.refusals import PAYMENT, assert_refused


@pytest.mark.parametrize(
    ("member", "values"),
    [
        ("reservation", [None, 1, "", "r" * 256, "a\x00", "a\nb", ["r"]]),
        ("status", [None, "voided", "CAPTURED", "", 1, True, [], {}]),
        ("amount", [None, "8000", 8000.0, 8e3, True, -1, 10**12 + 1, 2**64, 10**30, [8000]]),
        ("currency", [None, 156, "", "cny", "CN", "CNYY", "C1Y", "C-Y", "ＣＮＹ"]),
        (
            "paid_at",
            [
                None,
                1767323045,
                "",
                "yesterday",
                "2026-01-02",
                "2026-01-02T03:04:05",
                "2026-01-02 03:04:05Z",
                "2026-01-02T03:04Z",
                "2026-02-30T03:04:05Z",
                "2026-01-02T24:00:00Z",
                "2026-01-02T03:04:05+24:00",
                "2026-01-02T03:04:05Z\n",
                "0001-01-01T00:00:00+23:59",
                "9999-12-31T23:59:59-23:59",
                "２０２６-01-02T03:04:05Z",
            ],
        ),
        ("provider_reference", [None, 1, "", "p" * 256, "a\x00", "a\tb", {}]),
    ],
)
async def test_a_callback_with_a_member_of_the_wrong_kind_is_refused_by_its_name(
    api: ApiClient,
    nothing_changes: NothingChanges,
    subtests: pytest.Subtests,
    member: str,
    values: list[Any],
) -> None:
    held = await api.reserve()
    payment = {**PAYMENT, "reservation": held.json["id"]}

    async with nothing_changes():
        for value in values:
            with subtests.test(value=str(value)[:30]):
                reply = await api.callback(json.dumps({**payment, member: value}).encode())
                assert_refused(reply, 422, "invalid-request", member)


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        ("2026-01-02T03:04:05.678Z", "2026-01-02T03:04:05.678Z"),
        ("2026-01-02T11:04:05.678+08:00", "2026-01-02T03:04:05.678Z"),
        ("2026-01-02t03:04:05z", "2026-01-02T03:04:05.000Z"),
        ("2026-01-02T03:04:05.123456789Z", "2026-01-02T03:04:05.123Z"),
        ("9999-12-31T23:59:59.999999999Z", "9999-12-31T23:59:59.999Z"),
        ("1970-01-01T00:00:00Z", "1970-01-01T00:00:00.000Z"),
    ],
)
async def test_a_time_with_any_offset_and_precision_is_shown_in_utc_with_milliseconds(
    api: ApiClient, told: str, shown: str
) -> None:
    held = await api.reserve()

    paid = await api.pay(held.json, paid_at=told)
    seen = await api.get(f"/v1/reservations/{held.json['id']}")

    assert paid.json["outcome"] == "confirmed"
    assert seen.json["payment"]["paid_at"] == shown
