"""A registration frontend and a payment provider, as tests need them."""

import asyncio
import base64
import datetime as dt
import itertools
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import aiohttp

from quota_service.client.call import Call
from quota_service.client.unsent import UNSENT
from quota_service.client.webhooks import SECRET_PREFIX, sign
from tests.support.patience import LIMIT_S

PAYMENT_SECRET = b"a secret that only tests know, ok"
PAYMENT_SECRETS = SECRET_PREFIX + base64.b64encode(PAYMENT_SECRET).decode()
"""The setting of a service that knows it."""
TOKEN_SECRET = b"a secret that signs tokens of tests"
TOKEN_SECRETS = SECRET_PREFIX + base64.b64encode(TOKEN_SECRET).decode()
"""The setting of a service that makes candidate tokens."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer, read whole."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def slug(self) -> str:
        """The last part of a problem's type."""
        assert self.headers["Content-Type"].startswith("application/problem+json"), self
        return self.json["type"].removeprefix("/problems/")


class ApiClient:
    """Calls the API over HTTP with a key of each scope at hand."""

    def __init__(
        self, session: aiohttp.ClientSession, url: str, frontend_key: str, ops_key: str
    ) -> None:
        self._session = session
        self._numbers = itertools.count(1)
        self.url = url
        self.frontend_key = frontend_key
        self.ops_key = ops_key

    async def call(
        self, method: str, path: str, *, key: str | None = "", **arguments: Any
    ) -> Reply:
        """Send a request; `key` None sends no key, and the frontend's is sent unless told."""
        headers = dict(arguments.pop("headers", {}))
        if key is not None:
            headers.setdefault("Authorization", f"Bearer {key or self.frontend_key}")
        url = f"{self.url}{path}"
        async with self._session.request(method, url, headers=headers, **arguments) as response:
            return Reply(response.status, response.headers.copy(), await response.read())

    async def send(self, call: Call, **arguments: Any) -> Reply:
        """Send a call of the client, once; see `call` for the key."""
        if call.document is not None:
            arguments["json"] = call.document
        return await self.call(call.method, call.path, headers=call.headers, **arguments)

    async def get(self, path: str, **arguments: Any) -> Reply:
        return await self.call("GET", path, **arguments)

    async def import_exam(self, definition: Mapping[str, Any]) -> Reply:
        return await self.send(UNSENT.import_exam(definition["id"], definition), key=self.ops_key)

    async def reserve(
        self,
        candidate: str = "candidate-1",
        subjects: tuple[str, ...] = ("general",),
        venues: tuple[str, ...] = ("jinan",),
        *,
        exam: str = "exam-1",
        idempotency_key: str | None = None,
        key: str = "",
        **members: Any,
    ) -> Reply:
        """Reserve, under a new idempotency key unless one is given."""
        call = UNSENT.reserve(
            exam,
            candidate=candidate,
            subjects=list(subjects),
            venues=list(venues),
            accepted_notice="2023-1",
            idempotency_key=idempotency_key or f"key-{next(self._numbers)}",
        )
        # Tests send members that no client would.
        return await self.send(replace(call, document={**call.document, **members}), key=key)

    async def pay(
        self,
        reservation: Mapping[str, Any] | str,
        *,
        event: str | None = None,
        amount: int | None = None,
        secret: bytes = PAYMENT_SECRET,
        **members: Any,
    ) -> Reply:
        """Report a captured payment, signed, as the provider does."""
        known = {} if isinstance(reservation, str) else reservation
        event = event or f"event-{next(self._numbers)}"
        body = {
            "reservation": known.get("id", reservation),
            "status": "captured",
            "amount": known.get("amount", 8000) if amount is None else amount,
            "currency": "CNY",
            "paid_at": "2026-01-02T03:04:05.678Z",
            "provider_reference": f"provider-{event}",
            **members,
        }
        return await self.callback(json.dumps(body).encode(), event=event, secret=secret)

    async def callback(
        self,
        body: bytes,
        *,
        event: str = "event-0",
        secret: bytes = PAYMENT_SECRET,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Send a callback with these bytes; `headers` replace those of the signature."""
        now_s = int(time.time())
        signed = {
            "webhook-id": event,
            "webhook-timestamp": str(now_s),
            "webhook-signature": sign(secret, event, now_s, body),
            "Content-Type": "application/json",
            **(headers or {}),
        }
        return await self.call("POST", "/v1/payment-callbacks", key=None, data=body, headers=signed)

    async def token(self, candidate: str = "candidate-1", exam: str = "exam-1") -> str:
        """Return a new token of a candidate, for `key`."""
        wanted = {"exam": exam, "candidate": candidate, "ttl_s": 3600}
        reply = await self.call("POST", "/v1/candidate-tokens", json=wanted)
        assert reply.status == 201, reply
        return str(reply.json["token"])

    async def remaining(self, venue: str, subject: str, *, exam: str = "exam-1") -> int:
        """Return what is left of one quota by an availability that was read after this call."""
        asked_at = dt.datetime.now(dt.UTC)
        async with asyncio.timeout(LIMIT_S):
            while True:
                reply = await self.get(f"/v1/exams/{exam}/availability", key=None)
                # The clock of the answer is that of Redis, on this machine, in whole milliseconds.
                if dt.datetime.fromisoformat(reply.json["as_of"]) > asked_at:
                    break
                await asyncio.sleep(0.002)
        (left,) = [
            quota["remaining"]
            for quota in reply.json["quotas"]
            if (quota["venue"], quota["subject"]) == (venue, subject)
        ]
        return int(left)
