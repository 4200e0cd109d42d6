"""Every metric of the service, made once for each process and passed to the code that counts.

Names follow the Prometheus conventions: base units, `_total` on counters. Labels come from closed
sets (routes, outcomes, scripts) or from exam definitions; seat gauges are capped by a setting.

Prometheus scrapes each process by itself. Sums, maxima and rates over all of them are its work.
Over 400 lines because the list has an entry for each metric.
"""

import platform
from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from quota_service import __version__

_REQUEST_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_STORE_BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
_LAG_BUCKETS_S = (0.05, 0.1, 0.25, 0.5, 1, 2, 5, 15, 60)
_BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128)
_SEATS_LABELS = ("exam", "venue", "subject")


class Metrics:
    """The metrics of one process, on a registry of their own."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        Info("quota_build", "Version of the service.", registry=registry).info(
            {"version": __version__, "python": platform.python_version()}
        )

        self.http_duration = Histogram(
            "quota_http_request_duration_seconds",
            "Time to answer a request.",
            ("method", "route", "status"),
            buckets=_REQUEST_BUCKETS_S,
            registry=registry,
        )
        self.requests_refused = Counter(
            "quota_requests_refused",
            "Requests refused before they were started, by class of work and reason.",
            ("work", "reason"),
            registry=registry,
        )
        self.refusals_dropped = Counter(
            "quota_refusals_dropped",
            "Refusals that are missing in the history of their candidates.",
            registry=registry,
        )
        self.reservations = Counter(
            "quota_reservations",
            "Reservation requests by outcome.",
            ("exam", "outcome"),
            registry=registry,
        )
        self.confirmations = Counter(
            "quota_confirmations",
            "Payment events by outcome.",
            ("outcome", "reason"),
            registry=registry,
        )
        self.payments_unreadable = Counter(
            "quota_payment_events_unreadable",
            "Payment events with a valid signature that could not be parsed. Alert on any.",
            registry=registry,
        )
        self.waiting_room_joins = Counter(
            "quota_waiting_room_joins",
            "Tickets issued, for the draw or with a number.",
            ("exam", "kind"),
            registry=registry,
        )
        self.waiting_room_claims = Counter(
            "quota_waiting_room_claims",
            "Claims of a place by outcome.",
            ("exam", "outcome"),
            registry=registry,
        )
        self.changes = Counter(
            "quota_venue_changes", "Completed changes of venue.", ("exam",), registry=registry
        )
        self.refunds = Counter("quota_refunds", "Bookings refunded.", ("exam",), registry=registry)
        self.seats_released = Counter(
            "quota_seats_released",
            "Seats that came by seat releases.",
            ("exam",),
            registry=registry,
        )
        self.release_lag = Histogram(
            "quota_seat_release_lag_seconds",
            "Time from a seat release's own time until its seats were in Redis.",
            buckets=_LAG_BUCKETS_S,
            registry=registry,
        )
        self.holds_expired = Counter(
            "quota_holds_expired", "Expired holds.", ("exam",), registry=registry
        )
        self.holds_ended_unpaid = Counter(
            "quota_holds_ended_unpaid",
            "Holds that ended without a booking, by their end.",
            ("exam", "end"),
            registry=registry,
        )
        self.holds_extended = Counter(
            "quota_holds_extended",
            "Holds whose deadline ops have moved out.",
            ("exam",),
            registry=registry,
        )
        self.expiry_lag = Histogram(
            "quota_expiry_lag_seconds",
            "Time from the deadline of a hold to the return of its seats, largest of each batch.",
            buckets=_LAG_BUCKETS_S,
            registry=registry,
        )
        self.script_duration = Histogram(
            "quota_redis_script_duration_seconds",
            "Time for Redis to answer the batch that contained a script call.",
            ("script",),
            buckets=_STORE_BUCKETS_S,
            registry=registry,
        )
        self.pool_wait = Histogram(
            "quota_postgres_pool_wait_seconds",
            "Time to acquire a connection from the pool.",
            buckets=_STORE_BUCKETS_S,
            registry=registry,
        )
        self.group_commit_size = Histogram(
            "quota_group_commit_size",
            "Payment events, changes or refunds recorded in one transaction.",
            buckets=_BATCH_BUCKETS,
            registry=registry,
        )
        self.recoveries = Counter(
            "quota_recoveries",
            "Payment attempts and venue changes taken over from a dead process, by result.",
            ("result",),
            registry=registry,
        )
        self.recovered_shards = Counter(
            "quota_shard_recoveries",
            "Shards reopened after Redis may have lost writes, by way of recovery.",
            ("exam", "way"),
            registry=registry,
        )
        self.rebuilds = Counter(
            "quota_rebuilds", "Shards rebuilt from Postgres.", ("exam",), registry=registry
        )
        self.worker_failures = Counter(
            "quota_worker_failures",
            "Rounds of a worker that ended in an error.",
            ("worker",),
            registry=registry,
        )
        self.journal_drained = Counter(
            "quota_journal_entries_drained",
            "Journal entries stored in Postgres.",
            ("exam",),
            registry=registry,
        )
        self.journal_missing = Counter(
            "quota_journal_entries_missing",
            "Steps missing from the journal; their records were written again. Alert on any.",
            ("exam",),
            registry=registry,
        )
        self.streams_behind = Counter(
            "quota_streams_fallen_behind",
            "Snapshots sent to slow readers in place of missed changes.",
            registry=registry,
        )
        self.streams_cut = Counter(
            "quota_streams_cut",
            "Availability streams closed because the reader had stopped reading.",
            registry=registry,
        )
        self.connections = Gauge(
            "quota_connections",
            "Open client connections.",
            registry=registry,
        )
        self.connections_refused = Counter(
            "quota_connections_refused",
            "Connections closed because their address had reached its limit.",
            registry=registry,
        )
        self.streams = Gauge(
            "quota_streams",
            "Open availability streams.",
            registry=registry,
        )
        self.stores_up = Gauge(
            "quota_store_up",
            "Whether a store answers this process.",
            ("store",),
            registry=registry,
        )
        self.warnings = Gauge(
            "quota_warnings",
            "1 while /readyz warns about a part; alert above 0.",
            ("part",),
            registry=registry,
        )
        self.audit_differences = Gauge(
            "quota_audit_differences",
            "Differences that the last audit found; alert above 0.",
            ("exam", "promise"),
            registry=registry,
        )
        self.requests_at_work = Gauge(
            "quota_requests_at_work",
            "Requests in progress, as of the last second.",
            ("work",),
            registry=registry,
        )
        self.work_limit = Gauge(
            "quota_work_limit",
            "Limit of requests in progress; it adapts to latency.",
            registry=registry,
        )
        self.requests_waiting = Gauge(
            "quota_requests_waiting",
            "Complete requests that wait to be started.",
            registry=registry,
        )
        self.oldest_ages = {
            kind: Gauge(
                name,
                f"{meaning}, 0 when there is none. Every process exports it.",
                ("exam",),
                registry=registry,
            )
            for kind, name, meaning in (
                (
                    "overdue_hold",
                    "quota_expiry_lag_oldest_seconds",
                    "Time since the deadline of the oldest overdue hold",
                ),
                (
                    "attempt",
                    "quota_confirmations_pending_oldest_seconds",
                    "Age of the oldest payment recorded in one of the two stores only",
                ),
                (
                    "journal_entry",
                    "quota_journal_lag_oldest_seconds",
                    "Age of the oldest journal entry not yet in Postgres",
                ),
            )
        }
        self.shards_fenced = Gauge(
            "quota_shards_fenced",
            "1 while an exam is answered with not-ready until a worker recovers its shard, else 0. "
            "Every process exports it.",
            ("exam",),
            registry=registry,
        )
        self.paused = Gauge(
            "quota_paused",
            "1 while ops have paused this of an exam, as venue/subject. Every process exports it.",
            ("exam", "scope"),
            registry=registry,
        )
        self._add_admission(registry)
        self._add_dealing(registry)
        self._add_webhooks(registry)
        self._reservations_by_outcome: dict[tuple[str, str], Counter] = {}
        self._forgotten: frozenset[str] = frozenset()
        self._with_room: frozenset[str] = frozenset()
        self._with_pause: frozenset[tuple[str, str]] = frozenset()

    def count_reservation(self, exam: str, outcome: str) -> None:
        """Count a reservation request, without the look-up of its labels each time."""
        counter = self._reservations_by_outcome.get((exam, outcome))
        if counter is None:
            counter = self.reservations.labels(exam=exam, outcome=outcome)
            self._reservations_by_outcome[exam, outcome] = counter
        counter.inc()

    def tell_rooms(self, closes_at_ms: Mapping[str, int]) -> None:
        """Set when registration closes for each exam with a waiting room; remove all others."""
        for exam in self._with_room - closes_at_ms.keys():
            self.room_closes.remove_by_labels({"exam": exam})
        for exam, at_ms in closes_at_ms.items():
            self.room_closes.labels(exam=exam).set(at_ms / 1000)
        self._with_room = frozenset(closes_at_ms)

    def tell_pauses(self, paused: frozenset[tuple[str, str]]) -> None:
        """Set which scopes of which exams are paused; remove all others."""
        for exam, scope in self._with_pause - paused:
            self.paused.remove_by_labels({"exam": exam, "scope": scope})
        for exam, scope in paused:
            self.paused.labels(exam=exam, scope=scope).set(1)
        self._with_pause = paused

    def forget_exams(self, archived: frozenset[str]) -> None:
        """Remove the samples of exams that are archived now."""
        for exam in archived - self._forgotten:
            for metric in self._of_an_exam():
                metric.remove_by_labels({"exam": exam})
            for exam_outcome in [key for key in self._reservations_by_outcome if key[0] == exam]:
                del self._reservations_by_outcome[exam_outcome]
        self._forgotten = archived

    def _of_an_exam(self) -> list[Counter | Gauge]:
        """Return every metric that has the label `exam`."""
        return [
            self.reservations,
            self.waiting_room_joins,
            self.waiting_room_claims,
            self.changes,
            self.refunds,
            self.seats_released,
            self.holds_expired,
            self.holds_ended_unpaid,
            self.holds_extended,
            self.recovered_shards,
            self.rebuilds,
            self.journal_drained,
            self.journal_missing,
            self.audit_differences,
            self.shards_fenced,
            self.paused,
            self.room_closes,
            self.draw_late,
            self.admitted,
            self.leader_changes,
            self.list_joins,
            self.list_offers,
            self.list_opened,
            self.list_rounds,
            *self.lists.values(),
            *self.oldest_ages.values(),
            *self.rooms.values(),
        ]

    def _add_admission(self, registry: CollectorRegistry) -> None:
        """Make the metrics of admission; all but the close of registration are from its leader."""
        self.room_closes = Gauge(
            "quota_waiting_room_closes_timestamp_seconds",
            "Close of registration for an exam with a waiting room; admission has a leader until "
            "then. Every process exports it.",
            ("exam",),
            registry=registry,
        )
        self.draw_late = Gauge(
            "quota_draw_late_seconds",
            "Time since the entries of a draw were to be frozen, or its source was to come, while "
            "they are not; else 0. Every worker exports it.",
            ("exam",),
            registry=registry,
        )
        self.admitted = Counter(
            "quota_waiting_room_admitted",
            "Candidates admitted, estimated.",
            ("exam",),
            registry=registry,
        )
        self.leader_changes = Counter(
            "quota_waiting_room_leader_changes",
            "Times this process became the leader of admission.",
            ("exam",),
            registry=registry,
        )
        self.rooms = {
            name: Gauge(
                f"quota_waiting_room_{name}",
                f"{meaning} Only the leader exports it.",
                ("exam",),
                registry=registry,
            )
            for name, meaning in {
                "rate": "Candidates admitted per second.",
                "threshold_fraction": "Share of the draw that is admitted.",
                "serving": "Highest admitted number of the queue.",
                "waiting": "Waiting candidates, estimated.",
                "places": "Candidates with a place.",
                "turnout": "Share of admitted candidates expected to claim a place.",
            }.items()
        }

    def _add_dealing(self, registry: CollectorRegistry) -> None:
        """Make the metrics of waiting lists and of the dealing of returned seats."""
        self.list_joins = Counter(
            "quota_waiting_list_joins",
            "Requests to join a waiting list: joined, replayed, or the slug of the refusal.",
            ("exam", "outcome"),
            registry=registry,
        )
        self.list_offers = Counter(
            "quota_waiting_list_offers",
            "Offers to waiting entries, made and as they ended.",
            ("exam", "outcome"),
            registry=registry,
        )
        self.list_opened = Counter(
            "quota_waiting_list_seats_opened",
            "Returned seats that no entry could use, put on open sale.",
            ("exam",),
            registry=registry,
        )
        self.list_rounds = Counter(
            "quota_waiting_list_dealings",
            "Dealings of returned seats.",
            ("exam",),
            registry=registry,
        )
        self.lists = {
            name: Gauge(
                f"quota_waiting_list_{name}",
                f"{meaning} Every worker process exports it.",
                ("exam",),
                registry=registry,
            )
            for name, meaning in {
                "waiting": "Entries that wait.",
                "due_seconds": "Time since returned seats were to be dealt, 0 when none are due.",
            }.items()
        }

    def _add_webhooks(self, registry: CollectorRegistry) -> None:
        """Make the metrics of events and webhooks; every worker process exports the gauges."""
        self.events_waiting_oldest = Gauge(
            "quota_events_waiting_oldest_seconds",
            "Time since the first event came about that is not told yet, 0 where all are. Every "
            "worker process exports it.",
            registry=registry,
        )
        self.webhook_deliveries = Counter(
            "quota_webhook_deliveries",
            "Attempts to deliver an event: delivered, failed; and deliveries given-up.",
            ("result",),
            registry=registry,
        )
        self.webhook_duration = Histogram(
            "quota_webhook_duration_seconds",
            "Time until an endpoint has answered, or failed to.",
            buckets=_REQUEST_BUCKETS_S,
            registry=registry,
        )
        self.webhook_pending = Gauge(
            "quota_webhook_pending",
            "Deliveries that the endpoint has not taken yet. Every worker process exports it.",
            ("endpoint",),
            registry=registry,
        )
        self.webhook_failing = Gauge(
            "quota_webhook_failing_seconds",
            "Time since which the endpoint takes nothing, 0 while it does. Every worker process "
            "exports it.",
            ("endpoint",),
            registry=registry,
        )
        self.webhook_given_up = Gauge(
            "quota_webhook_given_up",
            "Deliveries that the endpoint refused for three days while it took others. Every "
            "worker process exports it.",
            ("endpoint",),
            registry=registry,
        )
        self.webhook_disabled = Gauge(
            "quota_webhook_disabled",
            "1 while nothing is sent to the endpoint: by ops, failing, gone. Every worker process "
            "exports it.",
            ("endpoint", "reason"),
            registry=registry,
        )


class ServiceGauges:
    """Gauges of the service, not of a process: read from the stores at each scrape.

    They are on a registry of their own, because one process exports them for all: `sum` over all
    processes that are scraped counts each seat once.
    """

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.seats = {
            counter: Gauge(
                f"quota_seats_{counter}", f"Seats {meaning}.", _SEATS_LABELS, registry=registry
            )
            for counter, meaning in {
                "capacity": "released so far",
                "remaining": "that can be reserved now",
                "held": "in unpaid holds",
                "confirming": "whose payment is being recorded",
                "confirmed": "booked",
            }.items()
        }
        self.seats_unlisted = Gauge(
            "quota_seats_unlisted_quotas",
            "Quotas beyond the limit, summed as venue 'other'.",
            registry=registry,
        )
        self.held_per_confirmed = Gauge(
            "quota_seats_held_per_confirmed",
            "Seats in unpaid holds divided by seats booked, or by 1 while none is booked.",
            ("exam",),
            registry=registry,
        )
        self.holds_live = Gauge(
            "quota_holds_live", "Live unpaid holds.", ("exam",), registry=registry
        )
        self.attempts = Gauge(
            "quota_confirmations_pending",
            "Payments recorded in one of the two stores only.",
            ("exam",),
            registry=registry,
        )
        self.journal_lag = Gauge(
            "quota_journal_lag_entries",
            "Journal entries not yet in Postgres.",
            ("exam",),
            registry=registry,
        )
        self.refunds_due = Gauge(
            "quota_refunds_due",
            "Payments that have to go back and are not settled.",
            registry=registry,
        )
        self.journal_quarantined = Gauge(
            "quota_journal_quarantined_entries",
            "Journal entries that could not be stored and need a person; alert above 0.",
            registry=registry,
        )

    def forget_exams(self) -> None:
        """Remove all samples, so that exams that are over have none after the next read."""
        for gauge in (
            *self.seats.values(),
            *(self.holds_live, self.attempts, self.journal_lag, self.held_per_confirmed),
        ):
            gauge.clear()
