"""The pages that people open in a browser, and the files of the pages.

A page is one HTML file of `quota_service/web/`; its scripts call the API as any other client does.
The addresses of its files name their version, so that browsers ask for each once; the same files
without a version are there for whoever serves the pages from elsewhere. All are read and packed
when the first of them is asked for; comments and indentation of our scripts are left out.
"""

import asyncio
import gzip
import hashlib
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from aiohttp import web

from quota_service.api.problems import PROBLEMS

FOLDER = Path(__file__).parents[1] / "web"
PAGES = {"/exams/{exam}": "board.html", "/ops": "ops.html"}
"""Addresses of pages, and their files."""
TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".json": "application/json",
    ".txt": "text/plain",
}
"""Files of these kinds are served; no other is."""

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The Content-Security-Policy of a page."""
_PAGE_HEADERS = {
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
_ADDRESS = "/web/"
_FOR_READERS_OF_CODE = re.compile(
    rb"^[ \t]*(?://[^\n]*\n|/\*\*.*?\*/\n)|^[ \t]+", re.MULTILINE | re.DOTALL
)
"""Lines of comments, and indentation."""
_FOR_EVER = "public, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True)
class File:
    """A file as it is sent, plain and packed."""

    content: bytes
    packed: bytes
    etag: str
    content_type: str

    def response(self, request: web.Request, headers: dict[str, str]) -> web.Response:
        """Return the answer to a GET; a client that has the file gets no body."""
        told = {
            **headers,
            "ETag": f'W/"{self.etag}"',
            "Vary": "Accept-Encoding",
            "X-Content-Type-Options": "nosniff",
        }
        offered = request.if_none_match or ()
        if any(each.value in {self.etag, "*"} for each in offered):
            return web.Response(status=304, headers=told)
        told["Content-Type"] = f"{self.content_type}; charset=utf-8"
        if "gzip" not in request.headers.get("Accept-Encoding", ""):
            return web.Response(body=self.content, headers=told)
        return web.Response(body=self.packed, headers={**told, "Content-Encoding": "gzip"})


class Files:
    """The files of a folder, read when the first is asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @cached_property
    def version(self) -> str:
        """What names this state of the files."""
        texts = sorted((name, content) for name, content in self._contents.items())
        return hashlib.sha256(repr(texts).encode()).hexdigest()[:12]

    @cached_property
    def by_name(self) -> dict[str, File]:
        """The files by their path in the folder; pages name files of this version."""
        versioned = f'"{_ADDRESS}{self.version}/'.encode()

        def sent(name: str, content: bytes) -> bytes:
            if name.endswith(".html"):
                return content.replace(f'"{_ADDRESS}'.encode(), versioned)
            if name.startswith("app/") and name.endswith(".js"):
                return _FOR_READERS_OF_CODE.sub(b"", content)
            return content

        return {name: _file(name, sent(name, text)) for name, text in self._contents.items()}

    @cached_property
    def _contents(self) -> dict[str, bytes]:
        if not (self._folder / "vendor").is_dir():
            missing = self._folder / "vendor"
            raise FileNotFoundError(f"{missing} is missing: run `python hatch_build.py`")
        return {
            path.relative_to(self._folder).as_posix(): path.read_bytes()
            for path in self._folder.rglob("*")
            if path.suffix in TYPES
        }


FILES: web.AppKey[Files] = web.AppKey("files", Files)


def add_pages(app: web.Application) -> None:
    """Register the pages and their files."""
    app[FILES] = Files(FOLDER)
    for address, name in PAGES.items():
        app.router.add_get(address, _page(name))
    app.router.add_get(_ADDRESS + "{version:[0-9a-f]{12}}/{name:.+}", get_file)
    app.router.add_get(_ADDRESS + "{name:.+}", get_file)


async def get_file(request: web.Request) -> web.Response:
    """GET /web/{name}, with the version before the name or without."""
    files = await _read(request)
    file = files.by_name.get(request.match_info["name"])
    if file is None:
        return PROBLEMS["not-found"].response("there is no file of this name").to_aiohttp()
    # While two versions of the service run, a page of one may be served the files of the other.
    is_named = request.match_info.get("version") == files.version
    return file.response(request, {"Cache-Control": _FOR_EVER if is_named else "no-cache"})


def _page(name: str) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def get_page(request: web.Request) -> web.Response:
        files = await _read(request)
        return files.by_name[name].response(request, _PAGE_HEADERS)

    return get_page


async def _read(request: web.Request) -> Files:
    files = request.app[FILES]
    if "by_name" not in vars(files):  # reading and packing takes some 20 ms
        await asyncio.to_thread(lambda: files.by_name)
    return files


def _file(name: str, content: bytes) -> File:
    etag = hashlib.sha256(content).hexdigest()[:16]
    return File(content, gzip.compress(content, mtime=0), etag, TYPES[Path(name).suffix])
