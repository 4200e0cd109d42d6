"""Sends one prepared request and reads its answer, to see what a baseline has to answer."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import orjson

from loadtest.bench.errors import BenchError

_ANSWER_LIMIT_S = 10


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer; header names are in lower case, `document` is None without a body."""

    status: int
    headers: Mapping[str, str]
    document: Any


async def ask(url: str, request: bytes) -> Answer:
    """Send the bytes of one request and return the answer."""
    place = urlsplit(url)
    async with asyncio.timeout(_ANSWER_LIMIT_S):
        reader, writer = await asyncio.open_connection(place.hostname, place.port)
        try:
            writer.write(request)
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = {
                name.lower(): value.strip()
                for name, _, value in (line.partition(":") for line in head[1:] if line)
            }
            body = await reader.readexactly(int(headers.get("content-length", 0)))
        finally:
            writer.close()
    return Answer(int(head[0].split()[1]), headers, orjson.loads(body) if body else None)


async def ask_first(url: str, requests: Sequence[bytes], status: int) -> Answer:
    """Send the first of some requests, as number 0; BenchError unless it is answered `status`."""
    answer = await ask(url, requests[0].replace(b"{n}", b"00000000"))
    if answer.status != status:
        raise BenchError(f"a first request was answered {answer.status}: {answer.document}")
    return answer
