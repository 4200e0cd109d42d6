"""A frontend that reserves without pause over connections of its own, and knows how each went."""

import asyncio
import itertools

from tests.support.client import ApiClient
from tests.support.raw_http import connect, next_reply, order

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
                name = f"steady-{next(_NUMBERS)}"
                writer.write(order(self._api.frontend_key, name, idempotency_key=name))
                assert (await next_reply(reader)).status == 201
                self.answered += 1
        except (ConnectionError, asyncio.IncompleteReadError):
            self.is_broken = True
        finally:
            writer.close()
