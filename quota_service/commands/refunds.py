"""Commands about refunds that are due."""

import argparse
import sys

from quota_service.api.ops import REOPENING
from quota_service.commands.adding import Group, add, add_group, add_reason, both_stores, postgres
from quota_service.domain.definition import rfc3339
from quota_service.ledger.pool import Ledger
from quota_service.ledger.refunds_due import RefundDue, RefundsDue
from quota_service.observability.caller import caller
from quota_service.registration.act_for import reopen_refund
from quota_service.settings import Settings

_PAGE = 500
_ID_MAX = 2**63 - 1


def add_refund_commands(commands: Group) -> None:
    """Add `refunds due` and its commands."""
    refunds = add_group(commands, "refunds", "money that has to go back")
    group = add_group(refunds, "due", "refunds that are due")
    listing = add(group, "list", _list, "list the refunds that are due")
    listing.add_argument("--exam", help="of this exam alone; empty for payments that name none")
    listing.add_argument("--reservation", help="of this reservation alone, settled ones too")
    settle = add(group, "settle", _settle, "mark refunds as sent back")
    settle.add_argument("refund", type=_id, nargs="+", help="ids as `list` prints them")
    reopen = add(group, "reopen", _reopen, "money that was sent back did not arrive: due again")
    reopen.add_argument("refund", type=_id, help="id as `list` prints it")
    reopen.add_argument(
        "--settled-at",
        required=True,
        metavar="TIME",
        help="when it was settled, as `list --reservation` prints it: a repeat sends nothing twice",
    )
    add_reason(reopen)


async def _list(options: argparse.Namespace, settings: Settings) -> int:
    async with postgres(settings) as ledger:
        due, after, of = RefundsDue(ledger), 0, options.reservation
        while page := (
            await due.page(options.exam, after, _PAGE)
            if of is None
            else await due.of_reservation(of, options.exam, after, _PAGE)
        ):
            for each in page:
                print(*_columns(each), sep="\t")
            after = page[-1].id
    return 0


def _columns(due: RefundDue) -> tuple[object, ...]:
    amount = f"{due.amount} {due.currency}"
    whose = (due.exam or "no exam", due.reservation, due.provider_reference)
    settled = () if due.settled_ms is None else (f"settled {rfc3339(due.settled_ms)}",)
    return (due.id, rfc3339(due.due_ms), amount, due.reason, *whose, *settled)


async def _reopen(options: argparse.Namespace, settings: Settings) -> int:
    body = REOPENING.read({"reason": options.reason, "settled_at": options.settled_at})
    async with both_stores(settings) as stores:
        due = await reopen_refund(
            stores.payments, None, options.refund, body["settled_at"], body["reason"]
        )
    print(f"due again {due.id}: {due.amount} {due.currency}, {due.reservation}")
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


def _id(text: str) -> int:
    if text.isascii() and text.isdigit() and len(text) < 20 and 0 < int(text) <= _ID_MAX:  # noqa: PLR2004  no larger than a bigint
        return int(text)
    raise argparse.ArgumentTypeError(f"must be an id as `list` prints it, not {text!r}")
