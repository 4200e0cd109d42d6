"""Asks the service, when all is quiet, for everything the checks need: through its API alone."""

import csv
import io
import time

from gevent.pool import Pool

from loadtest.rush.calls import Answer, Caller
from loadtest.rush.evidence import Document, Evidence, Facts, Held, Listed
from loadtest.rush.options import Options

VIEWS_AT_ONCE = 32
TRIES_MAX = 10
_PAGE = 500
_PAGES_MAX = 10_000


class CollectError(Exception):
    """The service could not be asked: what it says at the end is not known."""


def collect(
    options: Options, exam: Document, frontend: Caller, ops: Caller, evidence: Evidence
) -> Facts:
    """Return what the service says; `exam` is the definition as last imported.

    Raises CollectError when a call is not answered as it should be, also when sent again.
    """
    path = f"/v1/exams/{options.exam}"
    candidates = sorted(
        {held.reservation["candidate"] for held in evidence.of(Held)}
        | {listed.entry["candidate"] for listed in evidence.of(Listed)}
    )
    room = _asked(ops, f"{path}/waiting-room").document if options.has_room else None
    bookings = _asked(ops, f"{path}/bookings.csv").body.decode()
    views = Pool(VIEWS_AT_ONCE).imap(
        lambda name: (name, _asked(frontend, f"{path}/candidates/{name}").document), candidates
    )
    return Facts(
        views=dict(views),
        at_s=time.time(),
        exam=exam,
        audit=_asked(ops, f"{path}/audit").document,
        bookings=list(csv.DictReader(io.StringIO(bookings))),
        refunds_due=_refunds_due(ops, path),
        availability=_asked(ops, f"{path}/availability").document,
        room=room,
        ready_status=ops.get("collect", "/readyz").status,
        probe_status=_probe(frontend, path, evidence),
    )


def _asked(caller: Caller, path: str) -> Answer:
    """GET until it is answered 200, a few times at most."""
    answer = caller.get("collect", path)
    for _ in range(TRIES_MAX):
        if answer.is_ok:
            return answer
        time.sleep(answer.retry_after_s)
        answer = caller.get("collect", path)
    raise CollectError(f"GET {path} is answered {answer.status} {answer.slug}")


def _refunds_due(ops: Caller, path: str) -> list[Document]:
    found: list[Document] = []
    after = "0"
    for _ in range(_PAGES_MAX):
        page = _asked(ops, f"{path}/refunds-due?limit={_PAGE}&after={after}").document
        found += page["refunds_due"]
        if page["next"] is None:
            break
        after = page["next"]
    return found


def _probe(frontend: Caller, path: str, evidence: Evidence) -> int:
    """Repeat one order that was answered 201: it has to be answered so for a day."""
    if not evidence.of(Held):
        return 0
    held = evidence.of(Held)[0]
    headers = {"Idempotency_Key": held.key}
    if held.pass_text:
        headers["Waiting_Room_Pass"] = held.pass_text
    answer = frontend.post("collect", f"{path}/reservations", held.order, **headers)
    if answer.is_ok:
        again = Held(held.key, answer.answered_s, answer.document, held.order, held.pass_text)
        evidence.add(again)
    return answer.status
