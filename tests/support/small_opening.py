"""An opening in small: each round somebody joins, reserves, pays, moves, gives back, is refused."""

import itertools
from typing import Any

from tests.support.client import ApiClient
from tests.support.exams import exam_definition

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
        reply = await self._api.import_exam(exam_definition(WITHOUT_ROOM, seats=SEATS))
        assert reply.status in {200, 201}, reply

    async def one_round(self) -> None:
        """Live through the round of a few new candidates."""
        number = next(self._numbers)
        await self._by_the_room(f"waits-{number}")
        for venue in ("jinan", "tianjin"):
            held = await self._hold(f"books-{venue}-{number}", venue)
            assert (await self._api.pay(held)).json["outcome"] == "confirmed"
            other = {"venue": "tianjin" if venue == "jinan" else "jinan"}
            path = f"/v1/reservations/{held['id']}"
            assert (await self._api.call("PUT", f"{path}/venue", json=other)).status == 200
            if venue == "jinan":
                assert (await self._api.call("POST", f"{path}/refund")).status == 200
        held = await self._hold(f"gives-back-{number}", "jinan")
        reply = await self._api.call("DELETE", f"/v1/reservations/{held['id']}")
        assert reply.status in {200, 204}, reply
        await self._api.reserve(f"late-{number}", ("general",), ("beijing",), exam=WITHOUT_ROOM)
        unknown = await self._api.pay(f"{WITHOUT_ROOM}.0.{'a' * 24}")
        assert unknown.json["outcome"] == "refund_due", unknown

    async def _by_the_room(self, candidate: str) -> None:
        """Join the room, and let those whose turn has come claim their place and reserve."""
        room = f"/v1/exams/{WITH_ROOM}/waiting-room"
        joined = await self._api.call("POST", room, json={"candidate": candidate})
        assert joined.status == 201, joined
        self._tickets[candidate] = joined.json["ticket"]
        for waiting, ticket in list(self._tickets.items()):
            body = {"candidate": waiting, "ticket": ticket}
            claimed = await self._api.call("POST", f"{room}/claims", json=body)
            if claimed.status in {200, 201}:
                del self._tickets[waiting]
                await self._reserve_with(claimed.json["pass"], waiting)

    async def _reserve_with(self, pass_text: str, candidate: str) -> None:
        order = {"candidate": candidate, "subjects": ["general"], "venues": ["jinan", "tianjin"]}
        reply = await self._api.call(
            "POST",
            f"/v1/exams/{WITH_ROOM}/reservations",
            json={**order, "accepted_notice": "2023-1"},
            headers={"Idempotency-Key": candidate, "Waiting-Room-Pass": pass_text},
        )
        if reply.status == 201:
            await self._api.pay(reply.json)
        else:
            assert reply.slug == "sold-out", reply

    async def _hold(self, candidate: str, venue: str) -> Any:
        reply = await self._api.reserve(candidate, ("general",), (venue,), exam=WITHOUT_ROOM)
        assert reply.status == 201, reply
        return reply.json
