"""What supervisor and worker say to each other, over a pair of connected Unix sockets.

To the worker go single bytes, one of them with a connection attached; as the bytes keep their
order, a worker that reads STOP has every connection that was handed to it. To the supervisor go
lines: an empty one for each connection taken, before a byte of it is read, so that one without is
untouched and can go to another worker; and reports as JSON.
"""

import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import orjson

TAKE = b"c"
"""With this byte comes a connection."""
NOTICE = b"n"
"""The service will shut down soon: say so to who asks, and go on serving."""
STOP = b"s"
"""No connection comes after this; finish what is under way and end."""

TAKEN = b"\n"
"""Says to the supervisor that the connection is the worker's alone now."""

_READ_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Report:
    """How a worker is; it goes out several times a second.

    `connections` are those open now. A worker that `wants_to_leave` was asked to end by somebody
    else, and waits for STOP.
    """

    faults: Mapping[str, str]
    connections: int
    wants_to_leave: bool = False

    def line(self) -> bytes:
        """Return the report as it goes over the channel."""
        return orjson.dumps(self, option=orjson.OPT_APPEND_NEWLINE)


class LineReader:
    """Puts together what one worker says from what the socket yields."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._rest = b""
        self.is_over = False

    def read(self) -> Iterator[Report | None]:
        """Yield what has arrived, None for each connection taken.

        Afterwards `is_over` tells whether more can come.
        """
        try:
            received = self._channel.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            received = b""
        self.is_over = not received
        *lines, self._rest = (self._rest + received).split(b"\n")
        for line in lines:
            yield Report(**orjson.loads(line)) if line else None
