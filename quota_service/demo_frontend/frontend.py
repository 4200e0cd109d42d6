"""What a registration frontend does: it knows who is signed in, and the service trusts its key.

The pages call the service themselves, with a token that the frontend makes for the candidate who is
signed in: so the crowd at noon does not pass through here. The service's webhooks come here, and
each candidate's own are passed on to its page, which then reads again; a webhook that comes twice
makes it read twice. A frontend with several processes passes them on to all of these.
"""

import asyncio
import hashlib
import hmac
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import orjson
from aiohttp import web

from quota_service.client import QuotaClient, WebhookRefused, verify_webhook

log = logging.getLogger(__name__)

WEB = Path(__file__).parents[1] / "web"
PAGES = {
    "/": "register.html",
    "/exams/{exam}": "board.html",
    "/exams/{exam}/register": "register.html",
}
TOKEN_TTL_S = 3600
NAME_MAX = 40
WATCHERS_MAX = 10_000
_COOKIE = "session"
_HEARTBEAT_S = 15
_UNREAD_MAX = 32
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self' {api}; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Frontend:
    """The handlers of the frontend; `api` is the address at which browsers find the service."""

    def __init__(self, client: QuotaClient, api: str, key: str, webhook_secret: str) -> None:
        self._client = client
        self._api = api
        self._sealing_key = hashlib.sha256(f"cookies:{key}".encode()).digest()
        self._webhook_secret = webhook_secret
        self._watchers: defaultdict[str, set[asyncio.Queue[bytes]]] = defaultdict(set)

    def routes(self) -> list[web.AbstractRouteDef]:
        """Return the addresses of the frontend."""
        return [
            *(web.get(address, self.page(name)) for address, name in PAGES.items()),
            web.static("/web", WEB),
            web.get("/session", self.session),
            web.post("/session", self.sign_in),
            web.delete("/session", self.sign_out),
            web.post("/session/token", self.token),
            web.get("/session/events", self.events),
            web.post("/webhooks", self.webhook),
        ]

    def page(self, name: str) -> Handler:
        """Return a handler of a page, which is told where the service is, and registration."""

        async def get_page(_request: web.Request) -> web.Response:
            html = (WEB / name).read_text(encoding="utf-8")
            for member, told in (("api", self._api), ("register", "/exams/{exam}/register")):
                html = html.replace(
                    f'"quota-{member}" content=""', f'"quota-{member}" content="{told}"'
                )
            return web.Response(text=html, content_type="text/html")

        return get_page

    async def add_headers(self, _request: web.Request, response: web.StreamResponse) -> None:
        """Add what every answer has: its policy, and that it is asked for again."""
        response.headers.setdefault("Cache-Control", "no-cache")
        response.headers["Content-Security-Policy"] = _POLICY.format(api=self._api)
        response.headers["Referrer-Policy"] = "no-referrer"
        response.headers["X-Content-Type-Options"] = "nosniff"

    async def session(self, request: web.Request) -> web.Response:
        """GET /session: who is signed in, null where nobody is."""
        name = self._name_of(request)
        return _json(_candidate(name) if name else None)

    async def sign_in(self, request: web.Request) -> web.Response:
        """POST /session {name}: the demo takes any name; a real frontend asks for a password."""
        name = (await text_of(request, "name")).strip()
        if not 0 < len(name) <= NAME_MAX:
            raise web.HTTPUnprocessableEntity
        response = _json(_candidate(name))
        sealed = f"{name.encode().hex()}.{self._seal(name)}"
        response.set_cookie(_COOKIE, sealed, httponly=True, samesite="Strict")
        return response

    async def sign_out(self, _request: web.Request) -> web.Response:
        """DELETE /session."""
        response = web.Response(status=204)
        response.del_cookie(_COOKIE)
        return response

    async def token(self, request: web.Request) -> web.Response:
        """POST /session/token {exam}: a token for the candidate who is signed in, and no other."""
        candidate = self._signed_in(request)
        exam = await text_of(request, "exam")
        mint = self._client.create_candidate_token
        made = await mint(exam=exam, candidate=candidate, ttl_s=TOKEN_TTL_S)
        return _json({"token": made["token"], "candidate": candidate, "ttl_s": TOKEN_TTL_S})

    async def webhook(self, request: web.Request) -> web.Response:
        """POST /webhooks: what happened, told by the service; nothing unsigned is believed."""
        try:
            told = verify_webhook([self._webhook_secret], request.headers, await request.read())
        except WebhookRefused as refusal:
            log.warning("a webhook was refused: %s", refusal)
            raise web.HTTPUnauthorized from refusal
        about = told["data"]
        message = orjson.dumps({"type": told["type"], "exam": about.get("exam")})
        candidate = about.get("candidate")
        all_of_them = self._watchers.values()
        watching = [self._watchers.get(str(candidate), set())] if candidate else all_of_them
        for unread in [each for queues in watching for each in queues]:
            if not unread.full():  # else the page reads again as it is
                unread.put_nowait(message)
        return web.Response(status=204)

    async def events(self, request: web.Request) -> web.StreamResponse:
        """GET /session/events: what the webhooks tell about the candidate who is signed in."""
        candidate = self._signed_in(request)
        if sum(map(len, self._watchers.values())) >= WATCHERS_MAX:
            raise web.HTTPServiceUnavailable
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        with self._watched(candidate) as unread:
            line = b": connected\n\n"
            while True:
                await response.write(line)
                try:
                    async with asyncio.timeout(_HEARTBEAT_S):
                        line = b"data: " + await unread.get() + b"\n\n"
                except TimeoutError:
                    line = b": still here\n\n"

    @contextmanager
    def _watched(self, candidate: str) -> Iterator[asyncio.Queue[bytes]]:
        unread: asyncio.Queue[bytes] = asyncio.Queue(_UNREAD_MAX)
        self._watchers[candidate].add(unread)
        try:
            yield unread
        finally:
            self._watchers[candidate].discard(unread)
            if not self._watchers[candidate]:
                del self._watchers[candidate]

    def _signed_in(self, request: web.Request) -> str:
        """Return the candidate who is signed in; 401 where nobody is."""
        if not (name := self._name_of(request)):
            raise web.HTTPUnauthorized
        return _candidate(name)["candidate"]

    def _name_of(self, request: web.Request) -> str:
        """Return the name in the cookie if it is sealed by us, else an empty one."""
        written, _, seal = request.cookies.get(_COOKIE, "").partition(".")
        try:
            name = bytes.fromhex(written).decode()
        except ValueError:
            return ""
        mine, theirs = self._seal(name).encode(), seal.encode(errors="replace")
        return name if hmac.compare_digest(mine, theirs) else ""

    def _seal(self, name: str) -> str:
        return hmac.new(self._sealing_key, name.encode(), hashlib.sha256).hexdigest()


def _candidate(name: str) -> dict[str, str]:
    """Return a candidate of the demo: the service knows an opaque id, and never the name."""
    digest = hashlib.sha256(name.casefold().encode()).hexdigest()
    return {"candidate": f"c-{digest[:16]}", "name": name}


async def text_of(request: web.Request, member: str) -> str:
    """Return a text of the body, an empty one where it has none."""
    with suppress(orjson.JSONDecodeError, TypeError, KeyError):
        if isinstance(text := orjson.loads(await request.read())[member], str):
            return text
    return ""


def _json(document: object) -> web.Response:
    headers = {"Cache-Control": "no-store", "Content-Type": "application/json"}
    return web.Response(body=orjson.dumps(document), headers=headers)
