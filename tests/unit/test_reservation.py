"""Reservation ids, shards, and the table of states against what the scripts say they walk."""

import re

import pytest

from quota_service.domain.reservation import (
    TRANSITIONS,
    ReservationId,
    State,
    shard_of,
)
from tests.support.lua_sources import read_sources

SOURCES = read_sources()
ID_KEY = bytes(range(32))


def test_an_id_is_derived_the_same_each_time_and_reads_back() -> None:
    made = ReservationId.derive(ID_KEY, "exam-1", 1, "candidate-1", "key-1")

    assert made == ReservationId.derive(ID_KEY, "exam-1", 1, "candidate-1", "key-1")
    assert ReservationId.parse(str(made)) == made
    assert re.fullmatch(r"exam-1\.0\.[a-z2-7]{24}", str(made))


def test_an_id_derived_today_is_the_one_derived_by_every_version_to_come() -> None:
    made = ReservationId.derive(ID_KEY, "exam-1", 4, "candidate-1", "key-1")
    of_an_older_exam = ReservationId.derive(None, "exam-1", 4, "candidate-1", "key-1")

    assert str(made) == "exam-1.3.ixm2mvjriqjoaxi6leds772j"
    assert str(of_an_older_exam) == "exam-1.3.vwlcscvbxh33yvbg7gvvmjkt"


def test_who_has_another_key_or_none_derives_another_serial() -> None:
    keys = [ID_KEY, bytes(32), None]

    made = {ReservationId.derive(key, "exam-1", 1, "candidate-1", "key-1").serial for key in keys}

    assert len(made) == len(keys)


@pytest.mark.parametrize(
    "other",
    [
        ("exam-2", "candidate-1", "key-1"),
        ("exam-1", "candidate-2", "key-1"),
        ("exam-1", "candidate-1", "key-2"),
        ("exam-1", "candidate-1key", "-1"),
        ("exam-1c", "andidate-1", "key-1"),
        ("exam-1", "candidate-1", ""),
    ],
)
def test_whatever_differs_gives_another_serial(other: tuple[str, str, str]) -> None:
    first = ReservationId.derive(ID_KEY, "exam-1", 1, "candidate-1", "key-1")

    exam, candidate, key = other

    assert ReservationId.derive(ID_KEY, exam, 1, candidate, key).serial != first.serial


@pytest.mark.parametrize(
    "text",
    [
        "",
        "exam-1",
        "exam-1.0",
        f"exam-1.0.{'a' * 23}",
        f"exam-1.0.{'a' * 25}",
        f"exam-1.0.{'1' * 24}",
        f"exam-1.0.{'A' * 24}",
        f"exam-1.-1.{'a' * 24}",
        f"exam-1.10000.{'a' * 24}",
        f"exam-1.٣.{'a' * 24}",
        f"Exam.0.{'a' * 24}",
        f".0.{'a' * 24}",
        f"exam}}.0.{'a' * 24}",
        f"{'e' * 33}.0.{'a' * 24}",
        f"exam-1.0.{'a' * 24}\n",
        f" exam-1.0.{'a' * 24}",
    ],
)
def test_a_text_that_was_never_an_id_of_ours_is_none(text: str) -> None:
    assert ReservationId.parse(text) is None


@pytest.mark.parametrize("shards", [1, 2, 7, 64])
def test_a_candidate_is_dealt_to_one_shard_whatever_the_key(shards: int) -> None:
    ids = [
        ReservationId.derive(ID_KEY, "exam-1", shards, "candidate-1", f"key-{i}") for i in range(50)
    ]

    assert {made.shard for made in ids} == {shard_of("exam-1", "candidate-1", shards)}


def test_candidates_are_dealt_evenly() -> None:
    dealt = [shard_of("exam-1", f"candidate-{i}", 4) for i in range(4000)]

    assert [900 < dealt.count(shard) < 1100 for shard in range(4)] == [True] * 4


def test_a_candidate_stays_in_its_shard_over_time() -> None:
    dealt = [shard_of("exam-1", f"candidate-{i}", 8) for i in range(10)]

    assert dealt == [3, 3, 7, 4, 3, 5, 6, 3, 4, 6]


def test_each_script_walks_the_arrows_the_table_gives_it_and_no_others() -> None:
    said = {name: source.transitions for name, source in SOURCES.items() if source.transitions}

    made_by_reserve = said.pop("reserve")

    assert made_by_reserve == {("(none)", "held")}
    assert said == {
        name: {(start.value, end.value) for start, end in transitions}
        for name, transitions in TRANSITIONS.items()
    }


def test_each_script_writes_only_the_states_its_arrows_end_in() -> None:
    for name, source in SOURCES.items():
        written = set(re.findall(r"record\[STATE\](?:, [^=\n]+)? = '(\w+)'", source.code))

        ends = {end.value for start, end in TRANSITIONS.get(name, frozenset()) if start is not end}
        assert written == ends, name


def test_a_script_names_no_state_that_the_table_does_not_know() -> None:
    states = {state.value for state in State}
    for name, source in SOURCES.items():
        compared = re.findall(r"(?:state|record\[STATE\]) [~=]= '(\w+)'", source.code)

        assert set(compared) <= states, name


def test_only_reservations_whose_seats_went_back_have_ended() -> None:
    assert {state for state in State if state.is_ended} == {
        State.RELEASED,
        State.EXPIRED,
        State.REFUNDED,
    }
