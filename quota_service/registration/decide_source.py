"""What ops decide of a draw with a source: they put in what it has come to, or open without it.

    1. lock the draw in Postgres, and refuse what cannot be
    2. note who does it and why, in the same transaction
    3. write it; commit                                                          <- the decision
    4. read the room again, so that this process answers it at once

A process that dies before the commit has changed nothing. One that dies after it has decided: the
same call again finds it done, and changes nothing. Of two at once the second sees what the first
has done, because the draw is locked.
"""

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

from quota_service.domain.errors import (
    EntriesOpen,
    OpenedWithoutSource,
    SignatureInvalid,
    SourceKnown,
    SourceNotDue,
    SourceOff,
    WaitingRoomOff,
)
from quota_service.domain.exam import DrawSource, SourceKind
from quota_service.observability.caller import caller
from quota_service.registration import room_admin
from quota_service.registration.room_admin import AdministeredRoom
from quota_service.registration.stores import WaitingRoomStores
from quota_service.waiting_room.drand import BeaconRefused, check_signature, read_signature
from quota_service.waiting_room.room import SourcedDraw

if TYPE_CHECKING:
    from quota_service.ledger.pool import Connection

_SUBJECT = "waiting-room"
"""What these acts are done to."""


async def put_in_source(
    stores: WaitingRoomStores, exam: str, evidence: str, reason: str
) -> AdministeredRoom:
    """Put in the outcome of an event word for word, or the signature of a round in hex.

    The same again changes nothing. Raises SourceOff, SignatureInvalid, EntriesOpen, SourceNotDue,
    SourceKnown where it is another than before, and OpenedWithoutSource.
    """
    _refuse_without_room(stores, exam)
    async with stores.ledger.transaction() as connection:
        draw = await _locked(stores, connection, exam)
        evidence, data = _checked(draw.source, evidence)
        if draw.sourceless is not None:
            raise OpenedWithoutSource(draw.sourceless.decided_ms)
        if draw.known is None:
            randomness = hashlib.sha256(data).digest()
            await _note(stores, connection, exam, "put-in-source", reason, {"evidence": evidence})
            if not await stores.draws.note_source(connection, exam, evidence, randomness):
                raise SourceNotDue(draw.source.at_ms)
        elif draw.known.evidence != evidence:
            raise SourceKnown(draw.known.evidence)
        stores.failpoint("decide: before commit")
    stores.failpoint("decide: after commit")
    return await room_admin.show(stores, exam)


async def open_without_source(
    stores: WaitingRoomStores, exam: str, reason: str
) -> AdministeredRoom:
    """Let the draw be admitted without its source, which is late; again changes nothing.

    Raises SourceOff, EntriesOpen, SourceNotDue, and SourceKnown where it has come meanwhile.
    """
    _refuse_without_room(stores, exam)
    async with stores.ledger.transaction() as connection:
        draw = await _locked(stores, connection, exam)
        if draw.known is not None:
            raise SourceKnown(draw.known.evidence)
        if draw.sourceless is None:
            await _note(stores, connection, exam, "open-without-draw", reason, {})
            if not await stores.draws.open_without_source(connection, exam, reason):
                raise SourceNotDue(draw.source.at_ms)
        stores.failpoint("decide: before commit")
    stores.failpoint("decide: after commit")
    return await room_admin.show(stores, exam)


def _refuse_without_room(stores: WaitingRoomStores, exam: str) -> None:
    if stores.registry.find(exam).waiting_room is None:
        raise WaitingRoomOff


async def _locked(stores: WaitingRoomStores, connection: "Connection", exam: str) -> SourcedDraw:
    room = await stores.waiting_rooms.draw_for_change(connection, exam)
    if room is None or room.draw is None:
        raise SourceOff
    if room.draw.entries is None:
        raise EntriesOpen(room.draw.source.entries_close_at_ms)
    return room.draw


def _checked(source: DrawSource, evidence: str) -> tuple[str, bytes]:
    """Return the evidence as it is published, and the bytes that the randomness is made of."""
    if source.kind is SourceKind.EVENT:
        return evidence, evidence.encode()
    try:
        signature = read_signature(evidence)
        check_signature(source.chain, source.round, signature)
    except BeaconRefused as error:
        raise SignatureInvalid(str(error)) from error
    return signature.hex(), signature


async def _note(  # noqa: PLR0917  a note has as many columns
    stores: WaitingRoomStores,
    connection: "Connection",
    exam: str,
    action: str,
    reason: str,
    detail: Mapping[str, object],
) -> None:
    await stores.ops_actions.note(connection, exam, caller(), action, _SUBJECT, reason, detail)
