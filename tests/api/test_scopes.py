"""Every call of the table with every kind of caller, and what a candidate can reach of others."""

import json
import time
from collections.abc import Mapping
from typing import Any

import aiohttp
import jwt
import pytest

from quota_service.api.candidate_access import in_body, in_path, of_entry, of_reservation, of_ticket
from quota_service.api.routes import ROUTES, Route
from quota_service.ledger.api_keys import Scope
from tests.api.conftest import NothingChanges
from tests.conftest import Running
from tests.support.client import TOKEN_SECRET, ApiClient, Reply
from tests.support.exams import exam_definition
from tests.support.listed_exam import import_listed, joined
from tests.support.patience import LIMIT_S
from tests.support.refusals import ORDER, assert_refused
from tests.support.rooms import admit

UNKNOWN = {
    "exam": "exam-9",
    "reservation": "exam-9.0.aaaaaaaaaaaaaaaaaaaaaaaa",
    "entry": "exam-9.w.aaaaaaaaaaaaaaaaaaaaaaaa",
    "candidate": "candidate-1",
    "slug": "sold-out",
}
"""What no call finds, so that whoever may make it changes nothing."""
OWNED = [route for route in ROUTES if Scope.CANDIDATE in route.scopes]


def filled(path: str, known: Mapping[str, str] = UNKNOWN) -> str:
    for part in path.split("/"):
        if part.startswith("{"):
            path = path.replace(part, known.get(part[1:-1], "1"))
    return path


def name_of(route: Route) -> str:
    return f"{route.method} {route.path}"


async def told(
    session: aiohttp.ClientSession, api: ApiClient, route: Route, key: str | None, path: str
) -> tuple[int, str]:
    """Return status and slug of the answer; of a stream nothing but the head is read."""
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    if path == "aiohttp":
        headers["Connection"] = "close"
    body = {"exam": "exam-9", "candidate": "candidate-1", "ttl_s": 60}
    sent = body if route.has_exam_in_body else {}
    data = None if route.method == "GET" else json.dumps(sent)
    url = api.url + filled(route.path)
    async with session.request(route.method, url, headers=headers, data=data) as answer:
        is_problem = answer.content_type == "application/problem+json"
        slug = (await answer.json(content_type=None))["type"] if is_problem else ""
        return answer.status, slug.removeprefix("/problems/")


def changed(made: str, **claims: Any) -> str:
    """Return a token for an exam that nobody knows, as one with the secret would sign it."""
    known = jwt.decode(made, options={"verify_signature": False})
    kid = jwt.get_unverified_header(made)["kid"]
    told = {**known, "exam": UNKNOWN["exam"], **claims}
    return jwt.encode(told, TOKEN_SECRET, "HS256", headers={"kid": kid})


@pytest.mark.parametrize("path", ["plain", "aiohttp"])
async def test_each_call_is_for_the_scopes_of_the_table_and_for_no_others(
    running: Running, path: str
) -> None:
    api, ledger = running.client, running.service.key_ledger
    keys = {
        scope: await ledger.create(scope, frozenset({scope}))
        for scope in (Scope.FRONTEND, Scope.REFUNDS, Scope.OPS)
    }
    may_all = await ledger.create("all", frozenset({Scope.FRONTEND, Scope.REFUNDS}))
    await running.service.keys.refresh()
    wanted = {"exam": "exam-1", "candidate": "candidate-1", "ttl_s": 60}
    made = (await api.call("POST", "/v1/candidate-tokens", key=may_all, json=wanted)).json["token"]
    head, _, signature = made.split(".")
    callers: dict[str, tuple[str | None, Scope | None]] = {
        **{scope.value: (key, scope) for scope, key in keys.items()},
        "token": (changed(made), Scope.CANDIDATE),
        "token of another exam": (changed(made, exam="exam-8"), None),
        "none": (None, None),
        "forged": (f"{head}.{changed(made).split('.')[1]}.{signature}", None),
        "expired": (changed(made, exp=time.time() - 1), None),
        "no key": (changed(made, key="nobody"), None),
    }
    strangers = ("none", "forged", "expired", "no key")
    timeout = aiohttp.ClientTimeout(total=LIMIT_S)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        for route in ROUTES:
            if route.path == "/openapi.json":  # for anyone, as other tests show; made in seconds
                continue
            for caller, (key, scope) in callers.items():
                status, slug = await told(session, api, route, key, path)

                answered = (name_of(route), caller, status, slug)
                if route.verify is not None:
                    assert (status, slug) == (401, "unauthorized"), answered
                elif not route.scopes or scope in route.scopes:
                    assert status not in {401, 403, 500}, answered
                elif caller in strangers:
                    assert (status, slug) == (401, "unauthorized"), answered
                else:
                    assert (status, slug) == (403, "forbidden"), answered


async def test_reservations_of_others_are_answered_as_unknown_ones(
    api: ApiClient, nothing_changes: NothingChanges
) -> None:
    mine = await api.token("candidate-1")
    held = (await api.reserve("candidate-2")).json["id"]
    booked = (await api.reserve("candidate-3", venues=("tianjin",))).json
    await api.pay(booked)
    unknown = "exam-1.0.aaaaaaaaaaaaaaaaaaaaaaaa"
    bodies = {"PUT": {"venue": "beijing"}}
    routes = [route for route in OWNED if "{reservation}" in route.path]

    assert len(routes) >= 5
    async with nothing_changes():
        for route in routes:
            assert route.owner is of_reservation
            for method in (route.method, *(["HEAD"] if route.method == "GET" else [])):
                replies = [
                    await api.call(
                        method,
                        route.path.replace("{reservation}", reservation),
                        key=mine,
                        json=bodies.get(method),
                    )
                    for reservation in (unknown, held, booked["id"])
                ]

                assert {reply.status for reply in replies} == {404}, name_of(route)
                assert len({reply.body for reply in replies}) == 1
    for candidate, reservation in (("candidate-2", held), ("candidate-3", booked["id"])):
        theirs = await api.token(candidate)
        assert (await api.get(f"/v1/reservations/{reservation}", key=theirs)).status == 200


async def test_entries_of_others_are_answered_as_unknown_ones(
    api: ApiClient, nothing_changes: NothingChanges
) -> None:
    await import_listed(api)
    mine, theirs = await api.token("candidate-1"), await api.token("candidate-2")
    entry = (await joined(api, "candidate-2"))["id"]
    unknown = "exam-1.w.aaaaaaaaaaaaaaaaaaaaaaaa"
    routes = [route for route in OWNED if "{entry}" in route.path]

    assert len(routes) == 2
    async with nothing_changes():
        for route in routes:
            assert route.owner is of_entry
            replies = [
                await api.call(
                    route.method, filled(route.path, {"exam": "exam-1", "entry": each}), key=mine
                )
                for each in (unknown, entry)
            ]
            assert {(reply.status, reply.slug) for reply in replies} == {(404, "unknown-entry")}
            assert len({reply.body for reply in replies}) == 1
    path = f"/v1/exams/exam-1/waiting-list/{entry}"
    assert (await api.get(path, key=theirs)).status == 200
    assert (await api.call("DELETE", path, key=theirs)).status == 200


async def test_a_candidate_names_nobody_else_in_address_or_body(
    queueing: Running, nothing_changes: NothingChanges
) -> None:
    api = queueing.client
    mine = await api.token("candidate-1")
    named = [route for route in OWNED if route.owner in {in_path, in_body}]

    assert len(named) == 6
    async with nothing_changes():
        for route in named:
            for candidate in ("candidate-2", "CANDIDATE-1", "candidate-1."):
                path = filled(route.path, {"exam": "exam-1", "candidate": candidate})
                body = {**ORDER, "candidate": candidate} if route.owner is in_body else None
                headers = {"Idempotency-Key": "key-1"}
                reply = await api.call(route.method, path, key=mine, json=body, headers=headers)

                assert_refused(reply, 403, "forbidden")


@pytest.mark.parametrize("named", [2, None, ["candidate-1"], {"is": "candidate-1"}, "", True])
async def test_a_candidate_of_another_form_is_refused(
    api: ApiClient, nothing_changes: NothingChanges, named: object
) -> None:
    mine = await api.token("candidate-1")

    async with nothing_changes():
        reply = await api.reserve(named, key=mine)  # type: ignore[arg-type]

    assert reply.status in {403, 422}
    assert reply.slug in {"forbidden", "invalid-request"}


async def test_the_last_of_two_candidates_in_a_body_is_the_one_that_counts(
    api: ApiClient,
) -> None:
    mine = await api.token("candidate-1")
    rest = '"subjects":["general"],"venues":["jinan"],"accepted_notice":"2023-1"'

    async def order(first: str, last: str) -> Reply:
        return await api.call(
            "POST",
            "/v1/exams/exam-1/reservations",
            key=mine,
            data=f'{{"candidate":"{first}",{rest},"candidate":"{last}"}}',
            headers={"Idempotency-Key": "key-1"},
        )

    assert_refused(await order("candidate-1", "candidate-2"), 403, "forbidden")
    held = await order("candidate-2", "candidate-1")
    assert (held.status, held.json["candidate"]) == (201, "candidate-1")


async def test_tickets_and_passes_of_others_let_nobody_in(
    queueing: Running, nothing_changes: NothingChanges
) -> None:
    api, room = queueing.client, "/v1/exams/exam-1/waiting-room"
    mine, theirs = await api.token("candidate-1"), await api.token("candidate-2")

    async def join(key: str, candidate: str) -> Any:
        return (await api.call("POST", room, key=key, json={"candidate": candidate})).json

    async def claim(key: str, candidate: str, ticket: str) -> Reply:
        body = {"candidate": candidate, "ticket": ticket}
        return await api.call("POST", f"{room}/claims", key=key, json=body)

    own = await join(mine, "candidate-1")
    other = await join(theirs, "candidate-2")
    await admit(queueing.service, serving=other["number"])
    async with nothing_changes():
        assert_refused(await claim(mine, "candidate-1", other["ticket"]), 422, "ticket-invalid")
        assert_refused(await claim(mine, "candidate-2", other["ticket"]), 403, "forbidden")
        proof = await api.get(f"{room}/proof?ticket={other['ticket']}", key=mine)
        assert_refused(proof, 422, "ticket-invalid")
        forbidden = await api.call("DELETE", f"{room}/claims/candidate-2", key=mine)
        assert_refused(forbidden, 403, "forbidden")
    granted = (await claim(theirs, "candidate-2", other["ticket"])).json["pass"]
    headers = {"Waiting-Room-Pass": granted, "Idempotency-Key": "key-1"}
    path = "/v1/exams/exam-1/reservations"
    async with nothing_changes():
        taken = await api.call("POST", path, key=mine, json=ORDER, headers=headers)
        assert_refused(taken, 403, "pass-invalid")
    # What is its own a candidate may do: the proof is refused for what the draw is, not for whom.
    assert_refused(
        await api.get(f"{room}/proof?ticket={own['ticket']}", key=mine), 409, "source-off"
    )
    assert (await claim(mine, "candidate-1", own["ticket"])).status == 201
    assert (await api.call("DELETE", f"{room}/claims/candidate-1", key=mine)).status == 200


async def test_a_token_is_for_its_exam_alone(
    api: ApiClient, nothing_changes: NothingChanges
) -> None:
    await api.import_exam(exam_definition("exam-2"))
    token_of_2 = await api.token("candidate-1", "exam-2")
    held = (await api.reserve("candidate-1")).json["id"]
    known = {"exam": "exam-1", "candidate": "candidate-1", "reservation": held}

    async with nothing_changes():
        for route in OWNED:
            reply = await api.call(
                route.method,
                filled(route.path, {**known, "entry": "exam-1.w.aaaaaaaaaaaaaaaaaaaaaaaa"}),
                key=token_of_2,
                json=None if route.method == "GET" else ORDER,
                headers={"Idempotency-Key": "key-1"},
            )
            assert_refused(reply, 403, "forbidden")


def test_the_owner_of_a_call_is_known_by_what_it_names() -> None:
    ways = {
        "{reservation}": of_reservation,
        "{entry}": of_entry,
        "{candidate}": in_path,
        "/proof": of_ticket,
    }
    for route in OWNED:
        known = [way for part, way in ways.items() if part in route.path]
        assert [route.owner] == (known or [in_body]), name_of(route)
