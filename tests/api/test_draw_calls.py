"""A draw with a source over HTTP, from joining to its proof, checked by what anybody can run."""

import copy
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from quota_service.waiting_room.verify import (
    DrawNotVerified,
    told,
    verify_draw,
    verify_earlier,
    verify_proof,
)
from tests.conftest import Running
from tests.support.draws import OUTCOME, DrawUnderTest
from tests.support.rooms import admit, let_open, open_room

ROOM = "/v1/exams/exam-1/waiting-room"
README = Path(__file__).parents[2] / "quota_service" / "waiting_room" / "README.md"
CANDIDATES = [f"candidate-{i}" for i in range(5)]


class Played:
    """A draw that was played to its end, as candidates and the public saw it."""

    def __init__(self) -> None:
        self.tickets: dict[str, str] = {}
        self.documents: dict[str, dict[str, Any]] = {}
        self.proofs: dict[str, dict[str, Any]] = {}

    @property
    def last(self) -> dict[str, Any]:
        """The last document, to be changed."""
        return copy.deepcopy(self.documents["known"])


async def play(running: Running) -> Played:
    client, played, draw = running.client, Played(), DrawUnderTest(running.service)

    async def look(name: str) -> None:
        await running.service.stores.waiting_room.rooms.refresh()
        played.documents[name] = (await client.get(ROOM)).json

    await draw.define()
    for each in CANDIDATES:
        joined = await client.call("POST", ROOM, json={"candidate": each})
        assert (joined.status, joined.json["kind"]) == (201, "draw")
        played.tickets[each] = joined.json["ticket"]
    await look("joining")
    await draw.freeze(at_in_s=-20)
    # The machine of a test is too slow to freeze before a time that is over.
    async with running.service.stores.ledger.connection() as connection:
        await connection.execute(
            "UPDATE waiting_rooms SET entries_frozen_at = clock_timestamp() - interval '60 s'"
        )
    await look("frozen")
    body = {"evidence": OUTCOME, "reason": "drawn at noon"}
    put = await client.call("POST", f"{ROOM}/source", key=client.ops_key, json=body)
    assert put.status == 200
    await let_open(running.service)
    await look("known")
    for each, ticket in played.tickets.items():
        proved = await client.get(f"{ROOM}/proof?ticket={ticket}")
        assert proved.status == 200
        played.proofs[each] = proved.json
    return played


async def test_a_draw_with_a_source_is_played_and_verified_by_the_lines_of_the_readme(
    running: Running, tmp_path: Path
) -> None:
    played = await play(running)

    joining, frozen, known = (played.documents[name] for name in ("joining", "frozen", "known"))
    assert (joining["source"]["kind"], joining["entries"], joining["seed"]) == ("event", None, None)
    assert (frozen["entries"]["count"], frozen["seed"]) == (5, None)
    assert (known["source"]["evidence"], known["phase"]) == (OUTCOME, "draw")
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert len([line for line in code.splitlines() if line]) <= 25
    for candidate, proof in played.proofs.items():
        done = run_page(tmp_path, code, known, proof)
        assert done.returncode == 0, done.stderr
        assert f"{candidate} is in the draw with rank {proof['rank']}" in done.stdout
    forged = played.proofs[CANDIDATES[0]] | {"candidate": "nobody"}
    refused = run_page(tmp_path, code, known, forged)
    assert refused.returncode == 1
    assert "not among the entries" in refused.stderr


def run_page(
    folder: Path, code: str, document: object, proof: object
) -> "subprocess.CompletedProcess[str]":
    """Run the lines of the README as a program of their own."""
    for name, content in {"room.json": document, "proof.json": proof}.items():
        (folder / name).write_text(json.dumps(content), encoding="utf-8")
    return subprocess.run(
        [sys.executable, "-I", "-c", code, "room.json", "proof.json"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def run_command(*words: str) -> "subprocess.CompletedProcess[str]":
    """Run `draw verify`."""
    return subprocess.run(
        [sys.executable, "-m", "quota_service.cli", "draw", "verify", *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


async def test_the_command_verifies_it_offline_and_refuses_whatever_was_changed(
    running: Running, tmp_path: Path
) -> None:
    played = await play(running)
    known, proof = played.last, played.proofs[CANDIDATES[0]]

    drawn = verify_draw(known, CANDIDATES)
    assert {each.candidate: each.rank for each in drawn} == {
        candidate: proof["rank"] for candidate, proof in played.proofs.items()
    }
    assert verify_proof(known, proof) == CANDIDATES[0]
    verify_earlier(known, played.documents["joining"])
    verify_earlier(known, played.documents["frozen"])
    assert len(told(known)) == 3

    late = played.last
    late["entries"]["frozen_at"] = late["source"]["at"]
    other = played.last
    other["source"]["evidence"] = f"{OUTCOME} "
    grown = played.last
    grown["entries"]["count"] += 1
    moved = copy.deepcopy(played.documents["frozen"])
    moved["source"]["description"] = "another event"
    for problem, check in {
        "could be known": lambda: verify_draw(late, []),
        "not the SHA-256": lambda: verify_draw(other, []),
        "does not lead": lambda: verify_proof(grown, proof),
        "not lead from nobody": lambda: verify_proof(known, proof | {"candidate": "nobody"}),
        "not of the exam": lambda: verify_proof(known, proof | {"exam": "exam-2"}),
        "others than before": lambda: verify_earlier(grown, played.documents["frozen"]),
        "another one than before": lambda: verify_earlier(known, moved),
        "has the seed already": lambda: verify_earlier(known, known),
    }.items():
        with pytest.raises(DrawNotVerified, match=problem):
            check()

    paths = {"room": known, "before": played.documents["frozen"], "proof": proof}
    for name, content in paths.items():
        (tmp_path / name).write_text(json.dumps(content), encoding="utf-8")
    done = run_command(
        str(tmp_path / "room"),
        *("--before", str(tmp_path / "before")),
        *("--proof", str(tmp_path / "proof")),
    )
    assert done.returncode == 0, done.stderr
    assert f"1\t{proof['rank']}\t{CANDIDATES[0]}" in done.stdout
    assert f"{CANDIDATES[0]} is among the entries" in done.stdout
    assert OUTCOME in done.stdout


async def test_candidates_of_the_draw_are_admitted_by_the_rank_of_their_proof(
    running: Running,
) -> None:
    played = await play(running)
    in_order = sorted(CANDIDATES, key=lambda each: str(played.proofs[each]["rank"]))
    await admit(running.service, threshold=played.proofs[in_order[1]]["rank"])

    ends = []
    for each in in_order:
        body = {"candidate": each, "ticket": played.tickets[each]}
        ends.append((await running.client.call("POST", f"{ROOM}/claims", json=body)).status)

    assert ends == [201, 201, 409, 409, 409]


async def test_what_cannot_be_proved_or_decided_says_why(running: Running) -> None:
    client = running.client
    await open_room(running.service)
    ticket = (await client.call("POST", ROOM, json={"candidate": "c-1"})).json["ticket"]

    ops: dict[str, Any] = {"key": client.ops_key}
    answers = [
        await client.get(f"{ROOM}/proof?ticket={ticket}"),
        await client.get(f"{ROOM}/proof?ticket={ticket[:-2]}"),
        await client.get(f"{ROOM}/proof"),
        await client.call("POST", f"{ROOM}/source", json={"evidence": "x", "reason": "y"}, **ops),
        await client.call("POST", f"{ROOM}/source", json={"evidence": "x"}, **ops),
        await client.call("POST", f"{ROOM}/open-without-draw", json={"reason": "y"}, **ops),
        await client.call("POST", f"{ROOM}/open-without-draw", json={"reason": "y"}),
    ]

    assert [(each.status, each.slug) for each in answers] == [
        (409, "source-off"),
        (422, "ticket-invalid"),
        (422, "invalid-request"),
        (409, "source-off"),
        (422, "invalid-request"),
        (409, "source-off"),
        (403, "forbidden"),
    ]
