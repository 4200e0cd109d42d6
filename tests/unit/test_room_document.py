"""The public document of a waiting room: what it tells, and when it reveals the seed."""

import dataclasses

import pytest

from quota_service.domain.exam import Exam, WaitingRoomRules, Window
from quota_service.waiting_room.document import Polling, PublicDocument, public_document
from quota_service.waiting_room.room import LAST_RANK, Room
from quota_service.waiting_room.status import Counts, Phase, RoomStatus, Turn
from quota_service.waiting_room.tickets import IN_DRAW, Ticket
from tests.support.rooms import make_room, room_exam

EXAM = room_exam(opens_in_s=1000, closes_in_s=2000)
OPENS_MS, CLOSES_MS = EXAM.registration.opens_at_ms, EXAM.registration.closes_at_ms
POLLING = Polling(min_s=1, max_s=15)
HALF, QUARTER = "8" + "0" * 63, "4" + "0" * 63


def rules() -> WaitingRoomRules:
    assert EXAM.waiting_room is not None
    return EXAM.waiting_room


def standing(
    room: Room | None = None, counts: Counts | None = None, exam: Exam = EXAM
) -> RoomStatus:
    return RoomStatus(exam, rules(), room or make_room(), counts or Counts())


def document(
    at_ms: int,
    room: Room | None = None,
    counts: Counts | None = None,
    before: PublicDocument | None = None,
    jitter: float = 0,
) -> PublicDocument:
    stands = standing(room, counts)
    return public_document(stands, POLLING, now_ms=at_ms, jitter=jitter, before=before)


OPENED = make_room(opened_ms=1)
DRAWN = dataclasses.replace(OPENED, threshold=LAST_RANK)


@pytest.mark.parametrize(
    ("at_ms", "room", "phase"),
    [
        (OPENS_MS - 1, make_room(), Phase.BEFORE),
        (OPENS_MS, make_room(), Phase.BEFORE),
        (OPENS_MS, OPENED, Phase.DRAW),
        (OPENS_MS, dataclasses.replace(OPENED, threshold=HALF), Phase.DRAW),
        (OPENS_MS, DRAWN, Phase.QUEUE),
        (CLOSES_MS - 1, DRAWN, Phase.QUEUE),
        (CLOSES_MS, DRAWN, Phase.CLOSED),
        (CLOSES_MS, make_room(), Phase.CLOSED),
        (OPENS_MS - 1, OPENED, Phase.BEFORE),
        (OPENS_MS - 1, DRAWN, Phase.BEFORE),
    ],
    ids=range(10),  # the times of the exam are another day's each day
)
def test_the_phase_follows_the_clock_and_the_draw(at_ms: int, room: Room, phase: Phase) -> None:
    assert document(at_ms, room).phase is phase


def test_the_window_that_redis_has_in_force_is_the_one_to_go_by() -> None:
    later = Counts(registration=Window(OPENS_MS + 1000, CLOSES_MS + 1000))

    told = [document(at_ms, OPENED, later) for at_ms in (OPENS_MS, OPENS_MS + 1000, CLOSES_MS)]

    assert [each.phase for each in told] == [Phase.BEFORE, Phase.DRAW, Phase.DRAW]
    assert told[0].opens_at_ms == OPENS_MS + 1000


def test_the_seed_is_revealed_when_the_draw_is_closed_and_not_a_moment_earlier() -> None:
    before, after = document(OPENS_MS), document(OPENS_MS, OPENED)

    assert before.seed is None
    assert after.seed == make_room().seed.hex()
    assert before.seed_commitment == after.seed_commitment
    assert make_room().seed.hex() not in str(before)


def test_the_secrets_of_a_room_are_not_in_its_text() -> None:
    room = make_room(seed=b"a secret seed of thirty-two byte")

    assert "secret" not in repr(room)
    assert "tttt" not in repr(room)
    assert "pppp" not in repr(room)


def test_who_waits_is_what_is_left_of_the_draw_and_the_queue() -> None:
    counts = Counts(last_number=30, drawn=1000)

    assert document(OPENS_MS, make_room(), counts).waiting == 1030
    assert document(OPENS_MS, make_room(threshold=HALF), counts).waiting == 530
    assert document(OPENS_MS, make_room(threshold=LAST_RANK), counts).waiting == 30
    assert document(OPENS_MS, make_room(threshold=LAST_RANK, serving=20), counts).waiting == 10


def test_the_larger_estimate_of_the_draw_counts_as_redis_may_have_forgotten() -> None:
    room = make_room(drawn=1000)

    assert standing(room, Counts(drawn=10)).waiting == 1000
    assert standing(room, Counts(drawn=1010)).waiting == 1010


def test_any_number_that_was_set_aside_may_be_out_when_redis_has_forgotten() -> None:
    room = make_room(threshold=LAST_RANK, serving=400, numbers_reserved=500)

    assert standing(room, Counts()).waiting == 100
    assert standing(room, Counts(last_number=450)).waiting == 50


def test_a_rate_of_the_ops_is_told_in_place_of_the_adaptive_one() -> None:
    assert document(OPENS_MS, make_room(rate=10, fixed_rate=3)).rate_per_s == 3


def test_the_rate_that_is_told_moves_gently() -> None:
    told = [document(OPENS_MS, make_room(rate=100))]
    for _ in range(40):
        told.append(document(OPENS_MS, make_room(rate=10), before=told[-1]))

    rates = [each.rate_per_s for each in told]
    assert rates[1] == pytest.approx(82)
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] == pytest.approx(10, abs=0.1)


def test_clients_ask_less_often_the_longer_they_have_to_wait() -> None:
    waits = [POLLING.after_s(eta_s, 0) for eta_s in (0, 5, 20, 60, 149, 150, 10_000)]

    assert waits == [1, 1, 2, 6, 14.9, 15, 15]


def test_the_jitter_keeps_within_the_limits() -> None:
    for eta_s in (0, 20, 60, 10_000):
        for jitter in (-1, -0.5, 0.5, 1):
            assert 1 <= POLLING.after_s(eta_s, jitter) <= 15
    assert POLLING.after_s(60, -1) == pytest.approx(4.8)
    assert POLLING.after_s(60, 1) == pytest.approx(7.2)


def test_before_the_opening_clients_ask_by_the_time_that_is_left() -> None:
    counts = Counts(drawn=1_000_000)

    assert document(OPENS_MS - 600_000, counts=counts).poll_after_s == 15
    assert document(OPENS_MS - 50_000, counts=counts).poll_after_s == 5
    assert document(OPENS_MS - 1, counts=counts).poll_after_s == 1


def test_the_turn_of_a_rank_comes_is_here_and_passes() -> None:
    ticket = Ticket(EXAM.id, "candidate-1", IN_DRAW)
    rank = standing().rank("candidate-1")
    below = f"{int(rank, 16) - 1:064x}"

    assert standing(make_room(threshold=below)).turn(ticket) is Turn.TO_COME
    assert standing(make_room(threshold=rank)).turn(ticket) is Turn.HERE
    assert standing(make_room(threshold=rank, late_threshold=below)).turn(ticket) is Turn.HERE
    assert standing(make_room(threshold=rank, late_threshold=rank)).turn(ticket) is Turn.PASSED


def test_the_turn_of_a_number_comes_is_here_and_passes() -> None:
    ticket = Ticket(EXAM.id, "candidate-1", 7)
    room = dataclasses.replace(DRAWN, numbers_reserved=100)

    def turn(serving: int, late_through: int) -> Turn:
        return standing(dataclasses.replace(room, serving=serving, late_through=late_through)).turn(
            ticket
        )

    assert [turn(6, 0), turn(7, 6), turn(8, 7)] == [Turn.TO_COME, Turn.HERE, Turn.PASSED]


def test_numbers_wait_for_all_of_the_draw() -> None:
    ticket = Ticket(EXAM.id, "candidate-1", 7)

    assert standing(make_room(threshold=HALF), Counts(drawn=1000)).ahead_of(ticket) == 506
    assert standing(DRAWN, Counts(drawn=1000)).ahead_of(ticket) == 6
    assert standing(dataclasses.replace(DRAWN, serving=7)).ahead_of(ticket) == 0


def test_the_way_of_a_rank_is_the_part_of_the_draw_before_it() -> None:
    ticket = Ticket(EXAM.id, "candidate-1", IN_DRAW)
    share = int(standing().rank("candidate-1"), 16) / 2**256

    assert standing(make_room(), Counts(drawn=1000)).ahead_of(ticket) == round(1000 * share)
    assert standing(make_room(threshold=LAST_RANK), Counts(drawn=1000)).ahead_of(ticket) == 0
