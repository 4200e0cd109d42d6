"""Commands about seat releases: more seats of an exam, each at its time."""

import argparse
import re

from quota_service.api.acting import REASONED
from quota_service.api.seat_releases import NEW_RELEASE, release_in
from quota_service.commands.adding import Group, add, add_group, add_reason, both_stores
from quota_service.domain.definition import rfc3339
from quota_service.domain.exam import Announce
from quota_service.domain.seat_release import StoredRelease
from quota_service.registration.release_seats import cancel_release, list_releases, plan_release
from quota_service.settings import Settings

_SEATS = re.compile(r"(?P<venue>[^/=]+)/(?P<subject>[^/=]+)=(?P<count>[0-9]{1,9})", re.ASCII)


def add_release_commands(commands: Group) -> None:
    """Add `release` and its commands."""
    group = add_group(commands, "release", "plan, list and cancel seat releases: more seats, later")
    listing = add(group, "list", _list, "print the seat releases of an exam, ended ones too")
    plan = add(group, "plan", _plan, "plan a seat release; the same again changes nothing")
    cancel = add(group, "cancel", _cancel, "let a seat release that is planned not happen")
    for parser in (listing, plan, cancel):
        parser.add_argument("exam")
    for parser in (plan, cancel):
        parser.add_argument("release", help="id of the seat release")
    plan.add_argument(
        "--at", required=True, metavar="TIME", help="RFC 3339 with an offset, later than now"
    )
    plan.add_argument(
        "--announce", required=True, choices=[*Announce], help="what is public before"
    )
    plan.add_argument(
        "--seats", required=True, nargs="+", type=_seats, metavar="VENUE/SUBJECT=SEATS"
    )
    for parser in (plan, cancel):
        add_reason(parser)


async def _list(options: argparse.Namespace, settings: Settings) -> int:
    async with both_stores(settings) as stores:
        for release in await list_releases(stores, options.exam):
            _print(release)
    return 0


async def _plan(options: argparse.Namespace, settings: Settings) -> int:
    seats: dict[str, dict[str, int]] = {}
    for venue, subject, count in options.seats:
        seats.setdefault(venue, {})[subject] = count
    body = NEW_RELEASE.read(
        {
            "id": options.release,
            "at": options.at,
            "announce": options.announce,
            "seats": seats,
            "reason": options.reason,
        }
    )
    async with both_stores(settings) as stores:
        planned = await plan_release(stores, options.exam, release_in(body), body["reason"])
    _print(planned.release)
    return 0


async def _cancel(options: argparse.Namespace, settings: Settings) -> int:
    reason = REASONED.read({"reason": options.reason})["reason"]
    async with both_stores(settings) as stores:
        _print(await cancel_release(stores, options.exam, options.release, reason))
    return 0


def _print(stored: StoredRelease) -> None:
    release = stored.release
    seats = " ".join(f"{quota}={count}" for quota, count in sorted(release.seats.items()))
    told = (release.announce, stored.source, stored.state, seats)
    print(release.id, rfc3339(release.at_ms), *told, sep="\t")


def _seats(text: str) -> tuple[str, str, int]:
    """Return venue, subject and seats."""
    parts = _SEATS.fullmatch(text)
    if parts is None:
        raise argparse.ArgumentTypeError(f"must be VENUE/SUBJECT=SEATS, not {text!r}")
    return parts["venue"], parts["subject"], int(parts["count"])
