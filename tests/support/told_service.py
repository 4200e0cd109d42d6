"""A service over HTTP that answers what a test tells it to, for tests of the client."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp import web

Answer = Callable[[], web.Response]


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it came."""

    method: str
    path: str
    body: bytes
    headers: dict[str, str]


def problem(slug: str, status: int, *, retry_after: str = "0", **members: object) -> Answer:
    """Return what answers with a problem document."""
    document = {"type": f"/problems/{slug}", "status": status, "detail": "as told", **members}
    return lambda: web.json_response(
        document,
        status=status,
        content_type="application/problem+json",
        headers={"Retry-After": retry_after, "X-Request-ID": "r-1"},
    )


def document(**members: object) -> Answer:
    """Return what answers with a JSON object."""
    return lambda: web.json_response(members)


def stream(text: str) -> Answer:
    """Return what answers with a stream that ends."""
    return lambda: web.Response(text=text, content_type="text/event-stream")


def broken() -> web.Response:
    """Stands for a connection that breaks off."""
    raise AssertionError


class ToldService:
    """Answers what it was told to, in turn, and the last of it for good."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.asked: list[Asked] = []
        self.url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        headers = dict(request.headers)
        self.asked.append(Asked(request.method, request.path_qs, body, headers))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer is broken:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        return answer()


@asynccontextmanager
async def told_service() -> AsyncIterator[ToldService]:
    """Serve on a free port."""
    service = ToldService()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", service.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    service.url = f"http://{host}:{port}"
    try:
        yield service
    finally:
        await runner.cleanup()
