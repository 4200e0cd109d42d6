"""What metrics tell of an exam goes with it: every metric that has the label is in the list."""

from collections.abc import Iterator

from prometheus_client import Counter, Gauge, Histogram

from quota_service.observability.metrics import Metrics


def of_an_exam(metrics: Metrics) -> Iterator[object]:
    """Yield the metrics that have the label `exam`, as their own removal of series sees them."""
    for value in vars(metrics).values():
        for metric in value.values() if isinstance(value, dict) else [value]:
            if not isinstance(metric, Counter | Gauge | Histogram):
                continue
            try:
                metric.remove_by_labels({"exam": "none"})
            except ValueError:
                continue
            yield metric


def test_every_metric_of_an_exam_is_forgotten_with_it() -> None:
    metrics = Metrics()

    listed = metrics._of_an_exam()  # noqa: SLF001  the list is held against the metrics there are

    assert set(listed) == set(of_an_exam(metrics))
    assert len(listed) > 10


def test_counts_of_an_exam_that_is_archived_go_and_those_of_others_stay() -> None:
    metrics = Metrics()
    for exam in ("over", "other"):
        metrics.count_reservation(exam, "held")

    metrics.forget_exams(frozenset({"over"}))

    def count(exam: str) -> float | None:
        labels = {"exam": exam, "outcome": "held"}
        return metrics.registry.get_sample_value("quota_reservations_total", labels)

    assert (count("over"), count("other")) == (None, 1)


def test_a_pause_is_told_while_it_lasts() -> None:
    metrics = Metrics()

    def told(scope: str) -> float | None:
        labels = {"exam": "exam-1", "scope": scope}
        return metrics.registry.get_sample_value("quota_paused", labels)

    metrics.tell_pauses(frozenset({("exam-1", "*/*"), ("exam-1", "jinan/*")}))
    both = (told("*/*"), told("jinan/*"))
    metrics.tell_pauses(frozenset({("exam-1", "jinan/*")}))

    assert both == (1, 1)
    assert (told("*/*"), told("jinan/*")) == (None, 1)
