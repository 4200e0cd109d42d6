"""The limit on request bodies, however they are sent."""

import json
from typing import Any

import pytest

from tests.api.conftest import NothingChanges
from tests.support.client import ApiClient
from tests.support.raw_http import exchange, request, status
from tests.support.refusals import ORDER, RESERVATIONS, assert_refused, order

BODY_MAX = 16_384


async def test_a_body_of_exactly_the_limit_is_taken(api: ApiClient) -> None:
    body = json.dumps(ORDER).encode().ljust(BODY_MAX)

    told = await order(api, body)
    chunked = await api.call(
        "POST", RESERVATIONS, data=_pieces(body), headers={"Idempotency-Key": "key-a"}
    )

    assert (told.status, chunked.status) == (201, 201)


@pytest.mark.parametrize("size", [BODY_MAX + 1, 10 * BODY_MAX, 200 * BODY_MAX])
async def test_a_body_over_the_limit_is_too_large_however_it_is_sent(
    api: ApiClient, nothing_changes: NothingChanges, size: int
) -> None:
    body = json.dumps(ORDER).encode().ljust(size)
    key = f"Authorization: Bearer {api.frontend_key}"

    async with nothing_changes():
        told = await exchange(
            api.url, request("POST", RESERVATIONS, key, "Idempotency-Key: a", body=body)
        )
        chunked = await exchange(
            api.url,
            request("POST", RESERVATIONS, key, "Idempotency-Key: a", "Transfer-Encoding: chunked")
            + b"%x\r\n%s\r\n0\r\n\r\n" % (size, body),
        )
        callback = await api.callback(body[: BODY_MAX + 1])

    for answer in (told, chunked):
        assert status(answer) == 413
        assert b"/problems/payload-too-large" in answer
    assert_refused(callback, 413, "payload-too-large")
    assert callback.json["max_bytes"] == BODY_MAX


async def _pieces(body: bytes) -> Any:
    """Yield a body in pieces, so that its length is not told."""
    for i in range(0, len(body), 4000):
        yield body[i : i + 4000]
