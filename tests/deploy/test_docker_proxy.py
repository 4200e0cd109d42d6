"""HAProxy before API processes that are names, as in `compose.yaml`."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp
import orjson
import pytest
from aiohttp import web

from quota_service.embedded.ports import free_loopback_port
from tests.support.compose import COMPOSE, DOCKER, read_compose
from tests.support.haproxy import haproxy
from tests.support.name_server import name_server
from tests.support.waiting import eventually


def test_every_variable_of_the_proxy_is_one_and_names_a_service() -> None:
    services = read_compose(COMPOSE)["services"]
    told = services["proxy"]["environment"]
    configuration = (DOCKER / "../haproxy/haproxy.cfg").read_text()

    assert [name for name in told if f'"${{{name}}}"' not in configuration] == []
    servers = [value for name, value in told.items() if name.startswith("PROXY_API_")]
    assert servers == ["api-1:8080", "api-2:8080"]
    assert servers == [f"{name}:8080" for name in services if name.startswith("api-")]


@asynccontextmanager
async def api_process(address: str, port: int) -> AsyncIterator[None]:
    """What stands for an API process: it is ready, and tells its own address."""
    app = web.Application()

    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=address)

    async def ready(_: web.Request) -> web.Response:
        return web.json_response({"status": "ok"}, dumps=lambda told: orjson.dumps(told).decode())

    app.router.add_get("/readyz", ready)
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, address, port).start()
    try:
        yield
    finally:
        await runner.cleanup()


@pytest.mark.system
async def test_a_process_that_is_made_anew_is_found_at_its_new_address(tmp_path: Path) -> None:
    port = free_loopback_port()
    async with AsyncExitStack() as stack:
        names, nameserver = await stack.enter_async_context(name_server())
        session = await stack.enter_async_context(aiohttp.ClientSession())
        names.addresses["api-1"] = "127.0.0.2"
        old = await stack.enter_async_context(AsyncExitStack())
        await old.enter_async_context(api_process("127.0.0.2", port))
        url = f"http://api-1:{port}"
        proxy = await stack.enter_async_context(haproxy(tmp_path, url, NAMESERVER=nameserver))

        async def told() -> str:
            async with session.get(f"{proxy.http}/v1/exams") as answer:
                return await answer.text()

        async def at_first() -> bool:
            return await told() == "127.0.0.2"

        async def anew() -> bool:
            return await told() == "127.0.0.3"

        await eventually(at_first)
        await old.aclose()
        await stack.enter_async_context(api_process("127.0.0.3", port))
        names.addresses["api-1"] = "127.0.0.3"

        await eventually(anew)
