"""The command that tells what ops did."""

import argparse

from quota_service.commands.adding import Group, add, add_group, postgres
from quota_service.domain.definition import rfc3339
from quota_service.ledger.ops_actions import OpsActions
from quota_service.settings import Settings

_PAGE = 500


def add_ops_commands(commands: Group) -> None:
    """Add `ops` and its command."""
    group = add_group(commands, "ops", "what ops did beyond the rules of an exam")
    listing = add(group, "list", _list, "list what ops did, why, and how it ended")
    listing.add_argument("--exam", help="in this exam alone")
    listing.add_argument("--candidate", help="what concerns this candidate")
    listing.add_argument("--reservation", help="what concerns this reservation")


async def _list(options: argparse.Namespace, settings: Settings) -> int:
    async with postgres(settings) as ledger:
        asked, after = (options.exam, options.candidate, options.reservation), 0
        while page := await OpsActions(ledger).page(*asked, after, _PAGE):
            for each in page:
                who = (each.by.key_id, each.by.request_id or "-")
                what = (each.exam or "no exam", each.action, each.subject)
                print(rfc3339(each.at_ms), *what, each.outcome or "?", *who, each.reason, sep="\t")
            after = page[-1].id
    return 0
