"""Logs refusals: one line for each, with the ids that find it.

A refusal of a request with a key, or with the provider's signature, has a line of its own: slug,
exam, reservation and candidate as far as they are known, key id and request id. Strangers must not
be able to fill the log, nor an overloaded process be made slower by it: what has no key, and what
is too much, is counted, and a line a second and slug says how often. So it is with what a store
that is away cannot serve; such a line says which part it was, and why.

A refusal with a line of its own is also in the history of its candidate for a day
(`registration/refusal_history.py`).

What was done has its line where the journal is drained (`registration/drain_journal.py`).
"""

import logging
from collections import defaultdict

from quota_service.domain.errors import Overloaded, Unavailable
from quota_service.http.request import Request
from quota_service.observability.caller import caller
from quota_service.observability.logs import KEY_ID, OnceASecond
from quota_service.registration.refusal_history import RefusalHistory

log = logging.getLogger(__name__)


class RefusalLog:
    """The refusals of one process."""

    def __init__(self, history: RefusalHistory) -> None:
        self.history = history
        self._counted: defaultdict[str, OnceASecond] = defaultdict(OnceASecond)

    def count(self, slug: str) -> None:
        """Count a refusal that has no line of its own."""
        if count := self._counted[slug].count():
            log.info("refused", extra={"slug": slug, "count": count})

    def tell(self, slug: str, request: Request) -> None:
        """Log and keep a refusal, in the context of its request."""
        if not KEY_ID.get():
            self.count(slug)
            return
        ids = {
            "exam": request.params.get("exam"),
            "reservation": request.params.get("reservation"),
            "candidate": request.candidate,
        }
        log.info("refused", extra={"slug": slug, **{k: v for k, v in ids.items() if v}})
        self.history.add(slug, request.params, request.candidate, caller())

    def tell_unavailable(self, error: Unavailable) -> None:
        """Log in the context of its request that a part cannot serve it."""
        cause = {"part": error.part, "cause": str(error)}
        if KEY_ID.get() and not isinstance(error, Overloaded):
            log.info("unavailable", extra=cause)
        elif count := self._counted[f"{error.slug} {error.part}"].count():
            log.info("unavailable", extra={**cause, "count": count})
