"""Queries of dashboards held to the labels of what the service exports and the rules record."""

from collections.abc import Iterable, Mapping
from functools import cache, singledispatch
from unittest import mock

import promql_parser as promql
from prometheus_client import Counter, Gauge, Histogram

from quota_service.observability import metrics
from tests.support.alerting import rules

OF_EVERY_TARGET = frozenset({"job", "instance"})
_SUFFIXES = {Counter: ("_total",), Gauge: ("",), Histogram: ("_bucket", "_count", "_sum")}


class UnknownError(Exception):
    """A query names a metric or label that there is not."""


def labels_of(query: str, known: Mapping[str, frozenset[str]]) -> frozenset[str]:
    """Return the labels of what a query answers; UnknownError when it names what is not known."""
    return _labels(promql.parse(query), known)


@cache
def exported() -> dict[str, frozenset[str]]:
    """Return the labels of every sample that a process can export, by its name."""
    made: dict[str, frozenset[str]] = {}

    def recording(kind: type[Counter | Gauge | Histogram]) -> type:
        class Recording(kind):
            def __init__(
                self, name: str, about: str, labels: tuple[str, ...] = (), **options: object
            ) -> None:
                super().__init__(name, about, labels, **options)
                for suffix in _SUFFIXES[kind]:
                    of_buckets = {"le"} if suffix == "_bucket" else set()
                    made[name + suffix] = frozenset({*labels, *of_buckets}) | OF_EVERY_TARGET

        return Recording

    with mock.patch.multiple(metrics, **{kind.__name__: recording(kind) for kind in _SUFFIXES}):
        metrics.Metrics()
        metrics.ServiceGauges()
    return made


@cache
def recorded() -> dict[str, frozenset[str]]:
    """Return the labels of every series that the recording rules make, by its name."""
    return {rule["record"]: labels_of(rule["expr"], exported()) for rule in rules("record")}


Known = Mapping[str, frozenset[str]]


@singledispatch
def _labels(expr: promql.Expr, known: Known) -> frozenset[str]:
    """Return the labels of what an expression answers; none of a number or a string."""
    del expr, known
    return frozenset()


@_labels.register
def _of_selector(expr: promql.VectorSelector, known: Known) -> frozenset[str]:
    if expr.name not in known:
        raise UnknownError(f"metric {expr.name}")
    _check({matcher.name for matcher in expr.matchers.matchers}, known[expr.name], expr)
    return known[expr.name]


@_labels.register
def _of_range(expr: promql.MatrixSelector, known: Known) -> frozenset[str]:
    return _labels(expr.vector_selector, known)


@_labels.register(promql.ParenExpr)
@_labels.register(promql.UnaryExpr)
@_labels.register(promql.SubqueryExpr)
def _of_inner(expr: promql.ParenExpr, known: Known) -> frozenset[str]:
    return _labels(expr.expr, known)


@_labels.register
def _of_aggregate(expr: promql.AggregateExpr, known: Known) -> frozenset[str]:
    inner = _labels(expr.expr, known)
    if expr.modifier is None:
        return inner if str(expr.op) in {"topk", "bottomk"} else frozenset()
    _check(expr.modifier.labels, inner, expr)
    named = frozenset(expr.modifier.labels)
    return named if expr.modifier.type == promql.AggModifierType.By else inner - named


@_labels.register
def _of_call(expr: promql.Call, known: Known) -> frozenset[str]:
    labels = frozenset[str]().union(*[_labels(argument, known) for argument in expr.args])
    return labels - {"le"} if expr.func.name == "histogram_quantile" else labels


@_labels.register
def _of_binary(expr: promql.BinaryExpr, known: Known) -> frozenset[str]:
    sides = [_labels(side, known) for side in (expr.lhs, expr.rhs)]
    if expr.modifier is not None and expr.modifier.matching is not None:
        for side in sides:
            _check(expr.modifier.matching.labels, side, expr)
    return sides[0] | sides[1]


def _check(named: Iterable[str], known: frozenset[str], where: promql.Expr) -> None:
    for label in named:
        if label not in known:
            raise UnknownError(f"label {label} of {where}")
