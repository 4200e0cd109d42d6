"""The usher's process: reads one request of each connection it is lent, and turns it away.

Started by `usher.py` as `python -m quota_service.api.usher_process CHANNEL`, with the parts of the
answer on standard input. It keeps nothing: a connection that comes over the channel is read once,
answered, closed here (it stays open where it came from) and told of in a verdict. What it must not
turn away it hands back with the bytes it has read. It ends when its channel does.
"""

import os
import signal
import socket
import struct
import sys
from enum import IntEnum

import orjson

from quota_service.api.refusals import RefusalParts, Refusals
from quota_service.api.request_head import read_refusable
from quota_service.overload.classes import CAN_WAIT, Work

LENT_AT_ONCE = 253
"""Connections in one message: as many as the system passes on at once."""
LENT = struct.Struct("=H")
"""How many connections come with a message."""
VERDICT = struct.Struct("=BBI")
"""What became of one: its end, the class of its request, and a number that its end explains."""
UNSENT = struct.Struct("=I")
"""Before the part of an answer that could not be written: bytes of the body still to come."""
READY = b"ready"
"""What it says first."""
READ_MAX_BYTES = 65_536
_NICE = 5
"""Serving goes first where processors are short: who is turned away can wait a moment longer."""


class End(IntEnum):
    """What became of a connection that was lent."""

    TURNED_AWAY = 1
    """Answered; the number tells how many bytes of the request's body are still to come."""
    HANDED_BACK = 2
    """Not for us; as many bytes as the number tells, which were read, follow in a message."""
    NOT_READ = 3
    """Nothing could be read: it is empty, or broken."""
    UNSENT = 4
    """As TURNED_AWAY, but as many bytes follow in a message: UNSENT and what to write."""


def main(arguments: list[str]) -> int:
    """Turn away until the channel ends; return the exit status."""
    os.nice(_NICE)
    # It ends with its channel. Who ends the service signals everybody in some places, and what is
    # under way is finished then.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    refusals = RefusalParts(**orjson.loads(sys.stdin.buffer.read()))
    with socket.socket(fileno=int(arguments[0])) as channel:
        channel.send(READY)
        return _work(channel, Refusals(refusals), refusals.body_max_bytes)


def _work(channel: socket.socket, refusals: Refusals, body_max_bytes: int) -> int:
    while True:
        try:
            message, lent, _, _ = socket.recv_fds(channel, LENT.size, LENT_AT_ONCE)
        except ConnectionError:
            return 0
        if not message:
            return 0
        if LENT.unpack(message)[0] != len(lent):
            return 1  # the system has dropped some: who lent them has to know
        try:
            verdicts, rest = _turn_away(lent, refusals, body_max_bytes)
        finally:
            for connection in lent:
                os.close(connection)
        try:
            for said in (verdicts, *rest):
                channel.send(said)
        except ConnectionError:
            return 0


def _turn_away(
    lent: list[int], refusals: Refusals, body_max_bytes: int
) -> tuple[bytes, list[bytes]]:
    """Return the verdicts on some connections, in their order, and what follows them."""
    # All are read before any is answered: a peer that is awake is not woken for each answer.
    received = [_read(connection) for connection in lent]
    verdicts = bytearray()
    rest: list[bytes] = []
    for connection, data in zip(lent, received, strict=True):
        head = read_refusable(data, body_max_bytes) if data else None
        if head is None or head.work not in CAN_WAIT:
            verdicts += VERDICT.pack(
                End.HANDED_BACK if data else End.NOT_READ, Work.FREE, len(data)
            )
            if data:
                rest.append(data)
            continue
        unsent = _write(connection, refusals.answer(head))
        if unsent:
            said = UNSENT.pack(head.missing) + unsent
            verdicts += VERDICT.pack(End.UNSENT, head.work, len(said))
            rest.append(said)
        else:
            verdicts += VERDICT.pack(End.TURNED_AWAY, head.work, head.missing)
    return bytes(verdicts), rest


def _read(connection: int) -> bytes:
    """Return what has come; nothing when that cannot be said here."""
    try:
        return os.read(connection, READ_MAX_BYTES)
    except OSError:
        return b""


def _write(connection: int, answer: bytes) -> bytes:
    """Return what could not be written."""
    try:
        return answer[os.write(connection, answer) :]
    except BlockingIOError:
        return answer
    except OSError:  # broken off: its own process finds that out
        return b""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
