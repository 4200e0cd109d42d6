"""What Redis has to know of the definition that is in force: its revision, and what scripts go by.

The hash `definition` of a shard is written as a whole by `define`. A field that a script needs is
added here, and nowhere else.
"""

from collections.abc import Mapping

from quota_service.domain.exam import Exam, ReturnRule


def fields_in_force(exam: Exam) -> Mapping[str, str]:
    """Return the fields of a stored definition as Redis keeps them; times in ms since the epoch."""
    fields: dict[str, str | int] = {
        "revision": exam.revision,
        "opens_at_ms": exam.registration.opens_at_ms,
        "closes_at_ms": exam.registration.closes_at_ms,
        **{f"starts_at_ms/{subject}": start for subject, start in exam.starts_at_ms.items()},
    }
    if exam.waiting_room is not None:
        fields |= {
            "idle_ms": exam.waiting_room.idle_s * 1000,
            "pass_ttl_ms": exam.waiting_room.pass_ttl_s * 1000,
        }
        if exam.whole_pause is not None:
            fields["is_paused"] = 1
        if exam.resumed_at_ms:
            fields["resumed_at_ms"] = exam.resumed_at_ms
        if exam.waiting_room.source is not None:
            fields["entries_close_at_ms"] = exam.waiting_room.source.entries_close_at_ms
    if exam.returned.rule is not ReturnRule.AT_ONCE:
        fields["returned"] = exam.returned.rule
    if exam.ceilings:
        fields["ceilings"] = 1
        fields |= {f"session/{subject}": name for subject, name in exam.session_of.items()}
    return {name: str(value) for name, value in fields.items()}


def is_in_force(exam: Exam, found: Mapping[str, str]) -> bool:
    """Return whether Redis, which has `found`, has this definition in force.

    Fields that this release does not know are those of a newer one.
    """
    return fields_in_force(exam).items() <= found.items()
