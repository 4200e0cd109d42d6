"""Commands for a venue that falls out: closed for sale, emptied, opened again."""

import argparse

from quota_service.api.venues import CLOSING, MOVING_OUT
from quota_service.commands.adding import Group, add, add_group, add_reason, both_stores
from quota_service.domain.errors import UnknownVenue
from quota_service.domain.exam import Quota
from quota_service.registration.close_venue import close_venue, open_venue
from quota_service.registration.move_out import move_out
from quota_service.registration.stores import Stores
from quota_service.settings import Settings

_PAGE = 200
"""Bookings and holds that are moved before they are told."""


def add_venue_commands(commands: Group) -> None:
    """Add `venue` and its commands."""
    group = add_group(commands, "venue", "close a venue of an exam, empty it, open it again")
    show = add(group, "show", _show, "print what is booked, held and left at a venue, by subject")
    close = add(group, "close", _close, "sell nothing more at a venue, in every process at once")
    opened = add(group, "open", _open, "sell again what is left at a venue")
    move = add(
        group,
        "move-out",
        _move_out,
        "move what is booked and held at a closed venue to others: the first with room of those "
        "that the candidate ordered, then of --to; exit status 1 when something stays",
    )
    for parser in (show, close, opened, move):
        parser.add_argument("exam")
        parser.add_argument("venue")
    for parser in (close, opened):
        parser.add_argument(
            "--subject", nargs="+", default=[], help="ids of subjects (default: all)"
        )
    move.add_argument("--to", nargs="+", default=[], metavar="VENUE", help="in this order")
    for parser in (close, opened, move):
        add_reason(parser)


async def _show(options: argparse.Namespace, settings: Settings) -> int:
    async with both_stores(settings) as stores:
        await _print(stores, options)
    return 0


async def _close(options: argparse.Namespace, settings: Settings) -> int:
    body = CLOSING.read({"reason": options.reason, "subjects": options.subject})
    async with both_stores(settings) as stores:
        await close_venue(stores, options.exam, options.venue, body["subjects"], body["reason"])
        await _print(stores, options)
    return 0


async def _open(options: argparse.Namespace, settings: Settings) -> int:
    body = CLOSING.read({"reason": options.reason, "subjects": options.subject})
    async with both_stores(settings) as stores:
        await open_venue(stores, options.exam, options.venue, body["subjects"], body["reason"])
        await _print(stores, options)
    return 0


async def _print(stores: Stores, options: argparse.Namespace) -> None:
    """Print the seats of a venue, a line for each subject."""
    exam = stores.registry.find(options.exam)
    if options.venue not in exam.venue_ids:
        raise UnknownVenue(options.venue)
    seats = await stores.seats.snapshot(stores.registry.shard(exam.id))
    print("subject", "sale", "booked", "held", "left", sep="\t")
    for subject in exam.session_of:
        quota = Quota(options.venue, subject)
        sale = "closed" if exam.is_closed(options.venue, (subject,)) else "open"
        held = seats.held.get(quota, 0) + seats.confirming.get(quota, 0)
        left = seats.remaining.get(quota, 0)
        print(subject, sale, seats.confirmed.get(quota, 0), held, left, sep="\t")


async def _move_out(options: argparse.Namespace, settings: Settings) -> int:
    """Move page by page, and print each reservation as its page is done."""
    to = {"venues": options.to} if options.to else {}
    body = MOVING_OUT.read({"reason": options.reason, **to})
    after: str | None = ""
    has_left = True
    async with both_stores(settings) as stores:
        while after is not None:
            page = await move_out(
                stores.maintenance,
                options.exam,
                options.venue,
                body.get("venues", []),
                body["reason"],
                after,
                _PAGE,
            )
            for each in page.reservations:
                end = ("moved", each.venue, each.rule) if each.rule else ("stayed", "", each.why)
                print(each.reservation, each.candidate, each.state, *end, sep="\t", flush=True)
                has_left = has_left and each.rule is not None
            after = page.after
    return 0 if has_left else 1
