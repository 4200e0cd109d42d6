"""Commands about webhook endpoints: where events are sent to, and what became of that."""

import argparse
from collections.abc import Awaitable, Callable

from quota_service.api.acting import REASONED
from quota_service.api.webhook_endpoints import (
    KEEP_OLD_S,
    NEW_ENDPOINT,
    REPLAY,
    ROTATION,
    new_endpoint,
)
from quota_service.commands.adding import Group, add, add_group, add_reason, both_stores
from quota_service.domain.definition import rfc3339
from quota_service.domain.webhook import DeliveryState
from quota_service.ledger.webhook_endpoints import StoredDelivery, StoredEndpoint
from quota_service.registration import webhook_endpoints
from quota_service.registration.stores import WebhookStores
from quota_service.settings import Settings

_PAGE = 500
_Change = Callable[[WebhookStores, str, str], Awaitable[StoredEndpoint]]


def add_webhook_commands(commands: Group) -> None:
    """Add `webhook` and its commands."""
    group = add_group(commands, "webhook", "endpoints that are told of events")
    add(group, "list", _list, "print the endpoints and how they stand")
    make = add(group, "make", _make, "let events be sent to a URL; its secret is printed this once")
    make.add_argument("url")
    make.add_argument("--exam", action="append", help="only of this exam, again for more")
    make.add_argument("--kind", action="append", help="only of this kind, again for more")
    make.add_argument("--description", required=True, help="what it is, for people")
    deliveries = add(group, "deliveries", _deliveries, "print what was sent, the newest first")
    deliveries.add_argument("--state", choices=[*DeliveryState], help="only in this state")
    rotate = add(group, "rotate-secret", _rotate, "sign with a new secret, printed this once")
    rotate.add_argument(
        "--keep-old",
        type=int,
        default=KEEP_OLD_S,
        metavar="SECONDS",
        help="for so long the one before signs beside it (%(default)s)",
    )
    again = add(group, "replay", _replay, "send again what has happened since a time")
    again.add_argument("--since", required=True, metavar="TIME", help="RFC 3339 with an offset")
    changes = [
        add(group, name, _changing(change), meaning)
        for name, change, meaning in (
            ("enable", webhook_endpoints.enable_endpoint, "send to it again"),
            ("disable", webhook_endpoints.disable_endpoint, "send nothing until it is enabled"),
            ("delete", webhook_endpoints.delete_endpoint, "send nothing to it any more"),
            ("test", webhook_endpoints.send_test, "send an event that tells of nothing"),
        )
    ]
    for parser in (deliveries, rotate, again, *changes):
        parser.add_argument("endpoint", help="id as `list` prints it")
    for parser in (make, rotate, again, *changes):
        add_reason(parser)


async def _list(_options: argparse.Namespace, settings: Settings) -> int:
    async with both_stores(settings) as stores:
        for each in await stores.webhooks.endpoints.all():
            _print(each)
    return 0


async def _make(options: argparse.Namespace, settings: Settings) -> int:
    body = NEW_ENDPOINT.read(
        {
            "url": options.url,
            "exams": options.exam,
            "kinds": options.kind,
            "description": options.description,
            "reason": options.reason,
        }
    )
    new = new_endpoint(body, takes_private=settings.webhook_private_addresses)
    async with both_stores(settings) as stores:
        made = await webhook_endpoints.make_endpoint(stores.webhooks, new, body["reason"])
    print(made.endpoint.id, made.secret_text, sep="\t")
    return 0


async def _deliveries(options: argparse.Namespace, settings: Settings) -> int:
    state = None if options.state is None else DeliveryState(options.state)
    async with both_stores(settings) as stores:
        before = 0
        while page := await webhook_endpoints.list_deliveries(
            stores.webhooks, options.endpoint, before, state, _PAGE
        ):
            for each in page:
                _print_delivery(each)
            before = page[-1].sequence
    return 0


async def _rotate(options: argparse.Namespace, settings: Settings) -> int:
    body = ROTATION.read({"reason": options.reason, "keep_old_s": options.keep_old})
    async with both_stores(settings) as stores:
        made = await webhook_endpoints.rotate_secret(
            stores.webhooks, options.endpoint, body["keep_old_s"], body["reason"]
        )
    print(made.endpoint.id, made.secret_text, sep="\t")
    return 0


async def _replay(options: argparse.Namespace, settings: Settings) -> int:
    body = REPLAY.read({"since": options.since, "reason": options.reason})
    async with both_stores(settings) as stores:
        count = await webhook_endpoints.replay(
            stores.webhooks, options.endpoint, body["since"], body["reason"]
        )
    print(f"{count} events are sent again")
    return 0


def _changing(change: _Change) -> Callable[[argparse.Namespace, Settings], Awaitable[int]]:
    """Return the command that makes a change of one endpoint."""

    async def command(options: argparse.Namespace, settings: Settings) -> int:
        reason = REASONED.read({"reason": options.reason})["reason"]
        async with both_stores(settings) as stores:
            _print(await change(stores.webhooks, options.endpoint, reason))
        return 0

    return command


def _print(each: StoredEndpoint) -> None:
    state = "enabled"
    if each.disabled_ms is not None:
        state = f"disabled {rfc3339(each.disabled_ms)} ({each.disabled_reason})"
    elif each.failing_since_ms is not None:
        state = f"failing since {rfc3339(each.failing_since_ms)}"
    wanted = each.wanted
    exams = "all exams" if wanted.exams is None else ",".join(wanted.exams)
    kinds = "all kinds" if wanted.kinds is None else ",".join(wanted.kinds)
    left = f"{each.pending} pending, {each.given_up} given up"
    print(each.id, state, left, exams, kinds, wanted.url, wanted.description, sep="\t")


def _print_delivery(each: StoredDelivery) -> None:
    told = (each.event, each.kind, each.exam or "-", each.reservation or "-")
    tried = "-" if each.last_tried_ms is None else rfc3339(each.last_tried_ms)
    ended = each.last_error or each.last_status or "-"
    print(*told, each.state, each.attempts, tried, ended, sep="\t")
