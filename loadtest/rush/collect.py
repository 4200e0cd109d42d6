"""Asks the service, when all is quiet, for everything the checks need: through its API alone."""

import csv
import io
import time

from gevent.pool import Pool

from loadtest.rush.calls import Answer, Caller
from loadtest.rush.evidence import Document, Evidence, Facts, Held, Listed
from loadtest.rush.options import Options
from quota_service.client.call import Call
from quota_service.client.unsent import UNSENT

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
    exam_id = options.exam
    candidates = sorted(
        {held.reservation["candidate"] for held in evidence.of(Held)}
        | {listed.entry["candidate"] for listed in evidence.of(Listed)}
    )
    room = _asked(ops, UNSENT.get_waiting_room(exam_id)).document if options.has_room else None
    bookings = _asked(ops, UNSENT.export_bookings(exam_id)).body.decode()
    views = Pool(VIEWS_AT_ONCE).imap(
        lambda name: (name, _asked(frontend, UNSENT.get_candidate(exam_id, name)).document),
        candidates,
    )
    return Facts(
        views=dict(views),
        at_s=time.time(),
        exam=exam,
        audit=_asked(ops, UNSENT.audit_exam(exam_id)).document,
        bookings=list(csv.DictReader(io.StringIO(bookings))),
        refunds_due=_refunds_due(ops, exam_id),
        availability=_asked(ops, UNSENT.get_availability(exam_id)).document,
        room=room,
        ready_status=ops.send("collect", UNSENT.get_readyz()).status,
        probe_status=_probe(frontend, exam_id, evidence),
    )


def _asked(caller: Caller, call: Call) -> Answer:
    """Ask until it is answered 200, a few times at most."""
    answer = caller.send("collect", call)
    for _ in range(TRIES_MAX):
        if answer.is_ok:
            return answer
        time.sleep(answer.retry_after_s)
        answer = caller.send("collect", call)
    raise CollectError(f"{call.method} {call.path} is answered {answer.status} {answer.slug}")


def _refunds_due(ops: Caller, exam: str) -> list[Document]:
    found: list[Document] = []
    after = "0"
    for _ in range(_PAGES_MAX):
        page = _asked(ops, UNSENT.list_refunds_due(exam, after=after, limit=_PAGE)).document
        found += page["refunds_due"]
        if page["next"] is None:
            break
        after = page["next"]
    return found


def _probe(frontend: Caller, exam: str, evidence: Evidence) -> int:
    """Repeat one order that was answered 201: it has to be answered so for a day."""
    if not evidence.of(Held):
        return 0
    held = evidence.of(Held)[0]
    reserving = UNSENT.reserve(
        exam, **held.order, idempotency_key=held.key, waiting_room_pass=held.pass_text or None
    )
    answer = frontend.send("collect", reserving)
    if answer.is_ok:
        again = Held(held.key, answer.answered_s, answer.document, held.order, held.pass_text)
        evidence.add(again)
    return answer.status
