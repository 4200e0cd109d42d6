"""Commands for seats that are kept for groups: look, make and revoke codes, hand a seat out."""

import argparse
import secrets
import sys
from pathlib import Path

from quota_service.api.acting import REASONED, read_ops_order
from quota_service.api.set_asides import CODE_MAKING, GIVEN_MAX, wanted_codes
from quota_service.commands.adding import Group, add, add_group, add_reason, both_stores
from quota_service.domain.definition import rfc3339
from quota_service.registration import set_asides
from quota_service.registration.set_asides import CodeView
from quota_service.seats.set_asides import KeptSeats
from quota_service.settings import Settings

_PAGE = 500
_KEY_BYTES = 8


def add_set_aside_commands(commands: Group) -> None:
    """Add `set-aside` and its commands."""
    group = add_group(commands, "set-aside", "seats kept for a group: codes, and seats handed out")
    show = add(group, "show", _show, "print what is kept and what is left, by quota")
    codes = add(group, "codes", _codes, "print the codes of a set-aside, without the codes")
    new = add(group, "new", _new, "make codes and print them, this once; or take given ones")
    revoke = add(group, "revoke", _revoke, "let nobody reserve with a code any more")
    out = add(group, "hand-out", _hand_out, "reserve for a candidate, without a code")
    for parser in (show, codes, new, revoke, out):
        parser.add_argument("exam")
    for parser in (codes, new, revoke, out):
        parser.add_argument("set_aside")
    how = new.add_mutually_exclusive_group(required=True)
    how.add_argument("--count", type=int, help="how many are made")
    how.add_argument(
        "--codes", metavar="FILE", help="codes made elsewhere, one a line; - for stdin"
    )
    new.add_argument("--uses", type=int, default=1, help="reservations each can have at once")
    new.add_argument("--note", help="for those who look at the list")
    revoke.add_argument("code", help="its id, as `codes` prints it")
    out.add_argument("candidate")
    out.add_argument("--subject", action="append", required=True, help="again for more")
    out.add_argument("--venue", action="append", required=True, help="again for more, in order")
    out.add_argument("--key", help="idempotency key (default: a new one)")
    for parser in (new, revoke, out):
        add_reason(parser)


async def _show(options: argparse.Namespace, settings: Settings) -> int:
    async with both_stores(settings) as stores:
        found = await set_asides.view_set_asides(stores, options.exam)
    print("set-aside", "until", "state", "quota", "seats", "left", sep="\t")
    for each in found:
        state = "over" if each.is_over else "on"
        for quota, seats in sorted(each.seats.items()):
            left = each.left.get(quota, KeptSeats(0, 0)).left
            print(each.id, rfc3339(each.until_ms), state, quota, seats, left, sep="\t")
    return 0


async def _codes(options: argparse.Namespace, settings: Settings) -> int:
    after = 0
    async with both_stores(settings) as stores:
        while True:
            page = await set_asides.list_codes(
                stores, options.exam, options.set_aside, after, _PAGE
            )
            for each in page:
                print(_line(each))
            if len(page) < _PAGE:
                return 0
            after = page[-1].code.number


async def _new(options: argparse.Namespace, settings: Settings) -> int:
    more = {} if options.note is None else {"note": options.note}
    bodies = [
        CODE_MAKING.read({"reason": options.reason, "uses_max": options.uses, **more, **chosen})
        for chosen in _chosen(options)
    ]
    async with both_stores(settings) as stores:
        for body in bodies:
            made = await set_asides.make_codes(
                stores,
                options.exam,
                options.set_aside,
                wanted_codes(options.exam, body),
                body["uses_max"],
                body.get("note", ""),
                body["reason"],
            )
            for each in made:
                print(each.id, each.code or "given", sep="\t")
    return 0


def _chosen(options: argparse.Namespace) -> list[dict[str, object]]:
    """Return what is to be made, or the codes given in portions of one call."""
    if options.codes is None:
        return [{"count": options.count}]
    text = sys.stdin.read() if options.codes == "-" else Path(options.codes).read_text("utf-8")
    codes = [line.strip() for line in text.splitlines() if line.strip()]
    return [
        {"codes": codes[start : start + GIVEN_MAX]}
        for start in range(0, max(1, len(codes)), GIVEN_MAX)
    ]


async def _revoke(options: argparse.Namespace, settings: Settings) -> int:
    reason = REASONED.read({"reason": options.reason})["reason"]
    async with both_stores(settings) as stores:
        revoked = await set_asides.revoke_code(
            stores, options.exam, options.set_aside, options.code, reason
        )
    print(_line(revoked))
    return 0


async def _hand_out(options: argparse.Namespace, settings: Settings) -> int:
    order = read_ops_order(
        {
            "candidate": options.candidate,
            "subjects": options.subject,
            "venues": options.venue,
            "accepted_notice": True,
            "reason": options.reason,
        }
    )
    key = options.key or secrets.token_hex(_KEY_BYTES)
    async with both_stores(settings) as stores:
        found = await set_asides.hand_out(
            stores.reservations, options.exam, options.set_aside, order, key, options.reason
        )
    held = found.reservation
    print(held.id, held.state, held.venue, rfc3339(held.deadline_ms), sep="\t")
    return 0


def _line(each: CodeView) -> str:
    code = each.code
    revoked = "-" if code.revoked_ms is None else f"revoked {rfc3339(code.revoked_ms)}"
    uses = f"{each.uses} of {code.uses_max}"
    return "\t".join((code.id, uses, rfc3339(code.made_ms), revoked, code.note or "-"))
