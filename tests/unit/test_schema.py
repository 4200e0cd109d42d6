"""What is said of a document that its model does not take."""

from typing import Annotated

import pytest
from pydantic import BaseModel, Field, ValidationError

from quota_service.schema import faults


class Lists(BaseModel):
    one: Annotated[list[int], Field(min_length=1, max_length=1)]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "must have at least 1 entry, not 0"),
        ([1] * 11, "must have at most 1 entry, not 11"),
    ],
)
def test_one_entry_is_said_in_the_singular(given: list[int], said: str) -> None:
    with pytest.raises(ValidationError) as raised:
        Lists(one=given)

    assert [fault.detail for fault in faults(raised.value)] == [said]
