"""The limit on request bodies, however they are sent."""

import io
import json
from pathlib import Path
from typing import Any

import pytest

from quota_service.definitions.files import MAX_FILE_BYTES, load_exam_file
from quota_service.domain.definition import DefinitionError
from tests.api.conftest import NothingChanges
from tests.support.client import ApiClient
from tests.support.exams import exam_definition
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


@pytest.mark.settings(shutdown_drain_s=0.1)  # the rest of a refused body is waited for otherwise
async def test_a_definition_as_large_as_a_file_may_be_is_taken_and_a_larger_one_is_not(
    api: ApiClient, nothing_changes: NothingChanges
) -> None:
    definition = json.dumps(exam_definition("exam-2")).encode()
    larger = definition.ljust(MAX_FILE_BYTES + 1)
    path, ops = "/v1/exams/exam-2", api.ops_key

    async with nothing_changes():
        too_large = await api.call("PUT", path, key=ops, data=io.BytesIO(larger))
        too_large_in_pieces = await api.call("PUT", path, key=ops, data=_pieces(larger))
        by_a_frontend = await api.call("PUT", path, data=io.BytesIO(larger))
    taken = await api.call("PUT", path, key=ops, data=_pieces(larger[:-1]))

    for reply in (too_large, too_large_in_pieces):
        assert_refused(reply, 413, "payload-too-large")
        assert reply.json["max_bytes"] == MAX_FILE_BYTES
    assert by_a_frontend.status == 403
    assert taken.status == 201, taken


@pytest.mark.parametrize("path", ["/v1/exams/exam-1", "/v1/exams/exam-1/availability"])
async def test_a_call_that_takes_no_body_refuses_one_over_the_limit_as_any_other(
    api: ApiClient, path: str
) -> None:
    small = await api.get(path, data=b" " * BODY_MAX)
    large = await api.get(path, data=b" " * (BODY_MAX + 1))

    assert small.status == 200
    assert_refused(large, 413, "payload-too-large")


@pytest.mark.parametrize(
    ("twice", "key"),
    [(b'"id":"exam-2","id":"exam-2",', "id"), (b'"fee":{"amount":1,"amount":2},', "amount")],
)
async def test_a_definition_that_gives_a_key_twice_is_refused_as_a_file_is(
    api: ApiClient, nothing_changes: NothingChanges, tmp_path: Path, twice: bytes, key: str
) -> None:
    body = b"{" + twice + json.dumps(exam_definition("exam-2")).encode()[1:]
    file = tmp_path / "exam.json"
    file.write_bytes(body)

    async with nothing_changes():
        reply = await api.call("PUT", "/v1/exams/exam-2", key=api.ops_key, data=body)
    with pytest.raises(DefinitionError, match=f"the key '{key}' is duplicated"):
        load_exam_file(file)

    assert_refused(reply, 422, "definition-refused")
    assert f"the key '{key}' is duplicated" in reply.json["errors"][0]["detail"]


async def test_a_definition_that_is_nested_too_deeply_is_refused(
    api: ApiClient, nothing_changes: NothingChanges
) -> None:
    body = b'{"a":' * 1000 + b"1" + b"}" * 1000

    async with nothing_changes():
        reply = await api.call("PUT", "/v1/exams/exam-2", key=api.ops_key, data=body)

    assert_refused(reply, 422, "definition-refused")


async def _pieces(body: bytes) -> Any:
    """Yield a body in pieces, so that its length is not told."""
    size = len(body) // 4
    for i in range(0, len(body), size):
        yield body[i : i + size]
