"""Candidate tokens: who gets one, what ends it, and that none can be made up."""

import base64
import hmac
import time
from typing import Any

import jwt
import orjson
import pytest

from quota_service.api.tokens import TTL_MAX_S, NotAToken, TokenSecrets
from quota_service.client.webhooks import SECRET_PREFIX
from quota_service.embedded import EmbeddedPostgres, EmbeddedRedis
from quota_service.ledger.api_keys import Scope, split_key
from quota_service.settings import SettingsError
from quota_service.workers.journal_drain import JournalDrainWorker
from tests.api.conftest import NothingChanges
from tests.conftest import Running
from tests.support.client import TOKEN_SECRET, TOKEN_SECRETS, ApiClient, Reply
from tests.support.exams import exam_definition
from tests.support.refusals import assert_refused
from tests.support.servers import paused

TOKENS = "/v1/candidate-tokens"
WANTED = {"exam": "exam-1", "candidate": "candidate-1", "ttl_s": 60}
MINE = "/v1/exams/exam-1/candidates/candidate-1"


async def ask(api: ApiClient, key: str = "", **members: Any) -> Reply:
    return await api.call("POST", TOKENS, key=key, json={**WANTED, **members})


def unsigned(part: Any) -> str:
    return base64.urlsafe_b64encode(orjson.dumps(part)).decode().rstrip("=")


async def test_a_token_lets_a_candidate_do_its_whole_registration(running: Running) -> None:
    api = running.client
    made = await ask(api)
    token = made.json.pop("token")

    order = {
        "candidate": "candidate-1",
        "subjects": ["general"],
        "venues": ["tianjin"],
        "accepted_notice": "2023-1",
    }
    held = await api.call(
        "POST",
        "/v1/exams/exam-1/reservations",
        key=token,
        json=order,
        headers={"Idempotency-Key": "key-t"},
    )
    path = f"/v1/reservations/{held.json['id']}"
    checked_out = await api.call("POST", f"{path}/checkout", key=token)
    moved = await api.call("PUT", f"{path}/venue", key=token, json={"venue": "jinan"})
    paid = await api.pay(moved.json)
    seen = await api.get(path, key=token)
    await JournalDrainWorker(
        running.service.stores.maintenance, running.service.settings
    ).run_once()
    mine = await api.get(MINE, key=token)
    refunded = await api.call("POST", f"{path}/refund", key=token)

    assert made.status == 201
    assert made.headers["Cache-Control"] == "no-store"
    assert {name: made.json[name] for name in ("exam", "candidate")} == {
        "exam": "exam-1",
        "candidate": "candidate-1",
    }
    replies = (checked_out, moved, paid, seen, mine, refunded)
    assert (held.status, [reply.status for reply in replies]) == (201, [200] * 6)
    assert refunded.json["state"] == "refunded"
    key_id, _ = split_key(api.frontend_key) or ("", "")
    assert mine.json["reservations"][0]["history"][0]["key_id"] == key_id


@pytest.mark.parametrize(
    ("members", "field"),
    [
        ({"ttl_s": 0}, "ttl_s"),
        ({"ttl_s": TTL_MAX_S + 1}, "ttl_s"),
        ({"ttl_s": 60.0}, "ttl_s"),
        ({"candidate": "a b"}, "candidate"),
        ({"exam": ""}, "exam"),
        ({"scope": "ops"}, "scope"),
    ],
)
async def test_what_is_wrong_with_a_request_for_a_token_is_named(
    api: ApiClient, members: Any, field: str
) -> None:
    assert_refused(await ask(api, **members), 422, "invalid-request", field)


async def test_no_token_is_made_for_an_unknown_exam_or_a_resident_id(api: ApiClient) -> None:
    assert_refused(await ask(api, exam="exam-9"), 404, "unknown-exam")
    assert_refused(
        await ask(api, candidate="11010519491231002X"), 422, "national-id-refused", "candidate"
    )


async def test_a_key_makes_tokens_for_its_own_exams_alone(running: Running) -> None:
    api, ledger = running.client, running.service.key_ledger
    await api.import_exam(exam_definition("exam-2"))
    mine = await ledger.create("bound", frozenset({Scope.FRONTEND}), frozenset({"exam-2"}))
    await running.service.keys.refresh()

    for exam in ("exam-1", "exam-9"):
        assert_refused(await ask(api, mine, exam=exam), 403, "forbidden")
    assert (await ask(api, mine, exam="exam-2")).status == 201
    for key in (api.ops_key, await api.token()):
        assert_refused(await ask(api, key), 403, "forbidden")


@pytest.mark.settings(candidate_token_secrets="")
async def test_a_service_without_a_secret_makes_no_tokens_and_takes_none(api: ApiClient) -> None:
    _, made_up = TokenSecrets(TOKEN_SECRETS).write("exam-1", "candidate-1", "k", 0, TTL_MAX_S)

    assert_refused(await ask(api), 409, "candidate-tokens-off")
    assert_refused(await api.get(MINE, key=made_up), 401, "unauthorized")


def sign_text(signed: str) -> str:
    signature = hmac.digest(TOKEN_SECRET, signed.encode(), "sha256")
    return f"{signed}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"


def test_a_token_is_a_jwt_as_others_read_it() -> None:
    token, text = TokenSecrets(TOKEN_SECRETS).write(
        "exam-1", "c-1", "0f3a9c", 1_764_409_000_123, 60
    )

    told = jwt.decode(
        text,
        TOKEN_SECRET,
        algorithms=["HS256"],
        issuer="quota-service",
        options={"verify_exp": False},
    )

    assert told == {
        "iss": "quota-service",
        "sub": "c-1",
        "exam": "exam-1",
        "jti": token.id,
        "key": "0f3a9c",
        "iat": 1_764_409_000.123,
        "exp": 1_764_409_060.123,
    }
    assert TokenSecrets(TOKEN_SECRETS).read(text) == token


async def test_a_token_that_is_wrong_in_any_part_is_refused_as_a_wrong_key_is(
    api: ApiClient, nothing_changes: NothingChanges
) -> None:
    token = await api.token()
    claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    name = jwt.get_unverified_header(token)["kid"]

    def signed(secret: bytes = TOKEN_SECRET, kid: str = name, **changes: Any) -> str:
        told = {k: v for k, v in {**claims, **changes}.items() if v is not None}
        return jwt.encode(told, secret, "HS256", headers={"kid": kid})

    head, body, signature = token.split(".")
    wrong = {
        "other secret": signed(b"another secret of thirty-two bytes"),
        "unknown kid": signed(kid="00000000"),
        "no signature": f"{head}.{body}.",
        "alg none": f"{unsigned({'alg': 'none', 'kid': name})}.{body}.",
        "other algorithm": jwt.encode(claims, TOKEN_SECRET * 2, "HS512", headers={"kid": name}),
        "other candidate": f"{head}.{unsigned({**claims, 'sub': 'candidate-2'})}.{signature}",
        "cut": token[:-1],
        "padded": f"{token}=",
        "behind a blank that is none in HTTP": f"\u00a0{token}",
        "signature with other spare bits": token[:-1] + chr(ord(token[-1]) + 1),
        "header of another form": sign_text(f"{unsigned({'alg': 'HS256', 'kid': name})}.{body}"),
        "signed, and no claims": sign_text(f"{head}.{unsigned([1])}"),
        "signed, and no JSON": sign_text(f"{head}.e30x"),
        "two": f"{token}.{signature}",
        "expired": signed(exp=time.time() - 1),
        "never ends": signed(exp=None),
        "ends at no number": signed(exp="tomorrow"),
        "other issuer": signed(iss="somebody"),
        "unknown key": signed(key="000000000000"),
        "no candidate": signed(sub=""),
        "candidate is no text": signed(sub=None),
        "long": signed(more="x" * 4000),
    }
    assert (await api.get(MINE, key=signed())).status == 200

    async with nothing_changes():
        replies = {about: await api.get(MINE, key=text) for about, text in wrong.items()}

    refused = await api.get(MINE, key="quota_0_0")
    for about, reply in replies.items():
        assert (about, reply.status, reply.body) == (about, 401, refused.body)
    with pytest.raises(NotAToken):
        TokenSecrets(TOKEN_SECRETS).read("ey\udcff")  # bytes that are no text, as aiohttp has them


async def test_a_token_ends_at_its_time(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    api, clock = running.client, running.service.stores.clock
    token = await api.token()
    assert (await api.get(MINE, key=token)).status == 200

    now_ms = clock.estimate_ms()
    monkeypatch.setattr(type(clock), "estimate_ms", lambda _: now_ms + 3_600_001)

    assert_refused(await api.get(MINE, key=token), 401, "unauthorized")


async def test_tokens_end_with_the_key_they_were_made_with(running: Running) -> None:
    api, ledger = running.client, running.service.key_ledger
    key = await ledger.create("frontend", frozenset({Scope.FRONTEND}))
    await running.service.keys.refresh()
    token = (await ask(api, key)).json["token"]
    assert (await api.get(MINE, key=token)).status == 200

    await ledger.revoke((split_key(key) or ("", ""))[0])
    await running.service.keys.refresh()

    assert_refused(await api.get(MINE, key=token), 401, "unauthorized")


async def test_a_token_refunds_only_where_the_key_it_was_made_with_may(running: Running) -> None:
    api, ledger = running.client, running.service.key_ledger
    key = await ledger.create("no refunds", frozenset({Scope.FRONTEND}))
    await running.service.keys.refresh()
    held = (await api.reserve()).json
    await api.pay(held)
    path = f"/v1/reservations/{held['id']}/refund"

    refused = await api.call("POST", path, key=(await ask(api, key)).json["token"])
    refunded = await api.call("POST", path, key=await api.token())

    assert_refused(refused, 403, "forbidden")
    assert refunded.status == 200


def settings_with(*secrets: bytes) -> str:
    return ",".join(SECRET_PREFIX + base64.b64encode(each).decode() for each in secrets)


def test_tokens_of_the_secret_before_are_taken_while_it_is_listed() -> None:
    old, new = b"o" * 32, b"n" * 32
    made_before = TokenSecrets(settings_with(old)).write("exam-1", "c-1", "k", 0, 60)[1]
    both = TokenSecrets(settings_with(new, old))
    made_since = both.write("exam-1", "c-1", "k", 0, 60)[1]

    assert both.read(made_before).candidate == "c-1"
    assert TokenSecrets(settings_with(new)).read(made_since).candidate == "c-1"
    with pytest.raises(NotAToken):
        TokenSecrets(settings_with(new)).read(made_before)


def test_a_secret_that_is_too_short_is_refused_by_the_name_of_its_setting() -> None:
    with pytest.raises(SettingsError, match=r"^QUOTA_CANDIDATE_TOKEN_SECRETS takes .* 32 bytes$"):
        TokenSecrets(settings_with(b"s" * 31))


async def test_a_token_needs_neither_store(
    running: Running, postgres_server: EmbeddedPostgres, redis_server: EmbeddedRedis
) -> None:
    api, keys = running.client, running.service.keys

    with paused(postgres_server):
        token = await api.token()
        held = await api.reserve(key=token)
        seen = await api.get(f"/v1/reservations/{held.json['id']}", key=token)

    with paused(redis_server):
        header = f"Bearer {await api.token()}"
        may = keys.authorize(header, frozenset({Scope.FRONTEND, Scope.CANDIDATE}), "exam-1")

    assert (held.status, seen.status, may.candidate) == (201, 200, "candidate-1")
