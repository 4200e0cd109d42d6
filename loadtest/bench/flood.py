"""A client that reserves at a given rate, independent of the answers.

With a rate it is an open loop: every request has its time, and its latency counts from that time,
also when every connection was busy then. Without one, each connection asks again as soon as it was
answered. One thread on raw sockets, requests as ready bytes: it shares the machine with what it
measures. Prints what it saw as JSON.

    python -m loadtest.bench.flood --url URL --key KEY --run NAME --seconds N [--rate N]
"""

import argparse
import gc
import select
import socket
import statistics
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import orjson

_BATCH_MAX = 512
_LINGER_S = 3.0
"""How long answers are waited for when everything is sent."""
_READ_BYTES = 65_536
_STATUS = slice(9, 12)
_PERCENTILES = 100


@dataclass(slots=True)
class Seen:
    """What was sent and answered: counts and latencies by status."""

    sent: int = 0
    broken: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    latencies_s: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))


class Flood:
    """Connections that take one request at a time."""

    def __init__(self, url: str, key: str, run: str) -> None:
        place = urlsplit(url)
        self._address = (str(place.hostname), int(place.port or 80))
        body = (
            b'{"candidate":"%b-%%08d","subjects":["qms"],"venues":["venue-%%d"],'
            b'"accepted_notice":true}' % run.encode()
        )
        length = len(body % (0, 1))
        head = (
            "POST /v1/exams/bench/reservations HTTP/1.1\r\nHost: quota\r\n"
            f"Authorization: Bearer {key}\r\nContent-Type: application/json\r\n"
            f"Idempotency-Key: key-{run}-%08d\r\nContent-Length: {length}\r\n\r\n"
        )
        self._template = head.encode() + body
        self._poll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        self._times: dict[int, float] = {}
        self._free: list[int] = []
        self._buffer = bytearray(_READ_BYTES)
        self.seen = Seen()

    def connect(self, count: int) -> None:
        """Open connections."""
        for _ in range(count):
            connection = socket.create_connection(self._address)
            connection.setblocking(False)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._sockets[connection.fileno()] = connection
            self._poll.register(connection.fileno(), select.EPOLLIN)
            self._free.append(connection.fileno())

    def run(self, seconds: float, rate: float) -> float:
        """Send for that long, wait for the last answers; return how long the sending took."""
        started = time.perf_counter()
        ends = started + seconds
        while (now := time.perf_counter()) < ends:
            if rate:
                self._send_due(started, now, rate)
            else:
                while self._free:
                    self._send(now)
            self._receive(0.001 if rate else 0.05)
        elapsed_s = time.perf_counter() - started
        while self._times and time.perf_counter() < ends + _LINGER_S:
            self._receive(0.05)
        return elapsed_s

    def _send_due(self, started: float, now: float, rate: float) -> None:
        due = int((now - started) * rate)
        for _ in range(_BATCH_MAX):
            if self.seen.sent >= due or not self._free:
                return
            self._send(started + self.seen.sent / rate)

    def _send(self, at: float) -> None:
        number = self.seen.sent
        place = self._free.pop()
        self.seen.sent += 1
        self._times[place] = at
        self._sockets[place].send(self._template % (number, number, number % 9 + 1))

    def _receive(self, timeout_s: float) -> None:
        for place, _ in self._poll.poll(timeout_s, _BATCH_MAX):
            try:
                count = self._sockets[place].recv_into(self._buffer)
            except ConnectionError:
                count = 0
            if not count:
                self._poll.unregister(place)
                self._sockets.pop(place).close()
                if self._times.pop(place, None) is None:
                    self._free.remove(place)  # it was idle for too long: nothing was lost
                else:
                    self.seen.broken += 1
                continue
            at = self._times.pop(place, None)
            if at is None:
                continue  # the rest of an answer whose beginning was counted
            status = self._buffer[_STATUS].decode()
            self.seen.statuses[status] += 1
            self.seen.latencies_s[status].append(time.perf_counter() - at)
            self._free.append(place)


def percentiles(latencies_s: list[float]) -> dict[str, float]:
    """Return median and p99 in milliseconds."""
    cuts = statistics.quantiles(latencies_s, n=_PERCENTILES) if len(latencies_s) > 1 else [0.0] * 99
    return {"p50_ms": cuts[49] * 1000, "p99_ms": cuts[98] * 1000}


def main() -> None:
    """Send, and print what was seen."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--key", required=True)
    parser.add_argument("--run", required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--connections", type=int, default=256)
    parser.add_argument("--rate", type=float, default=0.0)
    options = parser.parse_args()
    flood = Flood(options.url, options.key, options.run)
    flood.connect(options.connections)
    # A collection of our own garbage would be counted as the service's latency.
    gc.disable()
    elapsed_s = flood.run(options.seconds, options.rate)
    seen = flood.seen
    print(
        orjson.dumps(
            {
                "elapsed_s": elapsed_s,
                "sent": seen.sent,
                "broken": seen.broken,
                "statuses": seen.statuses,
                "latencies": {s: percentiles(found) for s, found in seen.latencies_s.items()},
            }
        ).decode()
    )


if __name__ == "__main__":
    main()
