"""An opening in small: each round somebody joins, reserves, pays, moves, gives back, is refused."""

import itertools

from tests.support.client import ApiClient
from tests.support.exams import exam_definition
from tests.support.patience import START_LIMIT_S
from tests.support.waiting import eventually

WITH_ROOM, WITHOUT_ROOM = "exam-1", "exam-2"
SEATS = {"jinan": {"general": 10_000}, "tianjin": {"general": 10_000}, "beijing": {"general": 1}}


class SmallOpening:
    """Candidates of an exam with a waiting room, whose seats are few, and of one without."""

    def __init__(self, api: ApiClient) -> None:
        self._api = api
        self._numbers = itertools.count(1)
        self._tickets: dict[str, str] = {}

    async def prepare(self) -> None:
        """Import the exam without a waiting room."""
        definition = exam_definition(WITHOUT_ROOM, seats=SEATS)

        async def is_imported() -> bool:
            return (await self._api.import_exam(definition)).status in {200, 201}

        await eventually(is_imported, within_s=START_LIMIT_S)

    async def one_round(self) -> None:
        """Live through the round of a few new candidates.

        Whatever a busy machine refuses is left; the next round has candidates of its own.
        """
        number = next(self._numbers)
        await self._by_the_room(f"waits-{number}")
        for venue, other in (("jinan", "tianjin"), ("tianjin", "jinan")):
            path = await self._hold(f"books-{venue}-{number}", venue)
            await self._api.pay(path.removeprefix("/v1/reservations/"))
            await self._api.call("PUT", f"{path}/venue", json={"venue": other})
            await self._api.call("POST", f"{path}/refund")
        path = await self._hold(f"gives-back-{number}", "jinan")
        await self._api.call("DELETE", path)
        await self._hold(f"is-late-{number}", "beijing")
        await self._api.pay(f"{WITHOUT_ROOM}.0.{'a' * 24}")

    async def _by_the_room(self, candidate: str) -> None:
        """Join the room, and let those whose turn has come claim their place and reserve."""
        room = f"/v1/exams/{WITH_ROOM}/waiting-room"
        joined = await self._api.call("POST", room, json={"candidate": candidate})
        if joined.status == 201:
            self._tickets[candidate] = joined.json["ticket"]
        for waiting, ticket in list(self._tickets.items()):
            body = {"candidate": waiting, "ticket": ticket}
            claimed = await self._api.call("POST", f"{room}/claims", json=body)
            if claimed.status in {200, 201}:
                del self._tickets[waiting]
                headers = {"Idempotency-Key": waiting, "Waiting-Room-Pass": claimed.json["pass"]}
                order = {"candidate": waiting, "subjects": ["general"], "venues": ["tianjin"]}
                await self._api.call(
                    "POST",
                    f"/v1/exams/{WITH_ROOM}/reservations",
                    json={**order, "accepted_notice": "2023-1"},
                    headers=headers,
                )

    async def _hold(self, candidate: str, venue: str) -> str:
        """Reserve, and return where the reservation is; that of nobody where it was refused."""
        reply = await self._api.reserve(candidate, ("general",), (venue,), exam=WITHOUT_ROOM)
        return f"/v1/reservations/{reply.json.get('id', f'{WITHOUT_ROOM}.0.' + 'b' * 24)}"
