"""Runs wrk, the client of the throughput rows: one thread, closed loop, requests of our making.

wrk counts answers by whether they are refusals (status 400 and up). What they were beyond that, the
service's own counters count: see `counters.py`.
"""

import asyncio
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import orjson

from loadtest.bench.errors import BenchError, MissingError

_SCRIPT = Path(__file__).parent / "requests.lua"
_ANSWER_TIMEOUT_S = 10
_OVERTIME_S = 30
"""How long wrk may take beyond the time it was given before the run is given up."""


@dataclass(frozen=True, slots=True)
class Counted:
    """What wrk counted in one run; times in milliseconds."""

    requests: int
    refused: int
    duration_s: float
    p50_ms: float
    p99_ms: float

    @property
    def succeeded_per_s(self) -> float:
        """Answers below status 400, a second."""
        return (self.requests - self.refused) / self.duration_s

    @property
    def refused_per_s(self) -> float:
        """Answers of status 400 and up, a second."""
        return self.refused / self.duration_s


def find_wrk() -> str:
    """Return the path of wrk; MissingError when there is none."""
    found = shutil.which("wrk")
    if found is None:
        raise MissingError(
            "wrk is not installed; it is the client of this bench: apt-get install wrk "
            "(Debian and Ubuntu package `wrk`)"
        )
    return found


async def run_wrk(
    url: str, requests: Sequence[bytes], *, connections: int, seconds: int
) -> Counted:
    """Send `requests` in turn, again and again, over that many connections; return the counts.

    Raises BenchError when wrk failed or a connection broke.
    """
    with tempfile.NamedTemporaryFile(prefix="bench-requests-") as file:
        file.write(b"\0".join(requests))
        file.flush()
        process = await asyncio.create_subprocess_exec(
            find_wrk(),
            *("--threads", "1", "--connections", str(connections), "--duration", f"{seconds}s"),
            *("--timeout", f"{_ANSWER_TIMEOUT_S}s", "--script", str(_SCRIPT), url, "--", file.name),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            async with asyncio.timeout(seconds + _OVERTIME_S):
                output, _ = await process.communicate()
        except BaseException:
            process.kill()
            await process.wait()
            raise
    last = output.rstrip().rpartition(b"\n")[2]
    if process.returncode != 0 or not last.startswith(b"{"):
        raise BenchError(f"wrk failed:\n{output.decode(errors='replace')}")
    found = orjson.loads(last)
    if found["broken"] or not found["requests"]:
        raise BenchError(f"wrk, {connections} connections, at {url}: {found}")
    return Counted(
        requests=found["requests"],
        refused=found["refused"],
        duration_s=found["duration_us"] / 1e6,
        p50_ms=found["p50_us"] / 1e3,
        p99_ms=found["p99_us"] / 1e3,
    )


def http_request(method: str, path: str, body: bytes, headers: Mapping[str, str]) -> bytes:
    """Return the bytes of a request.

    A `{n}` in the body counts as the 8 digits that replace it when it is sent.
    """
    lines = [f"{method} {path} HTTP/1.1", "Host: bench"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if body:
        length = len(body.replace(b"{n}", b"00000000"))
        lines += ["Content-Type: application/json", f"Content-Length: {length}"]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body
