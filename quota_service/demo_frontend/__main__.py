"""Runs the frontend and the provider on a socket that the demo has opened: `--socket FD`.

The demo gives the addresses, keys and secrets in the environment, by the names of `demo.env`.
"""

import argparse
import asyncio
import os
import signal
import socket
from contextlib import AsyncExitStack

from aiohttp import web

from quota_service.client import QuotaClient
from quota_service.demo_frontend.frontend import Frontend
from quota_service.demo_frontend.provider import Provider
from quota_service.demo_frontend.refusals import answer_refusals


async def serve(listening: socket.socket) -> None:
    """Serve until SIGTERM or SIGINT."""
    environ = os.environ
    url, key = environ["QUOTA_URL"], environ["QUOTA_FRONTEND_KEY"]
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(QuotaClient(url, key=key))
        frontend = Frontend(client, url, key, environ["QUOTA_WEBHOOK_SECRET"])
        provider = Provider(client, environ["QUOTA_PAYMENT_SECRET"], frontend.page("pay.html"))
        app = web.Application(middlewares=[answer_refusals])
        app.add_routes([*frontend.routes(), *provider.routes()])
        app.on_response_prepare.append(frontend.add_headers)
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=1)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.SockSite(runner, listening).start()
        await stop.wait()


def main() -> None:
    """Serve on the socket that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m quota_service.demo_frontend")
    parser.add_argument("--socket", type=int, required=True, metavar="FD")
    asyncio.run(serve(socket.socket(fileno=parser.parse_args().socket)))


if __name__ == "__main__":
    main()
