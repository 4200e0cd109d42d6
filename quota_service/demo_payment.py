"""Pays a reservation of a running demo, as its payment provider would: `quota-service demo pay`.

The command reads the amount of the reservation and sends a callback, signed with the demo's
payment secret, over HTTP. A second run for the same reservation sends the same payment event
again, so that its one effect can be seen.
"""

from collections.abc import Mapping
from time import time
from urllib.parse import quote

import aiohttp
import orjson

from quota_service.client.webhooks import sign
from quota_service.http.webhooks import parse_secrets

_VARIABLES = ("QUOTA_URL", "QUOTA_FRONTEND_KEY", "QUOTA_PAYMENT_SECRET")
_TIMEOUT_S = 30


class DemoPaymentError(Exception):
    """The reservation was not paid; the text says why."""


async def pay(reservation: str, environment: Mapping[str, str]) -> str:
    """Pay a reservation of the demo that the environment names; return the answer, as JSON.

    Raises DemoPaymentError where the demo is not named, does not answer or refuses.
    """
    url, key, secrets = (_value(environment, name) for name in _VARIABLES)
    secret = parse_secrets(secrets)[0]
    timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as http:
            address = f"{url}/v1/reservations/{quote(reservation, safe='')}"
            async with http.get(address, headers={"Authorization": f"Bearer {key}"}) as response:
                shown = orjson.loads(await _taken(response))
            event, body = _event(shown)
            now_s = int(time())
            headers = {
                "webhook-id": event,
                "webhook-timestamp": str(now_s),
                "webhook-signature": sign(secret, event, now_s, body),
            }
            address = f"{url}/v1/payment-callbacks"
            async with http.post(address, data=body, headers=headers) as response:
                return (await _taken(response)).decode()
    except (aiohttp.ClientError, TimeoutError) as error:
        raise DemoPaymentError(f"no answer from {url}: {error}") from error


def _value(environment: Mapping[str, str], name: str) -> str:
    """Return a variable that the demo's file sets; raise DemoPaymentError without it."""
    value = environment.get(name, "")
    if not value:
        where = "run the line that the demo printed after `in a shell:` first"
        raise DemoPaymentError(f"{name} is not set: {where}")
    return value


def _event(reservation: Mapping[str, object]) -> tuple[str, bytes]:
    """Return the id and the body of the one event that pays a reservation, alike each time."""
    event = f"demo-{reservation['id']}"
    body = {
        "reservation": reservation["id"],
        "status": "captured",
        "amount": reservation["amount"],
        "currency": reservation["currency"],
        "paid_at": reservation["created_at"],
        "provider_reference": event,
    }
    return event, orjson.dumps(body)


async def _taken(response: aiohttp.ClientResponse) -> bytes:
    """Return the body of an answer 200; raise DemoPaymentError for a refusal."""
    body = await response.read()
    if response.status == 200:  # noqa: PLR2004
        return body
    try:
        problem = orjson.loads(body)
        reason = f"{problem['title']}: {problem['detail']}"
    except (orjson.JSONDecodeError, KeyError, TypeError):
        reason = "the answer is not a problem document"
    raise DemoPaymentError(f"{response.method} {response.url}: {response.status}, {reason}")
