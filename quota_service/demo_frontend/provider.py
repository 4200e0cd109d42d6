"""The payment provider of the demo: its page lets people choose what a payment does.

It tells the service by signed callbacks, and repeats them until they are answered, as providers do.
"""

import asyncio
import datetime as dt
from typing import Final, Literal

from aiohttp import web

from quota_service.client import QuotaClient
from quota_service.client.documents import PaymentCallback, Reservation
from quota_service.demo_frontend.frontend import Handler, text_of

LOOK_S = 2.0
"""Seconds between two looks whether a hold has ended, so that a message about it is late."""
_HOW: Final = frozenset({"pay", "late", "twice", "fail"})


class Provider:
    """The handlers of the provider."""

    def __init__(self, client: QuotaClient, secret: str, page: Handler) -> None:
        self._client = client
        self._secret = secret
        self._page = page
        self._late: set[asyncio.Task[None]] = set()

    def routes(self) -> list[web.RouteDef]:
        """Return the addresses of the provider."""
        return [
            web.get("/pay/{reservation}", self._page),
            web.get("/pay/{reservation}/order", self.order),
            web.post("/pay/{reservation}", self.pay),
        ]

    async def order(self, request: web.Request) -> web.Response:
        """GET /pay/{reservation}/order: what there is to pay."""
        held = await self._client.get_reservation(request.match_info["reservation"])
        shown = {name: held[name] for name in ("id", "amount", "currency")}
        return web.json_response({**shown, "back": _back(held)})

    async def pay(self, request: web.Request) -> web.Response:
        """POST /pay/{reservation} {how}: pay, late, twice or fail."""
        how = await text_of(request, "how")
        if how not in _HOW:
            raise web.HTTPUnprocessableEntity
        held = await self._client.get_reservation(request.match_info["reservation"])
        if how == "fail":
            await self._report(held, "failed", "failed")
        elif how == "late":
            task = asyncio.create_task(self._report_late(held))
            self._late.add(task)
            task.add_done_callback(self._late.discard)
        else:
            await self._report(held, "captured", "paid")
            if how == "twice":
                await self._report(held, "captured", "paid-again")
        return web.json_response({"back": _back(held)})

    async def _report_late(self, held: Reservation) -> None:
        """Tell of a payment once the hold has ended."""
        while held["state"] == "held":
            await asyncio.sleep(LOOK_S)
            held = await self._client.get_reservation(held["id"])
        await self._report(held, "captured", "paid")

    async def _report(
        self, held: Reservation, status: Literal["captured", "failed"], name: str
    ) -> None:
        reference = f"demo-{name}-{held['id']}"
        payment: PaymentCallback = {
            "reservation": held["id"],
            "status": status,
            "amount": held["amount"],
            "currency": held["currency"],
            "paid_at": dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds"),
            "provider_reference": reference,
        }
        await self._client.report_payment(reference, payment, secret=self._secret)


def _back(held: Reservation) -> str:
    return f"/exams/{held['exam']}/register"
