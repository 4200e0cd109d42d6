"""Commands for the day: pausing an exam and resuming it, extending holds, what was done."""

import argparse
from itertools import islice

from quota_service.api.day import EXTENDING, PAUSING, RESUMING, wanted_pause
from quota_service.commands.adding import Group, add, add_reason, both_stores, postgres
from quota_service.domain.definition import rfc3339
from quota_service.domain.exam import Exam, Pause
from quota_service.domain.extension import Extended
from quota_service.ledger.exams import ExamLedger
from quota_service.ledger.hold_extensions import HoldExtensions
from quota_service.ledger.ops_actions import OpsActions
from quota_service.registration.extend_holds import extend_holds
from quota_service.registration.pause import pause_exam, resume_exam
from quota_service.registration.registry import ExamRegistry
from quota_service.settings import Settings

_PAGE = 100


def add_day_commands(group: Group) -> None:
    """Add the commands to those of `exam`."""
    pause = add(
        group, "pause", _pause, "pause reserving everywhere, at a venue, in a subject or both"
    )
    resume = add(group, "resume", _resume, "end the pause of exactly this venue and subject")
    extend = add(group, "extend-holds", _extend, "move the deadlines of live holds out")
    shown = add(group, "operations", _operations, "print what is in force and what ops did")
    for parser in (pause, resume, extend, shown):
        parser.add_argument("exam")
    extend.add_argument("seconds", type=int, help="by how many seconds")
    for parser in (pause, resume, extend):
        parser.add_argument("--venue", help="id of a venue (default: all)")
        parser.add_argument("--subject", help="id of a subject (default: all)")
    pause.add_argument(
        "--stops",
        choices=["reserving", "changes"],
        default="reserving",
        help="changes: changes of venue to it too (default: %(default)s)",
    )
    pause.add_argument(
        "--retry-after", type=int, metavar="SECONDS", help="when those refused are to ask again"
    )
    resume.add_argument(
        "--extend-holds",
        action="store_true",
        help="give the live holds of it as much longer as the pause lasted",
    )
    resume.add_argument("--reason", help="why (default: that of the pause)")
    extend.add_argument("--reservation", metavar="ID", help="extend this hold alone")
    shown.add_argument("--last", type=int, default=20, help="how many acts (default: %(default)s)")
    pause.add_argument("--reason", required=True, help="why; the public sees it")
    add_reason(extend)


def _given(options: argparse.Namespace, **members: object) -> dict[str, object]:
    """Return a body of the members that were given, and the scope of the options."""
    scope = {"venue": options.venue, "subject": options.subject}
    return {name: value for name, value in {**scope, **members}.items() if value is not None}


async def _pause(options: argparse.Namespace, settings: Settings) -> int:
    body = PAUSING.read(
        _given(
            options,
            reason=options.reason,
            stops=options.stops,
            retry_after_s=options.retry_after,
        )
    )
    async with both_stores(settings) as stores:
        await pause_exam(stores, options.exam, wanted_pause(body))
        _print_pauses(stores.registry.find(options.exam))
    return 0


async def _resume(options: argparse.Namespace, settings: Settings) -> int:
    body = RESUMING.read(_given(options, reason=options.reason))
    scope = (body.get("venue", ""), body.get("subject", ""))
    async with both_stores(settings) as stores:
        done = await resume_exam(
            stores.maintenance,
            options.exam,
            *scope,
            body.get("reason", ""),
            extend_holds=options.extend_holds,
        )
        print("resumed", done.pause.scope, rfc3339(done.until_ms), sep="\t")
        if done.extended is not None:
            _print_extension(done.extended)
        _print_pauses(stores.registry.find(options.exam))
    return 0


async def _extend(options: argparse.Namespace, settings: Settings) -> int:
    body = EXTENDING.read(
        _given(
            options,
            seconds=options.seconds,
            reason=options.reason,
            reservation=options.reservation,
        )
    )
    async with both_stores(settings) as stores:
        done = await extend_holds(
            stores.maintenance,
            options.exam,
            body.get("venue", ""),
            body.get("subject", ""),
            body.get("reservation", ""),
            body["seconds"],
            body["reason"],
        )
    _print_extension(done)
    return 0


async def _operations(options: argparse.Namespace, settings: Settings) -> int:
    """Print what is in force, then the last acts, the newest first."""
    async with postgres(settings) as ledger:
        registry = ExamRegistry(ExamLedger(ledger))
        await registry.refresh()
        _print_pauses(registry.find(options.exam))
        for each in await HoldExtensions(ledger).unfinished(options.exam):
            about = each.extension.reservation or Pause.scope_of(
                each.extension.venue, each.extension.subject
            )
            print("extending", about, f"{each.extension.ms} ms", sep="\t")
        acts, before, left = OpsActions(ledger), 0, options.last
        while left > 0 and (page := await acts.of_exam(options.exam, before, min(left, _PAGE))):
            for act, extended in islice(page, left):
                count = "" if extended is None else f"{extended.extended} holds"
                who = (act.by.key_id, act.by.request_id or "-")
                what = (act.action, act.subject, act.outcome or "?", count)
                print(rfc3339(act.at_ms), *what, *who, act.reason, sep="\t")
            before, left = page[-1][0].id, left - len(page)
    return 0


def _print_pauses(exam: Exam) -> None:
    for pause in exam.pauses:
        stops = "changes" if pause.stops_changes else "reserving"
        print("paused", pause.scope, stops, rfc3339(pause.since_ms), pause.reason, sep="\t")


def _print_extension(done: Extended) -> None:
    how_far = "done" if done.is_done else "a worker goes on with it"
    print("extended", f"{done.extended} holds", f"{done.ms} ms", how_far, sep="\t")
