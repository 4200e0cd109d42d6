"""The calls of the waiting room, as a frontend and a waiting client make them."""

from quota_service.seats.keys import Shard
from tests.support.client import ApiClient, Reply

ROOM = "/v1/exams/exam-1/waiting-room"
CLAIMS = f"{ROOM}/claims"
SHARD = Shard("exam-1", 1)


async def join(api: ApiClient, candidate: str = "candidate-1") -> Reply:
    return await api.call("POST", ROOM, json={"candidate": candidate})


async def claim(api: ApiClient, ticket: str, candidate: str = "candidate-1") -> Reply:
    body = {"candidate": candidate, "ticket": ticket}
    return await api.call("POST", CLAIMS, json=body)


async def finish(api: ApiClient, candidate: str = "candidate-1") -> Reply:
    return await api.call("DELETE", f"{CLAIMS}/{candidate}")


async def look(api: ApiClient) -> Reply:
    return await api.get(ROOM, key=None)
