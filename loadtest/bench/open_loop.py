"""The client of the latency rows: requests at a set rate, whatever the answers do.

wrk waits for an answer before it asks again, so a slow server is asked less and looks better than
it is. Here every request has its time, evenly spaced, and its latency counts from that time, also
when it had to wait for a connection. It runs in a process of its own until it is ended
(SIGTERM) or its time is over. It prints a line when it starts, and then its samples as JSON.

    python -m loadtest.bench.open_loop --url URL --requests FILE --rate N --seconds N …
"""

import argparse
import asyncio
import gc
import signal
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import orjson

_ANSWER_LIMIT_S = 10.0
_START_DELAY_S = 0.05
_TICK_S = 0.002
"""How often what is due is sent: woken for each request, the client would take a whole core."""
_HEAD_END = b"\r\n\r\n"
_LENGTH = b"content-length:"


@dataclass(slots=True)
class Samples:
    """What was seen: the latency of every request in order of its time, None unanswered.

    `started_s` is by the monotonic clock, which all processes of a machine share.
    """

    started_s: float = 0.0
    interval_s: float = 0.0
    latencies_s: list[float | None] = field(default_factory=list)
    late_s: list[float] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)


class Client:
    """Sends numbered requests at their times over connections that take one at a time."""

    def __init__(self, requests: Sequence[bytes], rate: float, seconds: float) -> None:
        self._parts = [request.split(b"{n}") for request in requests]
        self._total = int(rate * seconds)
        self._free: list[Connection] = []
        self._waiting: deque[int] = deque()
        self._unanswered = 0
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        self.samples = Samples(interval_s=1 / rate)

    async def run(self, host: str, port: int, connections: int) -> None:
        """Connect, send everything, and return when it is answered."""
        for _ in range(connections):
            await self._loop.create_connection(lambda: Connection(self), host, port)
        self._loop.add_signal_handler(signal.SIGTERM, self._stop)
        # A collection of our own garbage would be counted as the server's latency.
        gc.collect()
        gc.disable()
        self.samples.started_s = self._loop.time() + _START_DELAY_S
        self._loop.call_at(self.samples.started_s, self._send_due)
        print("at work", flush=True)
        await self._ended.wait()

    def free(self, connection: "Connection") -> None:
        """Take a connection that has nothing to do, and give it what waits longest."""
        if self._waiting:
            connection.send(self._waiting.popleft())
        else:
            self._free.append(connection)

    def request(self, number: int) -> bytes:
        """Return a request with its number written in."""
        parts = self._parts[number % len(self._parts)]
        return parts[0] if len(parts) == 1 else (b"%08d" % number).join(parts)

    def answered(self, number: int, status: str) -> None:
        """Note an answer that is whole now."""
        samples = self.samples
        samples.latencies_s[number] = self._loop.time() - self._time_of(number)
        samples.statuses[status] += 1
        self._unanswered -= 1
        self._end_if_done()

    def _send_due(self) -> None:
        """Send every request that is due, and schedule the next."""
        now = self._loop.time()
        number = len(self.samples.latencies_s)
        while number < self._total and (at := self._time_of(number)) <= now:
            self.samples.late_s.append(now - at)
            self.samples.latencies_s.append(None)
            self._unanswered += 1
            if self._free:
                self._free.pop().send(number)
            else:
                self._waiting.append(number)
            number += 1
        if number < self._total:
            self._loop.call_at(max(self._time_of(number), now + _TICK_S), self._send_due)
        else:
            self._loop.call_later(_ANSWER_LIMIT_S, self._ended.set)
            self._end_if_done()

    def _time_of(self, number: int) -> float:
        return self.samples.started_s + number * self.samples.interval_s

    def _stop(self) -> None:
        self._total = len(self.samples.latencies_s)

    def _end_if_done(self) -> None:
        if not self._unanswered and len(self.samples.latencies_s) >= self._total:
            self._ended.set()


class Connection(asyncio.Protocol):
    """One connection: a request, its answer, the next request."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._number = 0
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Be ready for a request."""
        if not isinstance(transport, asyncio.Transport):
            raise TypeError(transport)
        self._transport = transport
        self._client.free(self)

    def send(self, number: int) -> None:
        """Send the request of this number."""
        self._number = number
        self._transport.write(self._client.request(number))

    def data_received(self, data: bytes) -> None:
        """Take a part of the answer, mostly the whole of it."""
        self._buffer += data
        head_end = self._buffer.find(_HEAD_END)
        if head_end < 0:
            return
        head = self._buffer[:head_end].lower()
        at = head.find(_LENGTH)
        length = int(head[at + len(_LENGTH) :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        if len(self._buffer) < head_end + len(_HEAD_END) + length:
            return
        self._buffer = b""
        self._client.answered(self._number, head[9:12].decode("ascii"))
        self._client.free(self)


async def _run(options: argparse.Namespace) -> Samples:
    requests = options.requests.read_bytes().split(b"\0")
    client = Client(requests, options.rate, options.seconds)
    place = urlsplit(options.url)
    await client.run(str(place.hostname), int(place.port or 80), options.connections)
    return client.samples


def main() -> None:
    """Send, and print the samples."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--requests", type=Path, required=True)
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--connections", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    options = parser.parse_args()
    samples = asyncio.run(_run(options))
    print(orjson.dumps(samples).decode(), flush=True)


if __name__ == "__main__":
    main()
