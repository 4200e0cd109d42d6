"""What ops see: metrics on the admin port, request ids, and logs that tell nothing secret."""

import io
import json
import logging
import re
from typing import Any

import aiohttp
import pytest
import redis.asyncio
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from quota_service import __version__
from quota_service.ledger.api_keys import split_key
from quota_service.workers.expiry import ExpiryWorker
from quota_service.workers.journal_drain import JournalDrainWorker
from tests.conftest import Running
from tests.support.client import PAYMENT_SECRET, ApiClient
from tests.support.exams import SEATS, exam_definition
from tests.support.raw_http import exchange, request
from tests.support.records import move_due_into_the_past

REQUEST_ID = re.compile(r"[0-9a-f]{16}")
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


async def scraped_families(running: Running) -> list[Metric]:
    """Return every metric of the admin port, parsed by the rules of the format."""
    url = f"{running.addresses.admin}/metrics"
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        assert response.status == 200
        assert response.headers["Content-Type"].startswith("text/plain")
        return list(text_string_to_metric_families(await response.text()))


async def scrape_worker(running: Running) -> Samples:
    """Return the samples of the process that holds the lease of the workers."""
    await running.service.stores.worker_lease.renew()
    return await scrape(running)


async def scrape(running: Running) -> Samples:
    """Return every sample of the admin port's metrics by name and labels."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in await scraped_families(running)
        for sample in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float:
    """Return one sample; 0 for a counter that was never counted."""
    return samples.get((name, frozenset(labels.items())), 0.0)


def lines(log: io.StringIO) -> list[dict[str, Any]]:
    """Return the log's lines; each must be one JSON object."""
    parsed = [json.loads(line) for line in log.getvalue().splitlines()]
    assert all(isinstance(line, dict) for line in parsed)
    return parsed


async def test_metrics_are_on_the_admin_port_only(running: Running) -> None:
    public = await running.client.get("/metrics")
    samples = await scrape(running)

    assert (public.status, public.slug) == (404, "not-found")
    versions = [dict(labels) for name, labels in samples if name == "quota_build_info"]
    assert [labels["version"] for labels in versions] == [__version__]


async def test_the_admin_port_tells_health_and_serves_nothing_else(running: Running) -> None:
    async with aiohttp.ClientSession() as session:
        found = {}
        for path in ("/livez", "/readyz", "/v1/exams", "/docs"):
            async with session.get(f"{running.addresses.admin}{path}") as response:
                found[path] = response.status

    assert found == {"/livez": 200, "/readyz": 200, "/v1/exams": 404, "/docs": 404}


async def test_every_metric_moves_with_what_it_counts(  # noqa: PLR0915  one line a metric
    running: Running, redis_client: "redis.asyncio.Redis"
) -> None:
    api, stores, settings = running.client, running.service.stores, running.service.settings
    before = await scrape_worker(running)

    paid = (await api.reserve("candidate-1", ("general", "qms"), idempotency_key="a")).json
    await api.reserve("candidate-1", ("general", "qms"), idempotency_key="a")
    await api.reserve("candidate-1", ("general",))
    await api.reserve("candidate-2", ("ems",), ("tianjin",))
    released = (await api.reserve("candidate-3", ("general",), ("tianjin",))).json
    for _ in range(2):
        await api.call("DELETE", f"/v1/reservations/{released['id']}")
    expired = (await api.reserve("candidate-4", ("service",))).json
    await move_due_into_the_past(redis_client, expired["id"])
    await ExpiryWorker(stores, settings).run_once()
    await api.reserve("candidate-5", ("ems",))
    await api.pay(paid, event="e-1")
    await api.pay(paid, event="e-1")
    await api.pay(paid, event="e-2")
    await api.get("/v1/exams/exam-1/availability")
    lagging = await scrape_worker(running)
    await JournalDrainWorker(stores.maintenance, settings).run_once()
    after = await scrape_worker(running)

    def moved(name: str, **labels: str) -> float:
        return value(after, name, **labels) - value(before, name, **labels)

    outcomes = {
        outcome: moved("quota_reservations_total", exam="exam-1", outcome=outcome)
        for outcome in ("held", "replayed", "session-conflict", "sold-out", "released")
    }
    assert outcomes == {
        "held": 4,
        "replayed": 1,
        "session-conflict": 1,
        "sold-out": 1,
        "released": 1,
    }
    assert moved("quota_confirmations_total", outcome="confirmed", reason="") == 1
    assert moved("quota_confirmations_total", outcome="repeated", reason="") == 1
    assert moved("quota_confirmations_total", outcome="refund_due", reason="already-paid") == 1
    assert moved("quota_refunds_due") == 1
    assert moved("quota_holds_expired_total", exam="exam-1") == 1
    assert moved("quota_holds_ended_unpaid_total", exam="exam-1", end="expired") == 1
    assert moved("quota_holds_ended_unpaid_total", exam="exam-1", end="released") == 1
    assert value(after, "quota_seats_held_per_confirmed", exam="exam-1") == 0.5
    assert moved("quota_expiry_lag_seconds_count") == 1
    assert value(after, "quota_holds_live", exam="exam-1") == 1
    for script in ("reserve", "begin_payment", "confirm", "release", "expire", "snapshot"):
        assert moved("quota_redis_script_duration_seconds_count", script=script) > 0, script
    assert moved("quota_postgres_pool_wait_seconds_count") > 0
    assert moved("quota_group_commit_size_count") >= 2
    assert moved("quota_group_commit_size_sum") >= 2
    assert value(lagging, "quota_journal_lag_entries", exam="exam-1") > 0
    assert value(after, "quota_journal_lag_entries", exam="exam-1") == 0
    assert moved("quota_journal_entries_drained_total", exam="exam-1") > 0
    assert value(after, "quota_journal_quarantined_entries") == 0
    assert value(after, "quota_store_up", store="redis") == 1
    assert value(after, "quota_store_up", store="postgres") == 1
    route = {"method": "POST", "route": "/v1/exams/{exam}/reservations"}
    assert moved("quota_http_request_duration_seconds_count", **route, status="201") == 5
    assert moved("quota_http_request_duration_seconds_count", **route, status="409") == 2

    def seats(counter: str, venue: str, subject: str) -> float:
        labels = {"exam": "exam-1", "venue": venue, "subject": subject}
        return value(after, f"quota_seats_{counter}", **labels)

    assert seats("capacity", "jinan", "general") == 3
    assert seats("confirmed", "jinan", "general") == 1
    assert seats("held", "jinan", "ems") == 1
    assert seats("remaining", "jinan", "ems") == 1
    assert seats("remaining", "jinan", "service") == 1
    assert seats("confirming", "jinan", "general") == 0


async def test_names_follow_the_conventions_and_the_prefix(running: Running) -> None:
    await running.client.reserve()

    families = await scraped_families(running)

    foreign = {f.name for f in families if not f.name.startswith("quota_")}
    assert all(name.startswith(("process_", "python_")) for name in foreign)
    for family in families:
        assert family.documentation, family.name
        assert not family.name.endswith(("_ms", "_milliseconds", "_count")), family.name
        if family.type == "counter":
            assert all(s.name.endswith(("_total", "_created")) for s in family.samples)


async def test_unknown_addresses_and_methods_make_no_labels_of_their_own(running: Running) -> None:
    api = running.client
    for i in range(5):
        await api.get(f"/nothing/{i}")
        await api.get(f"/v1/reservations/nothing-{i}")
        await api.call("PROPFIND", f"/v1/exams/{i}")
    await exchange(api.url, request("MKCOL", "/v1/exams"))

    samples = await scrape(running)

    # Calls that admission looks at have their labels from the start, without a count.
    found = [
        dict(labels)
        for (name, labels), count in samples.items()
        if name.endswith("request_duration_seconds_count") and count
    ]
    assert {labels["route"] for labels in found} <= {"unmatched", "/v1/reservations/{reservation}"}
    assert {labels["method"] for labels in found} <= {"GET", "other"}
    assert "unmatched" in {labels["route"] for labels in found}


@pytest.mark.settings(metrics_quotas_max=3)
async def test_quotas_beyond_the_cap_are_summed_up(running: Running) -> None:
    await running.client.reserve("candidate-1", ("service",), ("tianjin",))

    samples = await scrape_worker(running)

    capacity = {
        (dict(labels)["venue"], dict(labels)["subject"]): seats
        for (name, labels), seats in samples.items()
        if name == "quota_seats_capacity"
    }
    everything = {(v, s): n for v, quotas in SEATS.items() for s, n in quotas.items()}
    listed = sorted(everything)[:3]
    rest = sum(seats for quota, seats in everything.items() if quota not in listed)
    assert capacity == {**{quota: everything[quota] for quota in listed}, ("other", "other"): rest}
    other = {"exam": "exam-1", "venue": "other", "subject": "other"}
    assert value(samples, "quota_seats_held", **other) == 1
    assert value(samples, "quota_seats_remaining", **other) == rest - 1
    assert value(samples, "quota_seats_unlisted_quotas") == len(everything) - 3


@pytest.mark.settings(metrics_quotas_max=5)
async def test_the_cap_holds_over_all_exams_also_when_their_ids_are_alike(running: Running) -> None:
    await running.client.import_exam(exam_definition("exam-2"))

    samples = await scrape_worker(running)

    everything = 2 * sum(len(quotas) for quotas in SEATS.values())
    labels = [dict(labels) for name, labels in samples if name == "quota_seats_capacity"]
    assert len([each for each in labels if each["venue"] != "other"]) == 5
    assert value(samples, "quota_seats_unlisted_quotas") == everything - 5


@pytest.mark.settings(metrics_quotas_max=0)
async def test_a_cap_of_nothing_leaves_the_sums(running: Running) -> None:
    samples = await scrape_worker(running)

    names = [dict(labels)["venue"] for name, labels in samples if name == "quota_seats_capacity"]
    assert names == ["other"]


@pytest.mark.parametrize("offered", ["a", "Request-7.of_9", "x" * 64])
async def test_a_request_id_that_is_sent_comes_back(api: ApiClient, offered: str) -> None:
    for path in ("/livez", "/v1/reservations/nothing", "/nothing"):
        reply = await api.get(path, headers={"X-Request-ID": offered})

        assert reply.headers["X-Request-ID"] == offered


@pytest.mark.parametrize("offered", [None, "", "x" * 65, "a b", "a/b", "a,b", "é", "<b>", "{}"])
async def test_a_request_id_that_is_odd_or_missing_is_replaced(
    api: ApiClient, offered: str | None
) -> None:
    headers = {} if offered is None else {"X-Request-ID": offered}

    first = (await api.get("/livez", headers=headers)).headers["X-Request-ID"]
    second = (await api.get("/livez", headers=headers)).headers["X-Request-ID"]

    assert REQUEST_ID.fullmatch(first)
    assert REQUEST_ID.fullmatch(second)
    assert first != second


async def test_a_log_line_carries_the_id_of_its_request(
    running: Running, log_lines: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("broken for a test")

    monkeypatch.setattr(type(running.service.context.availability), "current", broken)

    reply = await running.client.get(
        "/v1/exams/exam-1/availability", headers={"X-Request-ID": "request-7"}
    )

    assert (reply.status, reply.slug) == (500, "internal-error")
    assert "broken for a test" not in reply.body.decode()
    (line,) = [line for line in lines(log_lines) if line["level"] == "error"]
    assert line["request_id"] == "request-7"
    assert "broken for a test" in line["exception"]
    assert {"at", "level", "logger", "message"} <= set(line)


async def test_the_logs_hold_no_key_signature_or_body(
    running: Running, log_lines: io.StringIO
) -> None:
    api = running.client
    candidate, reference = "candidate-1", "reference-not-to-be-logged"

    held = (await api.reserve(candidate)).json
    await api.reserve(candidate)
    await api.reserve(candidate, subjects=("nothing-of-the-body",))
    await api.get(f"/v1/exams/exam-1/candidates/{candidate}")
    await api.pay(held, event="e-1", provider_reference=reference)
    await api.pay(held, event="e-1", provider_reference="another")
    await api.pay(held, secret=b"wrong", provider_reference=reference)
    await api.callback(b'{"body-not-to-be-logged')
    torn = request("POST", "/v1/payment-callbacks", "webhook-signature : v1,torn-signature")
    await exchange(api.url, torn)
    path = f"/v1/exams/exam-1/candidates/{candidate}"
    await exchange(api.url, request("GET", path, f"Authorization : Bearer {api.frontend_key}"))

    lines(log_lines)
    logged = log_lines.getvalue()
    secrets = [(split_key(key) or ("", ""))[1] for key in (api.frontend_key, api.ops_key)]
    unwanted = [reference, "not-to-be-logged", "nothing-of-the-body", "torn-signature"]
    assert "malformed" in logged
    for text in (*secrets, *unwanted, PAYMENT_SECRET.decode()):
        assert text not in logged, text


async def test_every_log_line_is_json_even_with_bytes_that_are_no_text(
    log_lines: io.StringIO,
) -> None:
    logging.getLogger("test").warning("odd %s", "\udcff", extra={"path": "\ud800", "n": object()})

    (line,) = lines(log_lines)
    assert line["message"] == "odd \udcff"
    assert line["path"] == "\ud800"


async def test_seats_are_read_for_the_metrics_only_when_their_shard_has_taken_a_step(
    running: Running,
    redis_client: "redis.asyncio.Redis",
) -> None:
    async def reads() -> int:
        stats = await redis_client.info("commandstats")
        names = ("cmdstat_hscan", "cmdstat_hgetall")
        return sum(int(stats.get(name, {"calls": 0})["calls"]) for name in names)

    async def left() -> float:
        labels = {"exam": "exam-1", "venue": "jinan", "subject": "general"}
        return value(await scrape_worker(running), "quota_seats_remaining", **labels)

    first = await left()
    before = await reads()
    again, unchanged = await left(), await reads()
    await running.client.reserve("candidate-1")
    after = await left()

    assert (first, again, after) == (3, 3, 2)
    assert unchanged == before
    assert await reads() > before
