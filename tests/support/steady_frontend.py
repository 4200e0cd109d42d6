"""A frontend that reserves without pause over connections of its own, and knows how each went."""

import asyncio
import itertools
import json

from tests.support.client import ApiClient
from tests.support.raw_http import connect

_NUMBERS = itertools.count(1)


class SteadyConnection:
    """One connection, kept alive, with one reservation after the other until it breaks.

    `answered` counts reservations answered 201, `is_broken` tells that the last had no answer.
    """

    def __init__(self, api: ApiClient) -> None:
        self.answered = 0
        self.is_broken = False
        self.port = 0
        self._api = api
        self._stop = False
        self.task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Let the request under way be answered, and close."""
        self._stop = True
        await self.task

    async def _run(self) -> None:
        reader, writer = await connect(self._api.url)
        self.port = writer.get_extra_info("sockname")[1]
        try:
            while not self._stop:
                writer.write(self._order())
                assert await _status(reader) == 201
                self.answered += 1
        except (ConnectionError, asyncio.IncompleteReadError):
            self.is_broken = True
        finally:
            writer.close()

    def _order(self) -> bytes:
        number = next(_NUMBERS)
        body = json.dumps(
            {
                "candidate": f"steady-{number}",
                "subjects": ["general"],
                "venues": ["jinan"],
                "accepted_notice": "2023-1",
            }
        ).encode()
        head = (
            "POST /v1/exams/exam-1/reservations HTTP/1.1\r\nHost: quota\r\n"
            f"Authorization: Bearer {self._api.frontend_key}\r\n"
            f"Idempotency-Key: steady-{number}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


async def _status(reader: asyncio.StreamReader) -> int:
    """Read one answer and return its status."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    (length,) = [
        int(line.partition(":")[2])
        for line in head.splitlines()
        if line.startswith("content-length:")
    ]
    await reader.readexactly(length)
    return int(head.split(" ", 2)[1])
