"""API keys: who may call what, and that a refusal tells nothing about its cause."""

import asyncio
import io
import secrets
from collections.abc import Mapping

import pytest

from quota_service.embedded import EmbeddedPostgres
from quota_service.ledger.api_keys import KEY_SCOPES, PREFIX, Scope, split_key
from tests.api.conftest import NothingChanges
from tests.conftest import Running
from tests.support.client import ApiClient, Reply
from tests.support.exams import exam_definition
from tests.support.patience import LIMIT_S
from tests.support.raw_http import exchange, request, status
from tests.support.servers import paused
from tests.support.waiting import eventually

BEHIND_FRONTEND_KEY = [
    ("POST", "/v1/exams/exam-1/reservations"),
    ("DELETE", "/v1/reservations/exam-1.0.aaaaaaaaaaaaaaaaaaaaaaaa"),
    ("POST", "/v1/reservations/exam-1.0.aaaaaaaaaaaaaaaaaaaaaaaa/checkout"),
]
BEHIND_EITHER_KEY = [
    ("GET", "/v1/reservations/exam-1.0.aaaaaaaaaaaaaaaaaaaaaaaa"),
    ("HEAD", "/v1/reservations/exam-1.0.aaaaaaaaaaaaaaaaaaaaaaaa"),
    ("GET", "/v1/exams/exam-1/candidates/candidate-1"),
]
BEHIND_OPS_KEY = [("PUT", "/v1/exams/exam-2")]
PUBLIC = ["/v1/exams", "/v1/exams/exam-1", "/v1/exams/exam-1/availability", "/livez", "/readyz"]


def told(reply: Reply) -> tuple[int, Mapping[str, str], bytes]:
    """Return all that an answer tells but the time and the request's id."""
    its_own = {"Date", "X-Request-ID"}
    headers = {name: value for name, value in reply.headers.items() if name not in its_own}
    return reply.status, headers, reply.body


async def ask(api: ApiClient, authorization: str | None) -> Reply:
    headers = {} if authorization is None else {"Authorization": authorization}
    path = "/v1/reservations/exam-1.0.aaaaaaaaaaaaaaaaaaaaaaaa"
    return await api.call("GET", path, key=None, headers=headers)


async def test_a_refused_key_is_answered_the_same_whatever_is_wrong_with_it(
    running: Running,
) -> None:
    api = running.client
    key = api.frontend_key
    key_id, secret = split_key(key) or ("", "")
    revoked = await running.service.key_ledger.create("revoked", frozenset({Scope.FRONTEND}))
    await running.service.key_ledger.revoke((split_key(revoked) or ("", ""))[0])
    await running.service.keys.refresh()
    wrong = [
        None,
        "",
        "Bearer",
        "Bearer ",
        f"Basic {key}",
        key,
        f"Bearer{key}",
        f"Bearer {key}x",
        f"Bearer {key[:-1]}",
        f"Bearer {key} {key}",
        f"Bearer {key}\u00a0",
        f"Bearer {PREFIX}",
        f"Bearer {PREFIX}{key_id}",
        f"Bearer {PREFIX}{key_id}_",
        f"Bearer {PREFIX}{key_id}_{secrets.token_urlsafe(32)}",
        f"Bearer {PREFIX}000000000000_{secret}",
        f"Bearer {PREFIX}{key_id}_{secret.swapcase()}",
        f"Bearer {PREFIX}{key_id}_é",
        f"Bearer {revoked}",
        "Bearer " + "x" * 4000,
    ]

    replies = [await ask(api, authorization) for authorization in wrong]

    first = replies[0]
    assert (first.status, first.slug) == (401, "unauthorized")
    assert first.headers["WWW-Authenticate"] == "Bearer"
    assert [told(reply) for reply in replies] == [told(first)] * len(wrong)
    assert (await ask(api, f"Bearer {key}")).status == 404
    assert (await ask(api, f"bearer {key}")).status == 404


@pytest.mark.parametrize("secret", ["\udcff", "\udced\udca0\udc80", "\udcff" * 40])
async def test_a_key_of_bytes_that_are_no_text_is_refused_as_any_other(
    api: ApiClient, secret: str
) -> None:
    key_id, _ = split_key(api.frontend_key) or ("", "")
    path = "/v1/reservations/exam-1.0.aaaaaaaaaaaaaaaaaaaaaaaa"

    answers = [
        await exchange(api.url, request("GET", path, f"Authorization: Bearer {PREFIX}{x}_{secret}"))
        for x in (key_id, "nobody", secret)
    ]

    assert [status(answer) for answer in answers] == [401, 401, 401]


async def test_every_call_behind_a_key_refuses_before_it_looks_at_anything_else(
    api: ApiClient, nothing_changes: NothingChanges
) -> None:
    async with nothing_changes():
        without = [
            await api.call(method, path, key=None, data=b"{")
            for method, path in BEHIND_FRONTEND_KEY + BEHIND_OPS_KEY + BEHIND_EITHER_KEY
        ]
        wrong_scope = [
            await api.call(method, path, key=api.ops_key, data=b"{")
            for method, path in BEHIND_FRONTEND_KEY
        ]
        wrong_scope += [await api.call(method, path, data=b"{") for method, path in BEHIND_OPS_KEY]

    assert {reply.status for reply in without} == {401}
    assert {reply.status for reply in wrong_scope} == {403}
    bodies = {reply.body for reply in wrong_scope if reply.body}
    assert len(bodies) == 1
    assert wrong_scope[0].slug == "forbidden"


async def test_public_calls_need_no_key_and_mind_no_wrong_one(api: ApiClient) -> None:
    for path in PUBLIC:
        without = await api.get(path, key=None)
        wrong = await api.get(path, key="nonsense")

        assert (without.status, wrong.status) == (200, 200), path


async def test_a_key_of_both_scopes_may_do_both(running: Running) -> None:
    api = running.client
    key = await running.service.key_ledger.create("both", KEY_SCOPES)
    await running.service.keys.refresh()

    imported = await api.call("PUT", "/v1/exams/exam-2", key=key, json=exam_definition("exam-2"))
    seen = await api.get("/v1/exams/exam-2/candidates/candidate-1", key=key)

    assert (imported.status, seen.status) == (201, 200)


async def test_new_keys_work_and_revoked_ones_die_with_the_next_refresh(running: Running) -> None:
    api, ledger = running.client, running.service.key_ledger
    key = await ledger.create("short-lived", frozenset({Scope.FRONTEND}))

    async def works() -> bool:
        return (await ask(api, f"Bearer {key}")).status == 404

    async def is_refused() -> bool:
        return (await ask(api, f"Bearer {key}")).status == 401

    await eventually(works)
    assert await ledger.revoke((split_key(key) or ("", ""))[0])
    await eventually(is_refused)

    assert (await ask(api, f"Bearer {api.frontend_key}")).status == 404


async def test_no_request_waits_for_postgres_to_check_its_key_or_to_reserve(
    running: Running, postgres_server: EmbeddedPostgres
) -> None:
    api = running.client

    with paused(postgres_server):
        async with asyncio.timeout(LIMIT_S / 2):  # who waits for Postgres waits for longer
            refused = await ask(api, f"Bearer {api.frontend_key}x")
            forbidden = await api.call("POST", "/v1/exams/exam-1/reservations", key=api.ops_key)
            held = await api.reserve()
            again = await api.reserve("candidate-2", ("service",), ("beijing",))
            seen = await api.get(f"/v1/reservations/{held.json['id']}")
            checkout = f"/v1/reservations/{held.json['id']}/checkout"
            checked_out = await api.call("POST", checkout)
            released = await api.call("DELETE", f"/v1/reservations/{held.json['id']}")
            left = await api.remaining("jinan", "general")

    statuses = [r.status for r in (refused, forbidden, held, again, seen, checked_out, released)]
    assert statuses == [401, 403, 201, 201, 200, 200, 200]
    assert left == 3


async def test_keys_are_stored_as_hashes_only(running: Running) -> None:
    keys = await running.service.key_ledger.all()

    secret = (split_key(running.client.frontend_key) or ("", ""))[1]
    assert len(keys) == 2
    assert secret not in repr(keys)
    assert len(secret) >= 43, "256 bits in base64"


async def test_no_key_ever_reaches_the_logs(running: Running, log_lines: io.StringIO) -> None:
    api = running.client
    header = f"Authorization: Bearer {api.frontend_key}"
    path = "/v1/exams/exam-1/candidates/candidate-1"

    good = await api.get(path)
    token = await api.token()
    assert (await api.get(path, key=token)).status == 200
    assert (await api.get(f"{path}0", key=token)).status == 403
    assert (await api.get(path, key=f"{token}x")).status == 401
    wrong = await api.get(path, key=f"{api.frontend_key}x")
    forbidden = await api.call("POST", "/v1/exams/exam-1/reservations", key=api.ops_key)
    broken = [
        await exchange(api.url, request("GET", path, header.replace(":", " :"))),
        await exchange(api.url, request("GET", path, header + "\x00")),
        await exchange(api.url, request("GET", path, header.replace(": ", " "))),
        await exchange(api.url, request("GET", path, f"{header}{'x' * 20_000}")),
        await exchange(api.url, header.encode() + b"\r\n\r\n"),
    ]

    assert (good.status, wrong.status, forbidden.status) == (200, 401, 403)
    assert [status(answer) for answer in broken] == [400] * len(broken)
    logged = log_lines.getvalue()
    assert '"message":"malformed"' in logged
    for key in (api.frontend_key, api.ops_key):
        assert (split_key(key) or ("", ""))[1] not in logged
    assert token.rpartition(".")[2] not in logged
