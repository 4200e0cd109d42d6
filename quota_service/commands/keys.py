"""Commands about API keys."""

import argparse
import sys

from quota_service.commands.adding import Group, add, add_group, postgres
from quota_service.ledger.api_keys import ApiKeyLedger, Scope
from quota_service.settings import Settings


def add_key_commands(commands: Group) -> None:
    """Add `keys` and its commands."""
    group = add_group(commands, "keys", "create, list and revoke API keys")
    create = add(group, "create", _create, "create a key; it is printed this one time only")
    create.add_argument("name", help="name of the frontend or person that uses the key")
    create.add_argument("--scope", action="append", required=True, choices=list(Scope))
    create.add_argument(
        "--exam", action="append", help="limit the key to this exam, again for more (default: all)"
    )
    add(group, "list", _list, "list the keys")
    add(group, "revoke", _revoke, "revoke a key").add_argument("id")


async def _create(options: argparse.Namespace, settings: Settings) -> int:
    async with postgres(settings) as ledger:
        scopes = frozenset(Scope(scope) for scope in options.scope)
        exams = None if options.exam is None else frozenset(options.exam)
        print(await ApiKeyLedger(ledger).create(options.name, scopes, exams))
    return 0


async def _list(_options: argparse.Namespace, settings: Settings) -> int:
    async with postgres(settings) as ledger:
        for key in await ApiKeyLedger(ledger).all():
            state = f"revoked {key.revoked_at:%Y-%m-%d %H:%M}" if key.revoked_at else "active"
            exams = "all exams" if key.exams is None else ",".join(sorted(key.exams))
            print(f"{key.id}\t{key.name}\t{','.join(sorted(key.scopes))}\t{exams}\t{state}")
    return 0


async def _revoke(options: argparse.Namespace, settings: Settings) -> int:
    async with postgres(settings) as ledger:
        if not await ApiKeyLedger(ledger).revoke(options.id):
            print(f"quota-service: no active key {options.id}", file=sys.stderr)
            return 1
    print(f"revoked {options.id}")
    return 0
