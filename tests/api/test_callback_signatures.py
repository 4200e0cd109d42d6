"""The signature of a payment callback, by the Standard Webhooks scheme."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Mapping

import pytest

from quota_service.client.webhooks import verified_event
from quota_service.http.webhooks import parse_secrets
from quota_service.settings import SettingsError
from tests.api.conftest import NothingChanges
from tests.support.client import PAYMENT_SECRET, ApiClient, Reply
from tests.support.raw_http import exchange, request, status

OLD_SECRET = b"the secret that is rotated out 1"
STRANGE_SECRET = b"a secret that nobody configured!"
BOTH_SECRETS = ",".join(
    "whsec_" + base64.b64encode(secret).decode() for secret in (PAYMENT_SECRET, OLD_SECRET)
)


def v1(event: str, timestamp: int | str, body: bytes, secret: bytes = PAYMENT_SECRET) -> str:
    """Return a signature, computed here by the letter of the scheme and not by the service."""
    signed = f"{event}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(secret, signed, hashlib.sha256)).decode()


def captured(reservation: Mapping[str, object]) -> bytes:
    # Spaces and order are unusual on purpose: the signature is over these very bytes.
    payment = {
        "provider_reference": f"bank {reservation['id']}",
        "currency": "CNY",
        "paid_at": "2026-01-02T03:04:05Z",
        "reservation": reservation["id"],
        "amount": reservation["amount"],
        "status": "captured",
    }
    return json.dumps(payment, indent=3).encode() + b"\r\n "


async def send(
    api: ApiClient, body: bytes, signature: str, *, at: int, event: str = "e-1"
) -> Reply:
    headers = {
        "webhook-id": event,
        "webhook-timestamp": str(at),
        "webhook-signature": signature,
    }
    return await api.call("POST", "/v1/payment-callbacks", key=None, data=body, headers=headers)


async def test_a_signature_over_the_raw_bytes_is_accepted(api: ApiClient) -> None:
    held = (await api.reserve()).json
    body, now = captured(held), int(time.time())

    reply = await send(api, body, v1("e-1", now, body), at=now)

    assert reply.json == {"outcome": "confirmed", "reservation": held["id"]}


async def test_the_same_json_in_other_bytes_needs_another_signature(
    api: ApiClient, nothing_changes: NothingChanges
) -> None:
    held = (await api.reserve()).json
    body, now = captured(held), int(time.time())
    compact = json.dumps(json.loads(body)).encode()

    async with nothing_changes():
        reply = await send(api, compact, v1("e-1", now, body), at=now)

    assert reply.slug == "unauthorized"


@pytest.mark.settings(payment_secrets=BOTH_SECRETS)
async def test_each_secret_in_force_signs_while_one_is_rotated_out(api: ApiClient) -> None:
    first, second, third = [
        (await api.reserve(f"candidate-{i}", venues=("tianjin",))).json for i in range(3)
    ]

    by_new = await api.pay(first, secret=PAYMENT_SECRET)
    by_old = await api.pay(second, secret=OLD_SECRET)
    by_none = await api.pay(third, secret=STRANGE_SECRET)

    assert (by_new.json["outcome"], by_old.json["outcome"]) == ("confirmed", "confirmed")
    assert by_none.slug == "unauthorized"


@pytest.mark.settings(payment_secrets="")
async def test_without_a_secret_no_callback_is_accepted(
    api: ApiClient, nothing_changes: NothingChanges
) -> None:
    held = (await api.reserve()).json

    async with nothing_changes():
        replies = [await api.pay(held), await api.pay(held, secret=b"")]

    assert [reply.slug for reply in replies] == ["unauthorized", "unauthorized"]


SHORT = "whsec_" + base64.b64encode(b"23 bytes can be guessed").decode()


@pytest.mark.parametrize(
    "text", ["secret", "whsec_", "whsec_ ,whsec_", "whsec_#", "whsec_abc", SHORT]
)
def test_a_secret_that_anybody_could_sign_with_or_that_is_malformed_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="QUOTA_PAYMENT_SECRETS") as refusal:
        parse_secrets(text)

    assert text not in str(refusal.value) or text == "whsec_"


async def test_one_right_signature_among_several_is_enough(api: ApiClient) -> None:
    now = int(time.time())
    for i, around in enumerate(("v1a,abc {} v2,abc", "v1,AAAA {}", "{} garbage", "  {}  ")):
        held = (await api.reserve(f"candidate-{i}", venues=("tianjin",))).json
        body = captured(held)

        reply = await send(
            api, body, around.format(v1(f"e-{i}", now, body)), at=now, event=f"e-{i}"
        )

        assert reply.json.get("outcome") == "confirmed", around


async def test_other_versions_wrong_forms_and_other_contents_are_not_accepted(
    api: ApiClient, nothing_changes: NothingChanges, subtests: pytest.Subtests
) -> None:
    held = (await api.reserve()).json
    body, now = captured(held), int(time.time())
    right = v1("e-1", now, body)
    digest = right.removeprefix("v1,")
    wrong = {
        "another version": f"v2,{digest}",
        "version of a public key": f"v1a,{digest}",
        "no version": digest,
        "another separator": f"v1:{digest}",
        "upper case version": f"V1,{digest}",
        "cut short": right[:-1],
        "longer": f"{right}A",
        "no base64": "v1,§§§§",
        "hex": "v1," + base64.b64decode(digest).hex(),
        "empty": "",
        "only the version": "v1,",
        "comma instead of space": f"v1,AAAA,{right}",
        "of another event": v1("e-2", now, body),
        "of another time": v1("e-1", now - 1, body),
        "of another body": v1("e-1", now, body + b" "),
        "of another secret": v1("e-1", now, body, STRANGE_SECRET),
        "of an empty secret": v1("e-1", now, body, b""),
        "of the secret's text": v1("e-1", now, body, base64.b64encode(PAYMENT_SECRET)),
        "behind too many others": "v1,AAAA " * 3000 + right,
    }

    async with nothing_changes():
        for name, signature in wrong.items():
            with subtests.test(name):
                # A header of many kilobytes may be refused before anybody looks at it.
                reply = await send(api, body, signature, at=now)
                assert reply.status == (400 if len(signature) > 16_000 else 401)

    assert (await send(api, body, right, at=now)).json["outcome"] == "confirmed"


@pytest.mark.parametrize("header", ["webhook-id", "webhook-timestamp", "webhook-signature"])
async def test_every_header_of_the_signature_is_needed(
    api: ApiClient, nothing_changes: NothingChanges, header: str
) -> None:
    held = (await api.reserve()).json
    body, now = captured(held), int(time.time())
    headers = {
        "webhook-id": "e-1",
        "webhook-timestamp": str(now),
        "webhook-signature": v1("e-1", now, body),
    }
    without = {name: value for name, value in headers.items() if name != header}

    async with nothing_changes():
        missing = await api.call(
            "POST", "/v1/payment-callbacks", key=None, data=body, headers=without
        )
        empty = await api.call(
            "POST", "/v1/payment-callbacks", key=None, data=body, headers={**without, header: ""}
        )

    assert (missing.slug, empty.slug) == ("unauthorized", "unauthorized")


def test_a_callback_is_accepted_within_300_seconds_on_both_sides_and_not_beyond() -> None:
    now = 1_767_323_045
    accepted = []

    for offset in (-86_400, -302, -301, -300, -299, 0, 299, 300, 301, 302, 86_400):
        headers = {
            "webhook-id": "e-1",
            "webhook-timestamp": str(now + offset),
            "webhook-signature": v1("e-1", now + offset, b"{}"),
        }
        if verified_event((PAYMENT_SECRET,), headers, b"{}", now + 0.999) == "e-1":
            accepted.append(offset)

    assert accepted == [-300, -299, 0, 299, 300]


async def test_a_stale_or_future_callback_is_refused_over_http(
    api: ApiClient, nothing_changes: NothingChanges
) -> None:
    held = (await api.reserve()).json
    body, now = captured(held), int(time.time())

    async with nothing_changes():
        # A few seconds beyond the limit, as the clock goes on while the request is on its way.
        stale = await send(api, body, v1("e-1", now - 301, body), at=now - 301)
        future = await send(api, body, v1("e-1", now + 310, body), at=now + 310)
    recent = await send(api, body, v1("e-1", now - 290, body), at=now - 290)

    assert (stale.slug, future.slug) == ("unauthorized", "unauthorized")
    assert recent.json["outcome"] == "confirmed"


@pytest.mark.parametrize(
    "timestamp", ["", "-1", "1e9", "1767323045.5", "now", "９", "9" * 400, "+1"]
)
async def test_a_timestamp_that_is_no_whole_number_is_refused(
    api: ApiClient, nothing_changes: NothingChanges, timestamp: str
) -> None:
    headers = {
        "webhook-timestamp": timestamp,
        "webhook-signature": v1("event-0", timestamp, b"{}"),
    }

    async with nothing_changes():
        reply = await api.callback(b"{}", headers=headers)

    assert reply.slug == "unauthorized"


async def test_headers_of_bytes_that_are_no_text_are_refused_as_any_other(api: ApiClient) -> None:
    sent = request(
        "POST",
        "/v1/payment-callbacks",
        "webhook-id: \udcff",
        f"webhook-timestamp: {int(time.time())}",
        "webhook-signature: v1,\udcff",
        body=b"{}",
    )

    answer = await exchange(api.url, sent)

    assert status(answer) == 401


async def test_the_signature_is_checked_before_the_body_is_looked_at(
    api: ApiClient, nothing_changes: NothingChanges
) -> None:
    async with nothing_changes():
        unsigned = [
            await api.callback(body, secret=STRANGE_SECRET) for body in (b"", b"{", b"[]", b"{}")
        ]

    assert [reply.status for reply in unsigned] == [401] * 4
    assert len({reply.body for reply in unsigned}) == 1


@pytest.mark.parametrize(("length", "code"), [(255, 200), (256, 422)])
async def test_the_id_of_an_event_is_bounded(api: ApiClient, length: int, code: int) -> None:
    held = (await api.reserve()).json

    reply = await api.pay(held, event="e" * length, provider_reference="bank 1")

    assert reply.status == code
    if code == 422:
        assert [error["field"] for error in reply.json["errors"]] == ["webhook-id"]
