"""Reads the service's own metrics once a second, for the picture.

A process that does not answer is left out of that second; the rehearsal goes on without it.
"""

import contextlib
import time
import urllib.request
from collections.abc import Mapping, Sequence
from http.client import HTTPException

import gevent
from prometheus_client.parser import text_string_to_metric_families

from loadtest.rush.evidence import Evidence, Measured

INTERVAL_S = 1.0
_TIMEOUT_S = 2.0
SAMPLES: Mapping[str, str] = {
    "process_cpu_seconds_total": "cpu_s",
    "quota_requests_at_work": "at_work",
    "quota_requests_waiting": "waiting",
    "quota_requests_refused_total": "refused",
    "quota_journal_lag_oldest_seconds": "journal_lag_s",
}
"""The samples that are kept, by name; those of one name are added up over their labels."""


def measure(urls: Sequence[str], evidence: Evidence) -> None:
    """Note the metrics of each process once a second until this greenlet is killed."""
    while urls:
        started_s = time.time()
        gevent.joinall([gevent.spawn(note, url, evidence) for url in urls])
        gevent.sleep(max(0.0, started_s + INTERVAL_S - time.time()))


def measured(url: str, at_s: float, exposition: str) -> Measured:
    """Return what an answer of /metrics says; a sample that is not there is 0."""
    values = dict.fromkeys(SAMPLES.values(), 0.0)
    for family in text_string_to_metric_families(exposition):
        for sample in family.samples:
            if sample.name in SAMPLES:
                values[SAMPLES[sample.name]] += sample.value
    return Measured(url, at_s, **values)


def note(url: str, evidence: Evidence) -> None:
    """Note what one process tells; nothing when it does not, or tells something else."""
    with (
        contextlib.suppress(OSError, HTTPException, ValueError),
        urllib.request.urlopen(url, timeout=_TIMEOUT_S) as answer,  # noqa: S310  as given
    ):
        evidence.add(measured(url, time.time(), answer.read().decode()))
