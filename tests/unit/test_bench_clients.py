import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from loadtest.bench.counters import check_count, check_only
from loadtest.bench.errors import BenchError
from loadtest.bench.latency import Latencies, asking, percentile
from loadtest.bench.messages import order_requests, payment_requests
from loadtest.bench.open_loop import Samples
from loadtest.bench.wrk import http_request
from quota_service.client.webhooks import verified_event
from tests.support.recorder import Recorder

ROOT = Path(__file__).parents[2]


async def test_the_open_loop_sends_every_request_once_at_its_rate() -> None:
    orders = order_requests("/orders", "key", "run")

    async with Recorder() as server, asking(server.url, orders, rate=500, seconds=0.4) as client:
        samples = await client.end()

    assert len(server.requests) == 200
    assert len({body for _, body in server.requests}) == 200
    assert samples.statuses == {"201": 200}
    assert all(latency is not None and latency > 0 for latency in samples.latencies_s)


async def test_the_open_loop_ends_when_it_is_told_to() -> None:
    orders = order_requests("/orders", "key", "run")

    async with Recorder() as server, asking(server.url, orders, rate=100, seconds=60) as client:
        samples = await client.end_now()

    assert len(samples.latencies_s) == len(server.requests) < 6000


async def test_latencies_count_from_the_time_a_request_was_due() -> None:
    now_s = time.monotonic()
    samples = Samples(now_s - 2, 0.5, [0.1, 0.2, 0.3, 0.4], [0.0, 0.0, 0.01, 0.02])

    whole = Latencies.of(samples)
    part = Latencies.of(samples, now_s - 1, now_s)

    assert (whole.p50_ms, whole.p99_ms) == pytest.approx((200, 400))
    assert (part.p50_ms, part.client_late_p99_ms) == pytest.approx((300, 20))


def test_an_unanswered_request_leaves_no_latency_to_be_told() -> None:
    samples = Samples(time.monotonic() - 1, 0.5, [0.1, None], [0.0, 0.0])

    with pytest.raises(BenchError, match="1 of 2 were never answered"):
        Latencies.of(samples)


def test_a_percentile_is_a_value_that_was_seen() -> None:
    values = [float(n) for n in range(100, 0, -1)]

    assert (percentile(values, 50), percentile(values, 99), percentile([7.0], 99)) == (50, 99, 7)


def test_a_request_has_the_length_its_body_has_when_it_is_sent() -> None:
    request = http_request("POST", "/", b'{"candidate": "{n}"}', {"Key": "{n}"})

    head, _, body = request.replace(b"{n}", b"00000001").partition(b"\r\n\r\n")

    assert f"Content-Length: {len(body)}".encode() in head.split(b"\r\n")


def test_a_prepared_payment_is_signed_as_the_service_wants_it() -> None:
    secret = b"secret"

    (request,) = payment_requests("/v1/payment-callbacks", secret, ["exam.0.serial"])

    head, _, body = request.partition(b"\r\n\r\n")
    lines = (line.partition(": ") for line in head.decode().split("\r\n")[1:])
    headers = {name: value for name, _, value in lines}
    assert verified_event((secret,), headers, body, time.time()) == "event-exam.0.serial"


@pytest.mark.parametrize("happened", [9, 14])
def test_counts_that_differ_by_more_than_what_was_in_flight_are_refused(happened: int) -> None:
    check_count("orders", 10, 10, 3)
    check_count("orders", 10, 13, 3)

    with pytest.raises(BenchError, match="the client counted 10"):
        check_count("orders", 10, happened, 3)


def test_another_outcome_than_the_one_meant_is_refused() -> None:
    check_only("orders", Counter(held=3), "held")

    with pytest.raises(BenchError, match="sold-out"):
        check_only("orders", Counter({"held": 3, "sold-out": 1}), "held")


def test_without_wrk_the_bench_names_the_package(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "loadtest.bench", "--results", str(tmp_path)],
        cwd=ROOT,
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert ended.returncode == 2
    assert "apt-get install wrk" in ended.stderr
    assert not list(tmp_path.iterdir())
