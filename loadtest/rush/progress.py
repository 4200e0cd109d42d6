"""A line every few seconds while a rehearsal runs: who came, what is left, how fast it is."""

import time

import gevent

from loadtest.rush.evidence import Arrived, Call, Claimed, Evidence, Looked
from loadtest.rush.figures import percentile

INTERVAL_S = 5.0
_SHOWN_STEP = "reserve"


class Progress:
    """Tells of a run until its greenlet is killed; calls are those since the line before."""

    def __init__(self, evidence: Evidence, opens_at_s: float) -> None:
        self._evidence = evidence
        self._opens_at_s = opens_at_s
        self._told_calls = 0
        self._told_at_s = time.time()

    def run(self) -> None:
        """Print a line every `INTERVAL_S` seconds."""
        while True:
            gevent.sleep(INTERVAL_S)
            print(self.line(time.time()), flush=True)

    def line(self, now_s: float) -> str:
        """Return how things stand, and what was called since the last line."""
        calls = self._evidence.of(Call)
        new = calls[self._told_calls :]
        per_s = len(new) / max(0.001, now_s - self._told_at_s)
        self._told_calls, self._told_at_s = len(calls), now_s
        parts = [f"{len(self._evidence.of(Arrived))} came"]
        if admitted := len(self._evidence.of(Claimed)):
            parts.append(f"{admitted} admitted")
        if looks := self._evidence.of(Looked):
            parts.append(f"{looks[-1].waiting} wait, {looks[-1].remaining} seats left")
        parts.append(f"{per_s:.0f} requests/s")
        if times := sorted(call.took_ms for call in new if call.step == _SHOWN_STEP):
            parts.append(f"{_SHOWN_STEP} p99 {percentile(times, 99):.0f} ms")
        if unanswered := sum(call.status == 0 for call in new):
            parts.append(f"{unanswered} without an answer")
        return f"{now_s - self._opens_at_s:+5.0f} s  {', '.join(parts)}"
