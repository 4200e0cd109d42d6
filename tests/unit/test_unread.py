"""How many requests may wait to be read follows the pace of reading."""

import pytest

from quota_service.observability.metrics import Metrics
from quota_service.overload.unread import UnreadLimit

LEAST = 512


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def made(*, wait_max_s: float = 1.0) -> tuple[UnreadLimit, Clock]:
    clock = Clock()
    return UnreadLimit(Metrics(), wait_max_s=wait_max_s, clock=clock), clock


def take_turns(
    unread: UnreadLimit, clock: Clock, *, turns: int, read: int, took_s: float, waiting: int = 1
) -> None:
    for _ in range(turns):
        unread.begin_turn()
        unread.end_turn(read, waiting)
        clock.now_s += took_s
    unread.begin_turn()


def test_as_many_may_wait_as_are_read_in_the_time_allowed() -> None:
    unread, clock = made(wait_max_s=0.5)

    take_turns(unread, clock, turns=1000, read=16, took_s=0.004)

    assert unread.limit == pytest.approx(2000, abs=1)


def test_a_slower_pace_is_learned_within_moments() -> None:
    unread, clock = made()
    take_turns(unread, clock, turns=1000, read=16, took_s=0.004)

    take_turns(unread, clock, turns=250, read=16, took_s=0.008)

    assert 1950 < unread.limit < 2200


def test_a_burst_may_always_wait() -> None:
    unread, clock = made(wait_max_s=0.01)

    take_turns(unread, clock, turns=1000, read=1, took_s=0.1)

    assert unread.limit == LEAST


def test_nothing_is_learned_of_idle_time_nor_of_a_standstill() -> None:
    unread, clock = made()
    take_turns(unread, clock, turns=1000, read=16, took_s=0.004)

    take_turns(unread, clock, turns=50, read=1, took_s=0.5, waiting=0)
    take_turns(unread, clock, turns=50, read=1, took_s=30.0)

    assert unread.limit == pytest.approx(4000, abs=1)


def test_turning_away_gets_a_tenth_of_the_time_and_saves_little_of_it_up() -> None:
    unread, clock = made()
    take_turns(unread, clock, turns=1, read=16, took_s=0.004)
    while count := unread.may_turn_away():
        unread.turned_away(count, count * 100e-6)

    spent_s = 0.0
    for _ in range(1000):
        take_turns(unread, clock, turns=1, read=16, took_s=0.004)
        count = unread.may_turn_away()
        unread.turned_away(count, count * 100e-6)
        clock.now_s += count * 100e-6
        spent_s += count * 100e-6
    clock.now_s += 0.9
    unread.begin_turn()

    assert 0.08 < spent_s / 4.0 < 0.12
    assert 0 < unread.may_turn_away() < 500


async def test_the_gauges_show_what_waits_and_may_wait() -> None:
    metrics = Metrics()
    unread = UnreadLimit(metrics, wait_max_s=1.0)
    unread.end_turn(16, 7)

    await unread.show()

    value = metrics.registry.get_sample_value
    assert value("quota_requests_unread") == 7
    assert value("quota_requests_unread_limit") == LEAST
