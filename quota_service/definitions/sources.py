"""The source of the draw of a waiting room, as a definition names it.

It does not exist yet when the entries of the draw are frozen: a round of a drand chain, or an event
that everybody can watch.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Tag, TypeAdapter, ValidationInfo

from quota_service.definitions.fields import Table, Time
from quota_service.domain.definition import rfc3339
from quota_service.domain.exam import DrawSource, SourceKind
from quota_service.schema import FORM, Matching, Whole, Words, wrong
from quota_service.waiting_room.drand import CHAINS

_SOURCE_DELAY_MS = 60_000
"""The least time from the freeze of entries to the source: their root is published in between."""


class _Source(Table):
    entries_close_at: Time
    """When the entries of the draw are frozen; who joins later gets a number."""


def _after_the_freeze(at_ms: Any, info: ValidationInfo) -> Any:
    close_ms = info.data.get("entries_close_at")
    if at_ms is not None and close_ms is not None and at_ms - close_ms < _SOURCE_DELAY_MS:
        raise wrong("must be at least 60 s after entries_close_at")
    return at_ms


_SourceTime = Annotated[Time, AfterValidator(_after_the_freeze)]


def _of_the_round(at_ms: Any, info: ValidationInfo) -> Any:
    chain, number = CHAINS.get(info.data.get("chain", "")), info.data.get("round")
    if at_ms is not None and chain is not None and number is not None:
        due_ms = chain.at_ms(number)
        if at_ms != due_ms:
            raise wrong(f"must be {rfc3339(due_ms)}, when round {number} of this chain comes")
    return at_ms


class DrandTable(_Source):
    """A round of a drand chain, which workers fetch."""

    kind: Literal["drand"]
    """What the source is."""
    chain: Annotated[str, Matching(re.compile(r"[0-9a-f]{64}"), "64 hex digits, in lower case")]
    """Hash of the chain."""
    round: Annotated[int, Whole(1, 2**53)]
    """Number of the round."""
    at: Annotated[_SourceTime, AfterValidator(_of_the_round)]
    """When the round comes."""

    def source(self) -> DrawSource:
        """Return the source."""
        return DrawSource(
            SourceKind.DRAND,
            self.entries_close_at,
            self.at,
            chain=self.chain,
            round=self.round,
        )


class EventTable(_Source):
    """A named event such as a lottery draw, whose outcome ops put in word for word."""

    kind: Literal["event"]
    """What the source is."""
    description: Annotated[str, Words(1000)]
    """What the event is, and which words of its outcome count, in which form."""
    at: _SourceTime
    """When its outcome will be public."""

    def source(self) -> DrawSource:
        """Return the source."""
        return DrawSource(
            SourceKind.EVENT, self.entries_close_at, self.at, description=self.description
        )


def _source_form(table: Any) -> str | None:
    kind = table.get("kind") if isinstance(table, dict) else getattr(table, "kind", None)
    return f"<{kind}>" if kind in tuple(SourceKind) else None


SourceMember = Annotated[
    Annotated[DrandTable, Tag("<drand>")] | Annotated[EventTable, Tag("<event>")],
    Discriminator(
        _source_form,
        custom_error_type=FORM,
        custom_error_message="must be a table whose kind is drand or event",
    ),
]


_SOURCE: TypeAdapter[DrandTable | EventTable] = TypeAdapter(SourceMember)


def parse_source(document: Mapping[str, object]) -> DrawSource:
    """Return the source of a canonical document of one."""
    return _SOURCE.validate_python(document).source()
