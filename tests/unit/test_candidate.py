"""What may stand for a candidate, and that resident ID numbers are known by their check digit.

The numbers are made here from a place code that was never given out (000000), so that they are
nobody's.
"""

import pytest

from quota_service.api.models import refuse_bad_candidate
from quota_service.domain.candidate import is_resident_id
from quota_service.http.errors import InvalidRequest


def made_up_number(serial: int) -> str:
    """Return a number with a right check digit, by ISO 7064 MOD 11-2: weights are powers of 2."""
    body = f"000000{18000101 + serial:08d}{serial % 1000:03d}"
    total = sum(int(digit) * pow(2, 17 - i, 11) for i, digit in enumerate(body))
    return body + "0123456789X"[(12 - total % 11) % 11]


NUMBERS = [made_up_number(serial) for serial in range(60)]


def test_the_numbers_made_here_end_in_every_check_digit() -> None:
    endings = {number[-1] for number in NUMBERS}

    assert endings == set("0123456789X")


@pytest.mark.parametrize("number", NUMBERS)
def test_a_number_with_the_right_check_digit_is_a_resident_id(number: str) -> None:
    assert is_resident_id(number)
    assert is_resident_id(number.lower())


@pytest.mark.parametrize("number", NUMBERS[:12])
def test_a_number_with_any_other_check_digit_is_an_opaque_id(number: str) -> None:
    others = [digit for digit in "0123456789X" if digit != number[-1]]

    assert [digit for digit in others if is_resident_id(number[:-1] + digit)] == []


@pytest.mark.parametrize("place", range(17))
def test_a_number_with_one_digit_changed_is_an_opaque_id(place: int) -> None:
    number = NUMBERS[0]
    changed = str((int(number[place]) + 1) % 10)

    assert not is_resident_id(number[:place] + changed + number[place + 1 :])


@pytest.mark.parametrize(
    "text",
    [
        "",
        NUMBERS[0][:-1],
        NUMBERS[0] + "0",
        " " + NUMBERS[0],
        NUMBERS[0] + "\n",
        "X" + NUMBERS[0][1:],
        "\uff10" + NUMBERS[0][1:],
        "candidate-1",
    ],
)
def test_text_of_another_form_is_no_resident_id(text: str) -> None:
    assert not is_resident_id(text)


@pytest.mark.parametrize("text", ["a", "A.b_c:d@e~f+g=h-9", "9" * 64])
def test_printable_ascii_without_separators_is_a_candidate_id(text: str) -> None:
    refuse_bad_candidate(text)


@pytest.mark.parametrize(
    "text", ["", "a" * 65, "a b", "a/b", "a|b", "a,b", "a\n", "\n", "é", "考生", "a\0", "a{b}"]
)
def test_a_separator_a_space_or_another_script_is_no_candidate_id(text: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        refuse_bad_candidate(text)
    assert [field for field, _ in refused.value.wrong] == ["candidate"]
