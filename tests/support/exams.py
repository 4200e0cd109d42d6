"""Exams made for tests: small, open now, with seats as few as a test wants."""

import dataclasses
import time
from collections.abc import Mapping
from typing import Any

from quota_service.definitions.reading import parse_exam
from quota_service.domain.definition import rfc3339
from quota_service.domain.exam import Exam, FairUseRules

SEATS: Mapping[str, Mapping[str, int]] = {
    "jinan": {"general": 3, "qms": 2, "ems": 2, "service": 1},
    "tianjin": {"general": 5, "qms": 5, "ems": 0, "service": 5},
    "beijing": {"general": 1, "service": 1},
}


def exam_definition(
    exam_id: str = "exam-1",
    *,
    seats: Mapping[str, Mapping[str, int]] = SEATS,
    opens_in_s: float = -3600,
    closes_in_s: float = 3600,
    ttl_s: int = 900,
    checkout_grace_s: int = 600,
    expiry_slack_s: int = 0,
    fair_use: Mapping[str, int] | None = None,
) -> dict[str, Any]:
    """Return a definition: three sessions, of which `day1-pm` offers the subjects qms and ems."""
    now_ms = round(time.time() * 1000)

    def text(name: str) -> dict[str, str]:
        return {"zh": f"考试{name}", "en": name}

    def moment(offset_s: float) -> str:
        return rfc3339(now_ms + round(offset_s * 1000))

    day_s = 86_400
    window = {"opens_at": moment(opens_in_s), "closes_at": moment(closes_in_s)}
    subjects = {"general": "day1-am", "qms": "day1-pm", "ems": "day1-pm", "service": "day2-am"}
    return {
        "id": exam_id,
        "title": text("exam"),
        "time_zone": "Asia/Shanghai",
        "registration": window,
        "refund": window,
        "fee": {"amount": 8000, "currency": "CNY"},
        "hold": {
            "ttl_s": ttl_s,
            "checkout_grace_s": checkout_grace_s,
            "expiry_slack_s": expiry_slack_s,
        },
        "fair_use": {**dataclasses.asdict(FairUseRules()), **(fair_use or {})},
        "notice": {"version": "2023-1", "text": text("notice")},
        "sessions": [
            {
                "id": session,
                "title": text(session),
                "starts_at": moment((60 + i) * day_s),
                "ends_at": moment((60 + i) * day_s + 7200),
            }
            for i, session in enumerate(["day1-am", "day1-pm", "day2-am"])
        ],
        "subjects": [
            {"id": subject, "title": text(subject), "session": session}
            for subject, session in subjects.items()
        ],
        "venues": [{"id": venue, "title": text(venue)} for venue in seats],
        "seats": {venue: dict(by_subject) for venue, by_subject in seats.items()},
    }


def make_exam(exam_id: str = "exam-1", **changes: Any) -> Exam:
    """Return the exam of `exam_definition`."""
    return parse_exam(exam_definition(exam_id, **changes))
