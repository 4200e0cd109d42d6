"""Pays a reservation of a running demo, as its payment provider would: `quota-service demo pay`.

The command reads the amount of the reservation and sends a callback, signed with the demo's
payment secret, over HTTP. A second run for the same reservation sends the same payment event
again, so that its one effect can be seen.
"""

from collections.abc import Mapping

import orjson

from quota_service import client

_VARIABLES = ("QUOTA_URL", "QUOTA_FRONTEND_KEY", "QUOTA_PAYMENT_SECRET")


class DemoPaymentError(Exception):
    """The reservation was not paid; the text says why."""


async def pay(reservation: str, environment: Mapping[str, str]) -> str:
    """Pay a reservation of the demo that the environment names; return the answer, as JSON.

    Raises DemoPaymentError where the demo is not named, does not answer or refuses.
    """
    url, key, secrets = (_value(environment, name) for name in _VARIABLES)
    event = f"demo-{reservation}"
    try:
        once = client.Repeats(tries_max=1)
        async with client.QuotaClient(url, key=key, repeats=once) as quota:
            shown = await quota.get_reservation(reservation)
            result = await quota.report_payment(
                event,
                {
                    "reservation": shown["id"],
                    "status": "captured",
                    "amount": shown["amount"],
                    "currency": shown["currency"],
                    "paid_at": shown["created_at"],
                    "provider_reference": event,
                },
                secret=secrets.partition(",")[0],
            )
    except client.NoAnswer as error:
        raise DemoPaymentError(f"no answer from {url}: {error}") from error
    except client.ProblemError as error:
        raise DemoPaymentError(f"{url}: {error.status}, {error.title}: {error.detail}") from error
    return orjson.dumps(result).decode()


def _value(environment: Mapping[str, str], name: str) -> str:
    """Return a variable that the demo's file sets; raise DemoPaymentError without it."""
    value = environment.get(name, "")
    if not value:
        where = "run the line that the demo printed after `in a shell:` first"
        raise DemoPaymentError(f"{name} is not set: {where}")
    return value
