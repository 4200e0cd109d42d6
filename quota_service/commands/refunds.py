"""Commands about refunds that are due."""

import argparse
import sys

from quota_service.commands.adding import Group, add, add_group, postgres
from quota_service.domain.definition import rfc3339
from quota_service.ledger.pool import Ledger
from quota_service.ledger.refunds_due import RefundsDue
from quota_service.observability.caller import caller
from quota_service.settings import Settings

_PAGE = 500


def add_refund_commands(commands: Group) -> None:
    """Add `refunds due` and its commands."""
    refunds = add_group(commands, "refunds", "money that has to go back")
    group = add_group(refunds, "due", "refunds that are due")
    listing = add(group, "list", _list, "list the refunds that are due")
    listing.add_argument("--exam", help="of this exam alone; empty for payments that name none")
    settle = add(group, "settle", _settle, "mark refunds as sent back")
    settle.add_argument("refund", type=int, nargs="+", help="ids as `list` prints them")


async def _list(options: argparse.Namespace, settings: Settings) -> int:
    async with postgres(settings) as ledger:
        due, after = RefundsDue(ledger), 0
        while page := await due.page(options.exam, after, _PAGE):
            for each in page:
                amount = f"{each.amount} {each.currency}"
                whose = (each.exam or "no exam", each.reservation, each.provider_reference)
                print(each.id, rfc3339(each.due_ms), amount, each.reason, *whose, sep="\t")
            after = page[-1].id
    return 0


async def _settle(options: argparse.Namespace, settings: Settings) -> int:
    async with postgres(settings) as ledger:
        settled = [await _settle_one(ledger, refund) for refund in options.refund]
    return 0 if all(settled) else 1


async def _settle_one(ledger: Ledger, refund: int) -> bool:
    due = await RefundsDue(ledger).settle(None, refund, caller().key_id)
    if due is None:
        print(f"quota-service: no refund {refund} is due", file=sys.stderr)
        return False
    print(f"settled {refund}: {due.amount} {due.currency}, {due.reservation}")
    return True
