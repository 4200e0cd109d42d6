"""Commands that show what a candidate has, and act for one as ops do, each with a reason."""

import argparse
import secrets
from collections.abc import Awaitable, Callable

from quota_service.api.acting import MARKED_PAID, MOVE, REASONED, read_ops_order
from quota_service.api.models import refuse_bad_candidate
from quota_service.commands.adding import Group, add, add_group, add_reason, both_stores
from quota_service.domain.definition import rfc3339
from quota_service.domain.payment import RecordedPayment
from quota_service.domain.reservation import Reservation
from quota_service.registration import act_for
from quota_service.registration.stores import Stores
from quota_service.registration.view import view_candidate, with_payment
from quota_service.registration.view_list import entries_of
from quota_service.settings import Settings

_KEY_BYTES = 8


def add_candidate_commands(commands: Group) -> None:
    """Add `candidate` and its commands."""
    group = add_group(commands, "candidate", "show what a candidate has, and act for one")
    show = add(
        group,
        "show",
        _show,
        "print reservations, refunds, entries of the list and refusals of a candidate",
    )
    reserve = add(group, "reserve", _reserve, "reserve, also outside of the window")
    for parser in (show, reserve):
        parser.add_argument("exam")
        parser.add_argument("candidate")
    reserve.add_argument("--subject", action="append", required=True, help="again for more")
    reserve.add_argument(
        "--venue", action="append", required=True, help="again for more, in order of choice"
    )
    reserve.add_argument(
        "--key", help="idempotency key; the same names the same order (default: a new one)"
    )
    release = add(group, "release", _release, "give a hold back")
    move = add(group, "move", _move, "change the venue, also outside of the window")
    paid = add(group, "mark-paid", _mark_paid, "record that a reservation was paid in full")
    refund = add(group, "refund", _refund, "refund a booking, also outside of the window")
    for parser in (release, move, paid, refund):
        parser.add_argument("reservation")
    move.add_argument("venue")
    paid.add_argument("reference", help="of the payment, one for each payment")
    for parser in (reserve, release, move, paid, refund):
        add_reason(parser)


async def _show(options: argparse.Namespace, settings: Settings) -> int:
    refuse_bad_candidate(options.candidate)
    async with both_stores(settings) as stores:
        view = await view_candidate(stores.payments, options.exam, options.candidate)
        listed = await entries_of(stores.waiting_list, options.exam, options.candidate)
    for each in view.reservations:
        print(_line(each.reservation, each.payment))
    for refund in view.refunds:
        amount = f"{refund.amount} {refund.currency}"
        whose = "by ops" if refund.by_ops else "own"
        sent = "due" if refund.settled_ms is None else f"sent {rfc3339(refund.settled_ms)}"
        print(
            "refund", refund.reservation, rfc3339(refund.refunded_ms), amount, whose, sent, sep="\t"
        )
    for entry in (now.entry for now in listed):
        wants = (",".join(entry.subjects), ",".join(entry.venues), entry.reservation or "-")
        print("listed", entry.id, entry.state, entry.number, *wants, sep="\t")
    for refused in view.refusals:
        who = (refused.by.key_id, refused.by.request_id or "-")
        what = (refused.reservation or "-", rfc3339(refused.last_ms), refused.slug, refused.count)
        print("refused", *what, *who, sep="\t")
    return 0


async def _reserve(options: argparse.Namespace, settings: Settings) -> int:
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

    async def act(stores: Stores) -> Reservation:
        reserved = await act_for.reserve_for(
            stores.reservations, options.exam, order, key, options.reason
        )
        return reserved.reservation

    return await _print(settings, act)


async def _release(options: argparse.Namespace, settings: Settings) -> int:
    reason = REASONED.read({"reason": options.reason})["reason"]
    return await _print(
        settings, lambda stores: act_for.release_for(stores, options.reservation, reason)
    )


async def _move(options: argparse.Namespace, settings: Settings) -> int:
    body = MOVE.read({"reason": options.reason, "venue": options.venue})
    return await _print(
        settings,
        lambda stores: act_for.move(
            stores.payments, options.reservation, body["venue"], body["reason"]
        ),
    )


async def _mark_paid(options: argparse.Namespace, settings: Settings) -> int:
    body = MARKED_PAID.read({"reason": options.reason, "reference": options.reference})
    async with both_stores(settings) as stores:
        result = await act_for.mark_paid(
            stores.payments, options.reservation, body["reference"], body["reason"]
        )
    print(
        options.reservation, result.outcome, *([result.reason] if result.reason else []), sep="\t"
    )
    return 0


async def _refund(options: argparse.Namespace, settings: Settings) -> int:
    reason = REASONED.read({"reason": options.reason})["reason"]
    return await _print(
        settings, lambda stores: act_for.refund_for(stores.payments, options.reservation, reason)
    )


async def _print(settings: Settings, act: Callable[[Stores], Awaitable[Reservation]]) -> int:
    """Act for a candidate, and print the reservation as it is then."""
    async with both_stores(settings) as stores:
        view = await with_payment(stores, await act(stores))
    print(_line(view.reservation, view.payment))
    return 0


def _line(reservation: Reservation, payment: RecordedPayment | None) -> str:
    """Return a reservation as a line of columns."""
    columns = (
        reservation.id,
        reservation.state,
        reservation.venue,
        ",".join(reservation.subjects),
        f"{reservation.amount} {reservation.currency}",
        f"created {rfc3339(reservation.created_ms)}",
        "not paid" if payment is None else f"{payment.outcome} {payment.provider_reference}",
    )
    return "\t".join(columns)
