"""An answer without aiohttp's response object, which costs more to make than to fill."""

from dataclasses import dataclass

from aiohttp import web

JSON = "application/json"


@dataclass(slots=True)
class Answer:
    """What is sent back. Headers are our own words, never a client's: nothing escapes them."""

    body: bytes
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    content_type: str = JSON

    def response(self) -> web.Response:
        """Return the answer as aiohttp's."""
        return web.Response(
            body=self.body or None,
            status=self.status,
            headers=self.headers,
            content_type=self.content_type if self.body else None,
        )
