"""The watcher: looks at seats, room and list once a second; the picture shows what it sees."""

import time

import gevent

from loadtest.rush.calls import Caller
from loadtest.rush.evidence import Evidence, Looked
from loadtest.rush.options import Options
from quota_service.client.unsent import UNSENT

INTERVAL_S = 1.0


class Watcher:
    """Notes what it sees until it is stopped, and whether all seats, `seats_max`, were released."""

    def __init__(self, options: Options, ops: Caller, evidence: Evidence, seats_max: int) -> None:
        self._options = options
        self._ops = ops
        self._evidence = evidence
        self._seats_max = seats_max
        self._is_stopped = False
        self.has_released = False
        self.has_list = False

    def run(self) -> None:
        """Look once a second."""
        while not self._is_stopped:
            started_s = time.time()
            self._look()
            gevent.sleep(max(0.0, started_s + INTERVAL_S - time.time()))

    def stop(self) -> None:
        """End after the look under way."""
        self._is_stopped = True

    def _look(self) -> None:
        exam = self._options.exam
        seats = self._ops.send("watch", UNSENT.get_availability(exam))
        waiting, rate = 0, 0.0
        if self._options.has_room:
            room = self._ops.send("watch", UNSENT.get_waiting_room(exam))
            if room.is_ok:
                waiting, rate = room.document["waiting"], float(room.document["rate"])
        if seats.is_ok:
            quotas = seats.document["quotas"]
            remaining = sum(quota["remaining"] for quota in quotas)
            capacity = sum(quota["capacity"] for quota in quotas)
            self.has_released = self.has_released or capacity >= self._seats_max
            sold_out = sum(quota["remaining"] == 0 for quota in quotas)
            seen = (remaining, capacity, len(quotas), sold_out, waiting, rate)
            self._evidence.add(Looked(time.time(), *seen, self._listed()))

    def _listed(self) -> int:
        """Return how many entries wait in the waiting list; 0 where there is none."""
        if not self.has_list:
            return 0
        found = self._ops.send("watch", UNSENT.get_waiting_list(self._options.exam, limit=1))
        return int(found.document["states"].get("waiting", 0)) if found.is_ok else 0
