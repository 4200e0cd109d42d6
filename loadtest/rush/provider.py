"""The payment provider: reports payments as real ones do, with delays and repeats.

Callbacks are signed, late, repeated with the same event id, and out of order: a failed attempt may
be reported after the payment after it. What is not answered 200 is sent again until it is. It runs
beside the candidates, in greenlets of its own.
"""

import random
import secrets
import time

import gevent
from gevent import Greenlet
from gevent.pool import Pool

from loadtest.rush.calls import Caller
from loadtest.rush.evidence import Delivered, Document, Evidence, Sent
from loadtest.rush.exam import moment
from quota_service.client.unsent import payment_report

DELIVERIES_AT_ONCE_MAX = 512
TRIES_MAX = 60
CAPTURED, FAILED = "captured", "failed"
_DELAY_S = (0.1, 1.5)
_SLOW_DELAY_S = (2.0, 5.0)
_SLOW_SHARE = 0.1
_REPEATED_SHARE = 0.25
_REPEAT_DELAY_S = (0.0, 2.0)
_REPEATS_MAX = 2
_PAUSE_MAX_S = 5.0
_OK = 200


class Provider:
    """Reports payments; `pending` says how many events are not acknowledged yet."""

    def __init__(self, caller: Caller, secret: str, evidence: Evidence, seed: int) -> None:
        self._caller = caller
        self._secret = secret.partition(",")[0]
        self._evidence = evidence
        self._draw = random.Random(f"{seed}:provider")  # noqa: S311  not for secrets
        self._greenlets = Pool(DELIVERIES_AT_ONCE_MAX)
        self._waiting = 0
        self.faults: list[str] = []

    @property
    def pending(self) -> int:
        """Events that are to be delivered, or delivered again."""
        return self._waiting

    def report(self, reservation: Document, status: str = CAPTURED, *, after_s: float = 0) -> None:
        """Report a payment, or a failed one, of a reservation's amount; returns at once."""
        event = f"evt_{secrets.token_hex(12)}"
        body = {
            "reservation": reservation["id"],
            "status": status,
            "amount": reservation["amount"],
            "currency": reservation["currency"],
            "paid_at": moment(time.time() + after_s),
            "provider_reference": f"ref-{event}",
        }
        self._evidence.add(Sent(event, reservation["id"], status, reservation["amount"]))
        slow = self._draw.random() < _SLOW_SHARE
        delay_s = after_s + self._draw.uniform(*(_SLOW_DELAY_S if slow else _DELAY_S))
        self._start(event, body, delay_s)
        if self._draw.random() < _REPEATED_SHARE:
            for _ in range(self._draw.randint(1, _REPEATS_MAX)):
                again_s = delay_s + self._draw.uniform(*_REPEAT_DELAY_S)
                self._start(event, body, again_s)

    def _start(self, event: str, body: Document, delay_s: float) -> None:
        self._waiting += 1
        gevent.spawn_later(delay_s, self._spawn, event, body)

    def _spawn(self, event: str, body: Document) -> None:
        # The pool bounds what is under way; what waits for it waits here.
        self._greenlets.spawn(self._deliver, event, body).link_exception(self._broke)

    def _broke(self, greenlet: Greenlet) -> None:
        self.faults.append(f"provider: {greenlet.exception!r}")

    def _deliver(self, event: str, body: Document) -> None:
        """Send one callback until it is answered 200, with growing pauses."""
        try:
            for attempt in range(TRIES_MAX):
                report = payment_report(event, body, secret=self._secret)
                answer = self._caller.send("callback", report)
                outcome = answer.document["outcome"] if answer.is_ok else ""
                now_s = time.time()
                self._evidence.add(Delivered(event, now_s, answer.status, outcome))
                if answer.status == _OK:
                    return
                gevent.sleep(min(_PAUSE_MAX_S, 0.5 * 1.5**attempt) * self._draw.uniform(0.5, 1.5))
        finally:
            self._waiting -= 1
