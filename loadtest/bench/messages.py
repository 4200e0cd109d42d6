"""The requests the clients send: orders, signed payments and looks, as a frontend sends them."""

import time
from collections.abc import Iterable, Sequence

import orjson

from loadtest.bench.errors import BenchError
from loadtest.bench.wrk import http_request
from quota_service.client.webhooks import sign

VENUES = tuple(f"venue-{n}" for n in range(1, 10))
SUBJECT = "qms"
FEE = 8000


def order_requests(path: str, key: str, run: str) -> Sequence[bytes]:
    """Return orders of one subject at one venue, in turn at every venue.

    `run` is part of every candidate and idempotency key, so that two runs have none in common.
    """
    return [
        http_request(
            "POST",
            path,
            orjson.dumps(
                {
                    "candidate": f"{run}-{{n}}",
                    "subjects": [SUBJECT],
                    "venues": [venue],
                    "accepted_notice": True,
                }
            ),
            {"Authorization": f"Bearer {key}", "Idempotency-Key": f"key-{run}-{{n}}"},
        )
        for venue in VENUES
    ]


def numbered(requests: Sequence[bytes], count: int) -> list[bytes]:
    """Return `count` requests with their numbers written in, for clients that are no wrk."""
    return [requests[n % len(requests)].replace(b"{n}", b"%08d" % n) for n in range(1, count + 1)]


def payment_requests(path: str, secret: bytes, reservations: Iterable[str]) -> list[bytes]:
    """Return one signed payment for each reservation, of an event of its own."""
    now_s = int(time.time())
    paid_at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now_s))
    requests = []
    for reservation in reservations:
        body = orjson.dumps(
            {
                "reservation": reservation,
                "status": "captured",
                "amount": FEE,
                "currency": "CNY",
                "paid_at": paid_at,
                "provider_reference": f"reference-{reservation}",
            }
        )
        event = f"event-{reservation}"
        headers = {
            "webhook-id": event,
            "webhook-timestamp": str(now_s),
            "webhook-signature": sign(secret, event, now_s, body),
        }
        requests.append(http_request("POST", path, body, headers))
    if not requests:
        raise BenchError("there is nothing to pay for")
    return requests


def read_requests(path: str, etag: str | None = None) -> Sequence[bytes]:
    """Return a look at a public document; with the ETag of the one that is known already."""
    headers = {} if etag is None else {"If-None-Match": etag}
    return [http_request("GET", path, b"", headers)]
