"""Commands that show and administer the waiting room of an exam."""

import argparse
from collections.abc import Awaitable, Callable

from quota_service.api.acting import REASONED
from quota_service.api.draws import EVIDENCE
from quota_service.commands.adding import Group, add, add_group, add_reason, both_stores
from quota_service.definitions.fields import MAX_RATE_PER_S, MIN_RATE_PER_S
from quota_service.registration import room_admin
from quota_service.registration.decide_source import open_without_source, put_in_source
from quota_service.registration.room_admin import AdministeredRoom
from quota_service.registration.stores import WaitingRoomStores
from quota_service.settings import Settings

_ADAPTIVE = "adaptive"


def add_room_commands(commands: Group) -> None:
    """Add `room` and its commands."""
    group = add_group(commands, "room", "show and administer the waiting room of an exam")
    add(group, "show", _show, "print the state of a waiting room").add_argument("exam")
    rate = add(group, "rate", _rate, "set how many candidates are admitted a second")
    rate.add_argument("exam")
    rate.add_argument("rate", type=_rate_asked, help=f"candidates a second, or `{_ADAPTIVE}`")
    pause = add(group, "pause", _pause, "admit no candidate until `resume`; needs no Redis")
    pause.add_argument("exam")
    add(group, "resume", _resume, "let admission go on").add_argument("exam")
    source = add(group, "source", _source, "put in what the source of the draw has come to")
    opened = add(
        group,
        "open-without-draw",
        _open_without_draw,
        "admit although the source of the draw has not come; the decision is final",
    )
    for parser in (source, opened):
        parser.add_argument("exam")
        add_reason(parser)
    source.add_argument(
        "evidence", help="the outcome of an event word for word, or the signature of a drand round"
    )


async def _show(options: argparse.Namespace, settings: Settings) -> int:
    return await _print(settings, lambda stores: room_admin.show(stores, options.exam))


async def _rate(options: argparse.Namespace, settings: Settings) -> int:
    rate = options.rate
    return await _print(settings, lambda stores: room_admin.set_rate(stores, options.exam, rate))


async def _pause(options: argparse.Namespace, settings: Settings) -> int:
    return await _print(settings, lambda stores: room_admin.pause(stores, options.exam))


async def _resume(options: argparse.Namespace, settings: Settings) -> int:
    return await _print(settings, lambda stores: room_admin.resume(stores, options.exam))


async def _source(options: argparse.Namespace, settings: Settings) -> int:
    body = EVIDENCE.read({"evidence": options.evidence, "reason": options.reason})
    return await _print(
        settings,
        lambda stores: put_in_source(stores, options.exam, body["evidence"], body["reason"]),
    )


async def _open_without_draw(options: argparse.Namespace, settings: Settings) -> int:
    reason = REASONED.read({"reason": options.reason})["reason"]
    return await _print(settings, lambda stores: open_without_source(stores, options.exam, reason))


async def _print(
    settings: Settings, act: Callable[[WaitingRoomStores], Awaitable[AdministeredRoom]]
) -> int:
    """Do something with a waiting room, and print it as it is then."""
    async with both_stores(settings) as stores:
        administered = await act(stores.waiting_room)
    room, document, statistics = administered.room, administered.document, administered.statistics
    is_fixed = room.fixed_rate is not None
    told = {
        "phase": document.phase,
        "paused": "yes" if room.is_paused else "no",
        "rate": f"{document.rate_per_s:g}/s, {'set by ops' if is_fixed else _ADAPTIVE}",
        "waiting": document.waiting,
        "serving": room.serving,
        "places": "unknown: Redis does not answer" if statistics is None else statistics.places,
        "leader": room.leader or "none",
    }
    if room.draw is not None:
        entries, known = room.draw.entries, room.draw.known
        told["entries"] = "not frozen" if entries is None else entries.count
        told["source"] = "not known" if known is None else known.evidence
    for name, value in told.items():
        print(f"{name}\t{value}")
    return 0


def _rate_asked(text: str) -> float | None:
    """Return a rate that ops may set, None where it is to adapt."""
    if text == _ADAPTIVE:
        return None
    try:
        rate = float(text)
    except ValueError:
        rate = 0
    if not MIN_RATE_PER_S <= rate <= MAX_RATE_PER_S:
        wanted = f"a number from {MIN_RATE_PER_S} to {MAX_RATE_PER_S}, or `{_ADAPTIVE}`"
        raise argparse.ArgumentTypeError(f"must be {wanted}, not {text!r}")
    return rate
