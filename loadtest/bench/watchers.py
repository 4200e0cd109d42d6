"""Many watchers of one stream: connections that read what comes and throw it away.

It is as cheap as a client can be, because it shares the machine with what is measured. It prints a
line when every watcher has been sent something, watches until it is ended (SIGTERM), and then
prints how many watchers were left and how many bytes they were sent.

    python -m loadtest.bench.watchers --url URL --count N
"""

import argparse
import select
import signal
import socket
from types import FrameType
from urllib.parse import urlsplit

import orjson

_BUFFER_BYTES = 256 * 1024
_CONNECT_TIMEOUT_S = 10.0
_POLL_S = 0.5
_EVENTS_MAX = 512
_STATUS = b"HTTP/1.1 200"


class Watchers:
    """Open streams and what came over them."""

    def __init__(self) -> None:
        self.bytes = 0
        self._open: dict[int, socket.socket] = {}
        self._silent: set[int] = set()
        self._poll = select.epoll()
        self._buffer = memoryview(bytearray(_BUFFER_BYTES))

    @property
    def count(self) -> int:
        """How many are left."""
        return len(self._open)

    @property
    def all_have_heard(self) -> bool:
        """Whether every watcher has been sent something."""
        return not self._silent

    def add(self, host: str, port: int, request: bytes) -> None:
        """Open one more stream."""
        connection = socket.create_connection((host, port), timeout=_CONNECT_TIMEOUT_S)
        connection.sendall(request)
        connection.setblocking(False)
        number = connection.fileno()
        self._open[number] = connection
        self._silent.add(number)
        self._poll.register(number, select.EPOLLIN)

    def read(self) -> None:
        """Read the received bytes, for a bounded time."""
        for number, _ in self._poll.poll(_POLL_S, _EVENTS_MAX):
            connection = self._open[number]
            try:
                size = connection.recv_into(self._buffer)
            except ConnectionError:
                size = 0
            refused = number in self._silent and self._buffer[: len(_STATUS)] != _STATUS
            self._silent.discard(number)
            self.bytes += size
            if not size or refused:
                self._poll.unregister(number)
                self._open.pop(number).close()


class _Told(BaseException):
    """SIGTERM has arrived."""


def _end(_signal: int, _frame: FrameType | None) -> None:
    raise _Told


def main() -> None:
    """Watch until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--count", type=int, required=True)
    options = parser.parse_args()
    place = urlsplit(options.url)
    host, port = str(place.hostname), int(place.port or 80)
    lines = (f"GET {place.path} HTTP/1.1", "Host: bench", "Accept: text/event-stream", "", "")
    request = "\r\n".join(lines).encode()
    signal.signal(signal.SIGTERM, _end)
    watchers = Watchers()
    try:
        for _ in range(options.count):
            watchers.add(host, port, request)
        while not watchers.all_have_heard:
            watchers.read()
        print(watchers.count, flush=True)
        watchers.bytes = 0
        while True:
            watchers.read()
    except _Told:
        print(orjson.dumps({"left": watchers.count, "bytes": watchers.bytes}).decode())


if __name__ == "__main__":
    main()
