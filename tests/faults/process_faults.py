"""Faults of the service's own processes, and of clients that go away."""

import asyncio
import json
import random
import socket
import struct
from urllib.parse import urlsplit

from tests.faults.frontend import Event, Frontend
from tests.faults.history import Answer, Kind
from tests.faults.injection import Injection
from tests.faults.processes import HarnessError
from tests.faults.redis_faults import redis_flushed, redis_killed
from tests.faults.store_faults import Inject

RESERVE_LINES = ("reserve: after script",)
CONFIRM_LINES = (
    "confirm: before attempt",
    "confirm: after attempt",
    "confirm: before commit",
    "confirm: after commit",
    "confirm: after finish",
)
CHANGE_LINES = (
    "change: before script",
    "change: after script",
    "change: after commit",
    "change: after finish",
)
REFUND_LINES = ("refund: before commit", "refund: after commit", "refund: after finish")
REBUILD_LINES = (
    "recover: fenced",
    "recover: claimed",
    "recover: bookings written",
    "recover: defined",
    "recover: open in redis",
)
RECONCILE_LINES = (
    "recover: fenced",
    "recover: claimed",
    "recover: drained",
    "recover: holds written",
    "recover: defined",
    "recover: open in redis",
)
DEAL_LINES = ("deal: leased", "deal: offered", "deal: recorded", "deal: offers made")
_DEATH_LIMIT_S = 15.0
_REPEAT_ROUNDS = 3
_REPEATS = 5
_REPEATED = 8
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


async def api_killed(injection: Injection) -> None:
    """Kill one API process, then the other, at moments nobody chose."""
    for api in injection.rng.sample(injection.deployment.apis, 2):
        await api.kill()
        await injection.last(0.05, 0.5)
        await api.start()


def api_dies_at(*lines: str) -> Inject:
    """Let an API process kill itself at each of the lines in turn."""

    async def inject(injection: Injection) -> None:
        api = injection.deployment.apis[1]
        for line in lines:
            await api.kill()
            await api.start(die_at=line, die_after=injection.rng.randint(1, 3))
            await api.await_end(_DEATH_LIMIT_S)
        await api.start()

    return inject


async def workers_killed(injection: Injection) -> None:
    """Kill both workers, let work pile up, and start them."""
    for worker in injection.deployment.workers:
        await worker.kill()
        await injection.last(0.05, 0.5)
    await injection.last(0.5, 1.5)
    await asyncio.gather(*(worker.start() for worker in injection.deployment.workers))


def worker_dies_at(*lines: str) -> Inject:
    """Let a worker kill itself at each of the lines in turn, while there is no other."""

    async def inject(injection: Injection) -> None:
        worker, other = injection.deployment.workers
        await other.kill()
        for line in lines:
            await worker.kill()
            await worker.start(die_at=line, die_after=injection.rng.randint(1, 3))
            await worker.await_end(_DEATH_LIMIT_S)
        await asyncio.gather(worker.start(), other.start())

    return inject


async def worker_paused(injection: Injection) -> None:
    """Stop one of two workers where it stands, and let it go on when the other did its work."""
    worker = injection.rng.choice(injection.deployment.workers)
    for _ in range(2):
        worker.pause()
        try:
            await injection.last(1.5, 2.5)
        finally:
            worker.resume()
        await injection.last(0.2, 0.6)


def worker_dies_recovering(lose: Inject, *lines: str) -> Inject:
    """Let Redis lose something, and the only worker kill itself at each line of the recovery."""

    async def inject(injection: Injection) -> None:
        worker, other = injection.deployment.workers
        await other.kill()
        for line in lines:
            await worker.kill()
            await worker.start(die_at=line, die_after=injection.rng.randint(1, 2))
            await lose(injection)
            await worker.await_end(_DEATH_LIMIT_S)
        await asyncio.gather(worker.start(), other.start())

    return inject


worker_dies_rebuilding = worker_dies_recovering(redis_flushed, *REBUILD_LINES)
worker_dies_reconciling = worker_dies_recovering(redis_killed, *RECONCILE_LINES)


async def callbacks_repeated(injection: Injection) -> None:
    """Tell again what has had its end, while an API process dies with a payment in its hands."""
    api = injection.deployment.apis[1]
    repeats = 0
    for _ in range(_REPEAT_ROUNDS):
        await api.kill()
        await api.start(die_at="confirm: after attempt", die_after=injection.rng.randint(1, 4))
        for _ in range(_REPEATS):
            told = [
                frontend.tell(event)
                for frontend in injection.frontends
                for event in injection.rng.choices(
                    list(frontend.delivered.values()), k=min(len(frontend.delivered), _REPEATED)
                )
            ]
            repeats += len(told)
            await asyncio.gather(*told)
            await injection.last(0.05, 0.2)
    if not repeats:
        raise HarnessError("no event had its end before it could be told again")


async def rolling_restart(injection: Injection) -> None:
    """Restart every process in order, as a deployment does."""
    for process in injection.deployment.processes:
        await process.terminate()
        await process.start()


async def clients_gone(injection: Injection) -> None:
    """Cut requests off at a random byte, then ask again under the same key or event."""
    url = injection.deployment.apis[0].url
    key = injection.deployment.frontend_key
    rng = injection.rng
    for _ in range(12):
        for frontend in injection.frontends:
            name = f"gone-{frontend.number()}"
            await _reserve_and_leave(frontend, url, key, name, rng)
            held = await frontend.reserve_until_known(
                name, ["general"], ["jinan", "tianjin"], f"key-{name}"
            )
            if held.is_ok:
                event = frontend.event(held.body)
                await _pay_and_leave(frontend, url, event, rng)
                if rng.random() < 0.5:
                    await frontend.pay(event)
        await injection.last(0.01, 0.1)


async def _reserve_and_leave(
    frontend: Frontend, url: str, key: str, candidate: str, rng: random.Random
) -> None:
    order = {
        "candidate": candidate,
        "subjects": ["general"],
        "venues": ["jinan", "tianjin"],
        "accepted_notice": "2023-1",
    }
    headers = {
        "Authorization": f"Bearer {key}",
        "Idempotency-Key": f"key-{candidate}",
        "Content-Type": "application/json",
    }
    number = frontend.history.invoked("reserve", {**order, "key": f"key-{candidate}"})
    path = f"/v1/exams/{frontend.exam}/reservations"
    await _send_a_part(url, path, headers, json.dumps(order).encode(), rng)
    frontend.history.ended(number, Answer(Kind.UNKNOWN, slug="aborted"))


async def _pay_and_leave(frontend: Frontend, url: str, event: Event, rng: random.Random) -> None:
    number = frontend.history.invoked("pay", {**event.args, "aborted": True})
    call = event.report()
    headers = {**call.headers, "Content-Type": "application/json"}
    await _send_a_part(url, call.path, headers, call.body or b"", rng)
    frontend.history.ended(number, Answer(Kind.UNKNOWN, slug="aborted"))


async def _send_a_part(
    url: str, path: str, headers: dict[str, str], body: bytes, rng: random.Random
) -> None:
    """Send a request up to a random byte, perhaps all of it, and reset the connection."""
    parts = urlsplit(url)
    told = {**headers, "Host": parts.netloc, "Content-Length": str(len(body))}
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {text}" for name, text in told.items()), "", ""]
    request = "\r\n".join(lines).encode() + body
    whole = len(request)
    # Half of them leave within the body or just after it, where it matters most.
    end = rng.randint(whole - len(body), whole) if rng.random() < 0.5 else rng.randint(1, whole)
    _, writer = await asyncio.open_connection(parts.hostname, parts.port)
    writer.write(request[:end])
    await writer.drain()
    if rng.random() < 0.5:
        await asyncio.sleep(rng.uniform(0, 0.02))
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    writer.transport.abort()
