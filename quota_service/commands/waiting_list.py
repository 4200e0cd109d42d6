"""Commands that show and administer the waiting list of an exam."""

import argparse
from collections.abc import Awaitable, Callable

from quota_service.api.waiting_list_ops import LENGTH, REASON
from quota_service.commands.adding import Group, add, add_group, add_reason, both_stores
from quota_service.registration import list_admin
from quota_service.registration.list_admin import AdministeredList
from quota_service.registration.stores import WaitingListStores
from quota_service.settings import Settings

_BY_DEFINITION = "defined"
_Act = Callable[[WaitingListStores, str, str], Awaitable[AdministeredList]]


def add_list_commands(commands: Group) -> None:
    """Add `list` and its commands."""
    group = add_group(commands, "list", "show and administer the waiting list of an exam")
    show = add(group, "show", _show, "print how many wait, by state and by quota")
    cap = add(group, "cap", _cap, "set how many entries may wait for one quota")
    pause = add(group, "pause", _pause, "offer no seats until `resume`; needs no Redis")
    resume = add(group, "resume", _resume, "offer seats again")
    suspend = add(group, "suspend", _suspend, "let nobody join until `reopen`; needs no Redis")
    reopen = add(group, "reopen", _reopen, "let candidates join again")
    for parser in (show, cap, pause, resume, suspend, reopen):
        parser.add_argument("exam")
    cap.add_argument(
        "length", type=_length_asked, help=f"entries, or `{_BY_DEFINITION}` for the definition's"
    )
    for parser in (cap, pause, resume, suspend, reopen):
        add_reason(parser)


async def _show(options: argparse.Namespace, settings: Settings) -> int:
    return await _print(settings, lambda stores: list_admin.show(stores, options.exam))


async def _cap(options: argparse.Namespace, settings: Settings) -> int:
    body = LENGTH.read({"reason": options.reason, "length_max": options.length})
    return await _print(
        settings,
        lambda stores: list_admin.set_length(
            stores, options.exam, body["length_max"], body["reason"]
        ),
    )


async def _pause(options: argparse.Namespace, settings: Settings) -> int:
    return await _act(options, settings, list_admin.pause)


async def _resume(options: argparse.Namespace, settings: Settings) -> int:
    return await _act(options, settings, list_admin.resume)


async def _suspend(options: argparse.Namespace, settings: Settings) -> int:
    return await _act(options, settings, list_admin.suspend)


async def _reopen(options: argparse.Namespace, settings: Settings) -> int:
    return await _act(options, settings, list_admin.reopen)


async def _act(options: argparse.Namespace, settings: Settings, act: _Act) -> int:
    reason = REASON.read({"reason": options.reason})["reason"]
    return await _print(settings, lambda stores: act(stores, options.exam, reason))


async def _print(
    settings: Settings, act: Callable[[WaitingListStores], Awaitable[AdministeredList]]
) -> int:
    """Do something with a waiting list, and print it as it is then."""
    async with both_stores(settings) as stores:
        administered = await act(stores.waiting_list)
    status = administered.status
    print("paused", "yes" if status.is_paused else "no", sep="\t")
    print("suspended", "yes" if status.is_suspended else "no", sep="\t")
    print("order", administered.rules.order, sep="\t")
    print("length_max", administered.length_max, sep="\t")
    print("last_number", status.last_number, sep="\t")
    for state, count in administered.counts.by_state.items():
        print(state, count, sep="\t")
    for quota, count in administered.counts.waiting_for.items():
        print(quota, count, sep="\t")
    return 0


def _length_asked(text: str) -> int | None:
    """Return how long a list may be, None where the definition says."""
    return None if text == _BY_DEFINITION else int(text)
