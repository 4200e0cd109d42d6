"""The dashboards on a real Prometheus that scrapes a real service, on which an opening goes on."""

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from deploy.grafana import pictures
from deploy.grafana.build import DASHBOARDS
from quota_service.app.opening import open_service
from quota_service.ledger.api_keys import Scope
from tests.support.client import ApiClient
from tests.support.operated import operated
from tests.support.patience import START_LIMIT_S
from tests.support.prometheus import ask, free_ports, prometheus, shortened
from tests.support.small_opening import SmallOpening
from tests.support.waiting import eventually

pytestmark = pytest.mark.system


@asynccontextmanager
async def watched_opening(folder: Path) -> AsyncIterator[tuple[SmallOpening, str]]:
    """Start a service and a Prometheus that scrapes it; yield an opening and Prometheus's URL."""
    async with AsyncExitStack() as stack:
        service = await stack.enter_async_context(operated(folder))
        async with open_service(service.settings) as opened:
            scopes = frozenset({Scope.FRONTEND, Scope.REFUNDS})
            key = await opened.key_ledger.create("portal", scopes)
        targets = {
            "quota-api": [service.shell["QUOTA_ADMIN_URL"].removeprefix("http://")],
            "quota-worker": [service.shell["WORKER_ADMIN_URL"].removeprefix("http://")],
        }
        (port, no_alertmanager) = free_ports(2)
        copy = shortened(folder, targets, f"127.0.0.1:{no_alertmanager}")
        url = await stack.enter_async_context(prometheus(copy, port))
        session = await stack.enter_async_context(aiohttp.ClientSession())
        api = ApiClient(session, service.api.url, key, service.shell["QUOTA_OPS_KEY"])
        opening = SmallOpening(api)
        await opening.prepare()
        yield opening, url


async def test_no_panel_is_empty_but_those_that_wait_for_a_fault(tmp_path: Path) -> None:
    """And pictures of all of them can be drawn from that Prometheus."""
    empty = {
        query.expr.replace("$exam", ".+")
        for dashboard in DASHBOARDS
        for panel in dashboard.panels
        for query in panel.queries
        if not query.waits_for
    }

    async with watched_opening(tmp_path) as (opening, url):

        async def none_is_empty() -> bool:
            await opening.one_round()
            for query in sorted(empty):
                if any(not math.isnan(float(each["value"][1])) for each in await ask(url, query)):
                    empty.discard(query)
            return not empty

        try:
            await eventually(none_is_empty, within_s=START_LIMIT_S)
        except AssertionError as error:
            raise AssertionError(f"empty: {sorted(empty)}") from error
        told = [url, "--minutes", "0.5", "--folder", str(tmp_path / "pictures")]
        await asyncio.to_thread(pictures.main, told)

    for dashboard in DASHBOARDS:
        png = (tmp_path / "pictures" / f"{dashboard.uid}.png").read_bytes()
        assert png.startswith(b"\x89PNG")
