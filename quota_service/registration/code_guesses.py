"""Wrong codes of a minute, counted: who tries too many waits, before Postgres is asked again.

A code has 80 random bits at least, so none is found by trying; the count keeps a flood of tries
from the stores. It is kept in each process by itself, and is lost with it.
"""

from collections import Counter
from time import time

from quota_service.domain.errors import TooManyWrongCodes

CANDIDATE_MAX = 5
"""Wrong codes a minute for one candidate with one API key."""
KEY_MAX = 600
"""Wrong codes a minute with one API key."""
_MINUTE_S = 60


class CodeGuesses:
    """The wrong codes that this process was shown within the minute."""

    def __init__(self) -> None:
        self._minute = 0
        self._wrong: Counter[tuple[str, str]] = Counter()

    def check(self, key_id: str, candidate: str) -> None:
        """Raise TooManyWrongCodes where no further code is looked up in this minute."""
        wrong = self._of_minute()
        if wrong[key_id, candidate] >= CANDIDATE_MAX or wrong[key_id, ""] >= KEY_MAX:
            raise TooManyWrongCodes((self._minute + 1) * _MINUTE_S * 1000)

    def count(self, key_id: str, candidate: str) -> None:
        """Count a wrong code."""
        wrong = self._of_minute()
        wrong[key_id, ""] += 1
        if wrong[key_id, ""] <= KEY_MAX:  # so many entries at most
            wrong[key_id, candidate] += 1

    def _of_minute(self) -> Counter[tuple[str, str]]:
        minute = int(time()) // _MINUTE_S
        if minute != self._minute:
            self._minute, self._wrong = minute, Counter()
        return self._wrong
