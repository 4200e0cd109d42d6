"""Reservation ids, and the table of states against what the scripts say they walk."""

import re

import pytest

from quota_service.domain.reservation import (
    TRANSITIONS,
    ReservationId,
    State,
    derive_serial,
)
from tests.support.lua_sources import read_sources

SOURCES = read_sources()
ID_KEY = bytes(range(32))


def test_an_id_is_derived_the_same_each_time_and_reads_back() -> None:
    made = derive_serial(ID_KEY, "exam-1", "candidate-1", "key-1")

    assert made == derive_serial(ID_KEY, "exam-1", "candidate-1", "key-1")
    assert re.fullmatch(r"[a-z2-7]{24}", made)
    assert ReservationId.parse(f"exam-1.0.{made}") == ReservationId("exam-1", made)


def test_an_id_derived_today_is_the_one_derived_by_every_version_to_come() -> None:
    made = derive_serial(ID_KEY, "exam-1", "candidate-1", "key-1")
    of_an_older_exam = derive_serial(None, "exam-1", "candidate-1", "key-1")

    assert str(ReservationId("exam-1", made)) == "exam-1.0.ixm2mvjriqjoaxi6leds772j"
    assert of_an_older_exam == "vwlcscvbxh33yvbg7gvvmjkt"


def test_who_has_another_key_or_none_derives_another_serial() -> None:
    keys = [ID_KEY, bytes(32), None]

    made = {derive_serial(key, "exam-1", "candidate-1", "key-1") for key in keys}

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
    first = derive_serial(ID_KEY, "exam-1", "candidate-1", "key-1")

    exam, candidate, key = other

    assert derive_serial(ID_KEY, exam, candidate, key) != first


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
        f"exam-1.1.{'a' * 24}",
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


def test_each_script_walks_the_arrows_the_table_gives_it_and_no_others() -> None:
    said = {name: source.transitions for name, source in SOURCES.items() if source.transitions}

    made_by_reserve, made_by_offer = said.pop("reserve"), said.pop("offer")

    assert made_by_reserve == made_by_offer == {("(none)", "held")}
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
