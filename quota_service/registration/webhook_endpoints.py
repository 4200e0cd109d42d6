"""Webhook endpoints as ops have them: made, looked at, rotated, disabled, replayed, tested.

Each change but a replay is one transaction with the note of who did it and why; a crash before its
commit leaves nothing. A secret is answered where it is made, and never again: it is stored, because
it signs, in a table that no role but the service's own needs to read.

A replay is noted, then made page by page: a crash leaves a part of it, and doing it again delivers
each of its events once more. Events keep their ids, so that a receiver knows those it has.

A test is an event of its own kind for the one endpoint. It is ordered and delivered as any other,
ahead of what waits there.
"""

import base64
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from quota_service.client.webhooks import SECRET_PREFIX
from quota_service.domain.errors import (
    TooManyWebhookEndpoints,
    UnknownWebhookEndpoint,
    WebhookEndpointDisabled,
)
from quota_service.domain.webhook import ENDPOINTS_MAX, DeliveryState
from quota_service.ledger.webhook_endpoints import (
    NewEndpoint,
    StoredDelivery,
    StoredEndpoint,
)
from quota_service.observability.caller import caller
from quota_service.registration.noted import noted
from quota_service.registration.stores import WebhookStores

if TYPE_CHECKING:
    from quota_service.ledger.pool import Connection

_ID_BYTES = 6
_SECRET_BYTES = 32
_PAGE = 5000
"""Events that one statement of a replay looks at."""


@dataclass(frozen=True, slots=True)
class MadeEndpoint:
    """An endpoint with its newest secret, for the only time."""

    endpoint: StoredEndpoint
    secret: bytes = field(repr=False)

    @property
    def secret_text(self) -> str:
        """The secret as receivers are given it."""
        return SECRET_PREFIX + base64.b64encode(self.secret).decode()


async def make_endpoint(stores: WebhookStores, new: NewEndpoint, reason: str) -> MadeEndpoint:
    """Make an endpoint that is told of what happens from now on.

    Raises UnknownExam, ExamArchived and TooManyWebhookEndpoints.
    """
    for exam in new.exams or ():
        stores.registry.find(exam)
    id_, secret = f"wh_{secrets.token_hex(_ID_BYTES)}", secrets.token_bytes(_SECRET_BYTES)
    async with stores.ledger.transaction() as connection:
        if not await stores.endpoints.add(connection, id_, new):
            raise TooManyWebhookEndpoints(ENDPOINTS_MAX)
        await stores.endpoints.add_secret(connection, id_, secret, 0)
        await _note(stores, connection, "make-webhook", id_, reason, {"host": _host(new)})
    return MadeEndpoint(await find_endpoint(stores, id_), secret)


async def find_endpoint(stores: WebhookStores, endpoint: str) -> StoredEndpoint:
    """Return an endpoint; raises UnknownWebhookEndpoint."""
    found = await stores.endpoints.find(endpoint)
    if found is None:
        raise UnknownWebhookEndpoint(endpoint)
    return found


async def rotate_secret(
    stores: WebhookStores, endpoint: str, keep_old_s: int, reason: str
) -> MadeEndpoint:
    """Give an endpoint a new secret; the one before signs beside it for so long.

    Raises UnknownWebhookEndpoint.
    """
    secret = secrets.token_bytes(_SECRET_BYTES)
    async with stores.ledger.transaction() as connection:
        await _lock(stores, connection, endpoint)
        await stores.endpoints.add_secret(connection, endpoint, secret, keep_old_s)
        detail = {"keep_old_s": keep_old_s}
        await _note(stores, connection, "rotate-webhook-secret", endpoint, reason, detail)
    return MadeEndpoint(await find_endpoint(stores, endpoint), secret)


async def disable_endpoint(stores: WebhookStores, endpoint: str, reason: str) -> StoredEndpoint:
    """Send nothing to an endpoint until it is enabled; what happens meanwhile waits for it.

    Raises UnknownWebhookEndpoint.
    """
    async with stores.ledger.transaction() as connection:
        if await _lock(stores, connection, endpoint):
            await stores.endpoints.disable(connection, endpoint)
            await _note(stores, connection, "disable-webhook", endpoint, reason, {})
    return await find_endpoint(stores, endpoint)


async def enable_endpoint(stores: WebhookStores, endpoint: str, reason: str) -> StoredEndpoint:
    """Send to an endpoint again, at once and what waits for it first.

    Raises UnknownWebhookEndpoint.
    """
    async with stores.ledger.transaction() as connection:
        await _lock(stores, connection, endpoint)
        await stores.endpoints.enable(connection, endpoint)
        await _note(stores, connection, "enable-webhook", endpoint, reason, {})
    return await find_endpoint(stores, endpoint)


async def delete_endpoint(stores: WebhookStores, endpoint: str, reason: str) -> StoredEndpoint:
    """Delete an endpoint, and return it as it was; raises UnknownWebhookEndpoint."""
    async with stores.ledger.transaction() as connection:
        await _lock(stores, connection, endpoint)
        found = await find_endpoint(stores, endpoint)
        await stores.endpoints.delete(connection, endpoint)
        detail = {"host": _host(found.wanted)}
        await _note(stores, connection, "delete-webhook", endpoint, reason, detail)
    return found


async def replay(stores: WebhookStores, endpoint: str, since_ms: int, reason: str) -> int:
    """Deliver again what has happened since a time; return how many events that are.

    Raises UnknownWebhookEndpoint.
    """
    await find_endpoint(stores, endpoint)
    made = 0
    detail = {"since_ms": since_ms}
    async with noted(stores, None, "replay-webhook", endpoint, reason, detail):
        last: int | None = 0
        while last is not None:
            more, last = await stores.endpoints.replay(endpoint, since_ms, last, _PAGE)
            made += more
            stores.failpoint("replay: after page")
    return made


async def send_test(stores: WebhookStores, endpoint: str, reason: str) -> StoredEndpoint:
    """Send an endpoint an event that tells of nothing; raises UnknownWebhookEndpoint.

    Raises WebhookEndpointDisabled too.
    """
    async with stores.ledger.transaction() as connection:
        if not await _lock(stores, connection, endpoint):
            raise WebhookEndpointDisabled(endpoint)
        await stores.endpoints.add_test(connection, endpoint)
        await _note(stores, connection, "test-webhook", endpoint, reason, {})
    return await find_endpoint(stores, endpoint)


async def list_deliveries(
    stores: WebhookStores, endpoint: str, before: int, state: DeliveryState | None, limit: int
) -> list[StoredDelivery]:
    """Return a page of deliveries, the newest event first; raises UnknownWebhookEndpoint."""
    await find_endpoint(stores, endpoint)
    return await stores.endpoints.deliveries(endpoint, before, state, limit)


def _host(endpoint: NewEndpoint) -> str:
    """Return what of a URL is noted: the rest may have secrets of the receiver."""
    return urlsplit(endpoint.url).netloc


async def _lock(stores: WebhookStores, connection: "Connection", endpoint: str) -> bool:
    """Lock an endpoint and return whether it is enabled; raises UnknownWebhookEndpoint."""
    is_known, is_enabled = await stores.endpoints.lock(connection, endpoint)
    if not is_known:
        raise UnknownWebhookEndpoint(endpoint)
    return is_enabled


async def _note(  # noqa: PLR0917  a note has as many columns
    stores: WebhookStores,
    connection: "Connection",
    action: str,
    endpoint: str,
    reason: str,
    detail: Mapping[str, object],
) -> None:
    await stores.ops_actions.note(connection, None, caller(), action, endpoint, reason, detail)
