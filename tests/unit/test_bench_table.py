import math

import orjson
import pytest

from loadtest.bench.table import Reach, Row, Spread, at_least, at_most, row_of_rounds, table_text


def test_a_ratio_is_the_median_of_the_ratios_of_the_rounds() -> None:
    row = row_of_rounds("a ÷ b", at_least(0.75), [50.0, 90.0, 80.0], [100.0, 100.0, 100.0], {})

    assert row.ratio == Spread(0.8, 0.5, 0.9)
    assert row.figures["rounds"] == 3


def test_a_slow_round_of_both_sides_is_no_slow_ratio() -> None:
    row = row_of_rounds("a ÷ b", None, [80.0, 8.0, 80.0], [100.0, 10.0, 100.0], {})

    assert row.ratio == Spread(0.8, 0.8, 0.8)


def test_rounds_without_a_partner_are_no_row() -> None:
    with pytest.raises(ValueError, match="zip"):
        row_of_rounds("a ÷ b", None, [1.0, 2.0], [1.0], {})


@pytest.mark.parametrize(
    ("reach", "ratio", "is_reached"),
    [
        (at_least(0.75), 0.75, True),
        (at_least(0.75), 0.7499, False),
        (at_most(1.3), 1.3, True),
        (at_most(1.3), 1.3001, False),
    ],
)
def test_a_reach_is_a_floor_or_a_ceiling(reach: Reach, ratio: float, is_reached: bool) -> None:
    assert reach.is_reached_by(ratio) is is_reached


def test_the_picture_shows_more_where_more_was_reached() -> None:
    assert math.isclose(at_least(0.5).share(0.75), 1.5)
    assert math.isclose(at_most(2).share(4), 0.5)


def test_a_row_is_written_with_its_ratio_and_reach_as_numbers() -> None:
    row = row_of_rounds("a ÷ b", at_most(2), [3.0], [1.0], {"a": {"per_s": Spread.of([3.0])}})

    assert orjson.loads(orjson.dumps(row.document())) == {
        "name": "a ÷ b",
        "ratio": 3.0,
        "reach": 2,
        "wanted": "at most",
        "reached": False,
        "figures": {
            "ratio": {"median": 3.0, "min": 3.0, "max": 3.0},
            "unit": "ratio",
            "a": {"per_s": {"median": 3.0, "min": 3.0, "max": 3.0}},
            "rounds": 1,
        },
    }


def test_the_table_tells_what_was_missed() -> None:
    rows = [
        row_of_rounds("good", at_least(1), [2.0], [1.0], {"seconds": 2}),
        row_of_rounds("bad", at_least(3), [2.0], [1.0], {}),
        Row("weight", Spread.of([400.0]), at_most(500), {}, unit="bytes"),
    ]

    lines = table_text(rows).splitlines()

    assert "reached" in lines[0]
    assert lines[1] == "    seconds 2, rounds 1"
    assert "MISSED" in next(line for line in lines if line.startswith("bad"))
    assert "400 bytes" in lines[-1]
