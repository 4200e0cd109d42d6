"""How many histories Hypothesis makes up: few in `make test`, more in `make test-system`."""

import os

_FACTOR = "TEST_EXAMPLES"

MORE = {_FACTOR: "4"}
"""What the environment says for as many histories as a run before a release has."""


def examples(count: int) -> int:
    """Return how many histories a test is to have that has so many in `make test`."""
    return count * int(os.environ.get(_FACTOR, "1"))
