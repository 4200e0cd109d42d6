"""The calls of the waiting room, as a frontend and a waiting client make them."""

from quota_service.client.unsent import UNSENT
from quota_service.seats.keys import Shard
from tests.support.client import ApiClient, Reply

ROOM = "/v1/exams/exam-1/waiting-room"
CLAIMS = f"{ROOM}/claims"
SHARD = Shard("exam-1", 1)


async def join(api: ApiClient, candidate: str = "candidate-1") -> Reply:
    return await api.send(UNSENT.join_waiting_room("exam-1", candidate=candidate))


async def claim(api: ApiClient, ticket: str, candidate: str = "candidate-1") -> Reply:
    return await api.send(UNSENT.claim_place("exam-1", candidate=candidate, ticket=ticket))


async def finish(api: ApiClient, candidate: str = "candidate-1") -> Reply:
    return await api.send(UNSENT.finish_place("exam-1", candidate))


async def look(api: ApiClient) -> Reply:
    return await api.send(UNSENT.get_waiting_room("exam-1"), key=None)
