"""The client of the bench for throughput, wrk with a script of ours."""

import pytest

from loadtest.bench.messages import order_requests
from loadtest.bench.wrk import run_wrk
from tests.support.programs import need_program
from tests.support.recorder import Recorder

pytestmark = pytest.mark.system


async def test_wrk_sends_no_number_twice_and_counts_refusals_apart() -> None:
    need_program("wrk")
    refusal = b"HTTP/1.1 409 Conflict\r\nContent-Length: 2\r\n\r\nno"

    async with Recorder(refusal) as server:
        orders = order_requests("/orders", "key", "run")
        done = await run_wrk(server.url, orders, connections=4, seconds=1)

    assert done.refused == done.requests > 0
    assert done.requests <= len(server.requests) <= done.requests + 4
    assert len({body for _, body in server.requests}) == len(server.requests)
