"""Commands about API keys."""

import argparse
import datetime as dt
import sys

from quota_service.commands.adding import Group, add, add_group, postgres
from quota_service.ledger.api_keys import KEY_SCOPES, ApiKey, ApiKeyLedger, Scope
from quota_service.settings import Settings

_MINUTE = "%Y-%m-%d %H:%M"


def add_key_commands(commands: Group) -> None:
    """Add `keys` and its commands."""
    group = add_group(commands, "keys", "create, list and revoke API keys")
    create = add(group, "create", _create, "create a key; it is printed this one time only")
    create.add_argument("name", help="name of the frontend or person that uses the key")
    create.add_argument("--scope", action="append", required=True, choices=sorted(KEY_SCOPES))
    create.add_argument(
        "--exam", action="append", help="limit the key to this exam, again for more (default: all)"
    )
    create.add_argument(
        "--expires",
        type=_moment,
        metavar="WHEN",
        help="when the key ends: days from now, or a date or time in UTC such as "
        "2027-03-01T18:00 (default: when it is revoked)",
    )
    add(group, "list", _list, "list the keys, when they end and when they were used last")
    add(group, "revoke", _revoke, "revoke a key").add_argument("id")


async def _create(options: argparse.Namespace, settings: Settings) -> int:
    async with postgres(settings) as ledger:
        scopes = frozenset(Scope(scope) for scope in options.scope)
        exams = None if options.exam is None else frozenset(options.exam)
        print(await ApiKeyLedger(ledger).create(options.name, scopes, exams, options.expires))
    return 0


async def _list(_options: argparse.Namespace, settings: Settings) -> int:
    async with postgres(settings) as ledger:
        for key in await ApiKeyLedger(ledger).all():
            exams = "all exams" if key.exams is None else ",".join(sorted(key.exams))
            scopes = ",".join(sorted(key.scopes))
            print(key.id, key.name, scopes, exams, _state(key), _use(key), sep="\t")
    return 0


def _state(key: ApiKey) -> str:
    if key.revoked_at is not None:
        return f"revoked {key.revoked_at:{_MINUTE}}"
    if key.expires_at is not None:
        return f"{'expired' if key.is_expired else 'active until'} {key.expires_at:{_MINUTE}}"
    return "active"


def _use(key: ApiKey) -> str:
    return "never used" if key.last_used_at is None else f"used {key.last_used_at:{_MINUTE}}"


def _moment(text: str) -> dt.datetime:
    """Return the time that days from now, or a date and time, name; it lies ahead."""
    now = dt.datetime.now(dt.UTC)
    try:
        if text.isdigit():
            moment = now + dt.timedelta(days=int(text))
        else:
            moment = dt.datetime.fromisoformat(text)
            moment = moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
    except (ValueError, OverflowError) as error:
        wanted = "must be a number of days, or a date or time such as 2027-03-01T18:00"
        raise argparse.ArgumentTypeError(f"{wanted}, not {text!r}") from error
    if moment <= now:
        raise argparse.ArgumentTypeError(f"{text!r} is not ahead: it is {now:{_MINUTE}} UTC now")
    return moment


async def _revoke(options: argparse.Namespace, settings: Settings) -> int:
    async with postgres(settings) as ledger:
        if not await ApiKeyLedger(ledger).revoke(options.id):
            print(f"quota-service: no active key {options.id}", file=sys.stderr)
            return 1
    print(f"revoked {options.id}")
    return 0
