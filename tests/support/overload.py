"""A service whose limit of work is small and reached: settings, requests and what is seen of it."""

from collections.abc import Iterator
from contextlib import contextmanager

from quota_service.http.priority import Priority
from tests.conftest import Running
from tests.support import raw_http
from tests.support.client import ApiClient

SMALL = {"work_limit_max": 16}
RESERVE = "POST /v1/exams/{exam}/reservations"
RESERVES_MAX = 10
"""Reservations at work at once under that limit: three of their own, seven borrowed."""


def order(api: ApiClient, number: int, *headers: str) -> tuple[bytes, bytes]:
    """Return head and body of a reservation that keeps its connection."""
    head, end, body = raw_http.order(
        api.frontend_key,
        f"candidate-{number}",
        *headers,
        idempotency_key=f"order-{number}",
        venues=["jinan", "tianjin", "beijing"],
    ).partition(b"\r\n\r\n")
    return head + end, body


@contextmanager
def full_of_reservations(running: Running) -> Iterator[None]:
    """Have as many reservations at work as may be, while the block runs."""
    limiter = running.service.context.limiter
    for _ in range(RESERVES_MAX):
        assert limiter.acquire(Priority.RESERVE)
    assert not limiter.acquire(Priority.RESERVE)
    try:
        yield
    finally:
        for _ in range(RESERVES_MAX):
            limiter.release(Priority.RESERVE)


async def is_idle(running: Running) -> bool:
    return await are_at_work(running, 0)


async def are_at_work(running: Running, count: int) -> bool:
    return running.service.context.limiter.at_work() == count


def counted(running: Running, name: str, **labels: str) -> float:
    return running.service.metrics.registry.get_sample_value(name, labels) or 0.0
