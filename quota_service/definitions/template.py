"""The template of a definition: an example that can be imported, each member with its meaning.

The meanings are those of the model, as in the OpenAPI document. What is optional is commented out:
an exam with a waiting room gives seats to nobody without a pass.
"""

import datetime as dt
from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel

from quota_service.definitions.allocation import WaitingListTable
from quota_service.definitions.model import (
    ExamDefinition,
    FairUseTable,
    HoldTable,
    WaitingRoomTable,
)
from quota_service.definitions.toml import Path, toml_of

_HEAD = """\
# The definition of an exam. Change the values, then see what an import would do and import it:
#     quota-service exam import --check FILE
#     quota-service exam import FILE
# A time without an offset is a time in `time_zone`. Instead of [seats] a file of rows can be named
# above the first table, seats_csv = "seats.csv", with the header venue,subject,seats.

"""
_ALLOCATION_NOTE = """
# Without the leading `#`: returned seats are dealt out at announced times, to a waiting list first;
# more seats come in the evening; some are kept for a group; a venue seats so many in a session.
"""
_ROOM_NOTE = """
# Without the leading `#` the exam has a waiting room: who reserves needs a pass of it.
"""
_OPENS_IN = dt.timedelta(days=30)
_IGNORED = {"server_time"}


def template(exam_id: str, today: dt.date) -> str:
    """Return the text of a definition file for an exam that opens in a month."""
    comments = dict(_meanings((), ExamDefinition))
    text = toml_of(_example(exam_id, today), comments)
    allocation = _commented_out(toml_of(_allocation(today), comments))
    rules = WaitingRoomTable().model_dump(exclude_none=True)
    room = _commented_out(toml_of({"waiting_room": rules}, comments))
    return f"{_HEAD}{text}{_ALLOCATION_NOTE}{allocation}{_ROOM_NOTE}{room}"


def _commented_out(text: str) -> str:
    return "".join(f"# {line}\n" for line in text.splitlines())


def _example(exam_id: str, today: dt.date) -> dict[str, Any]:
    def at(days: int, clock: str) -> str:
        return _time(today, days, clock)

    window = {"opens_at": at(0, "12:00"), "closes_at": at(8, "12:00")}
    title = {"zh": "考试", "en": "Exam"}
    return {
        "id": exam_id,
        "title": title,
        "time_zone": "Asia/Shanghai",
        "registration": window,
        "refund": window,
        "fee": {"amount": 8000, "currency": "CNY"},
        "hold": HoldTable(ttl_s=900).model_dump(),
        "fair_use": FairUseTable().model_dump(),
        "notice": {
            "version": "1",
            "text": {"zh": "请在所示时限内支付。\n", "en": "Pay before the time shown.\n"},
        },
        "sessions": [
            {
                "id": "day1-am",
                "title": {"zh": "上午", "en": "Morning"},
                "starts_at": at(60, "09:00"),
                "ends_at": at(60, "11:00"),
            },
        ],
        "subjects": [{"id": "general", "title": title, "session": "day1-am"}],
        "venues": [{"id": "jinan", "title": {"zh": "济南", "en": "Jinan"}}],
        "seats": {"jinan": {"general": 100}},
    }


def _allocation(today: dt.date) -> dict[str, Any]:
    """Return an example of each table that says how seats are given out beside open sale."""
    seats = {"jinan": {"general": 10}}
    quiet_hours = {"from": "22:00", "to": "07:00"}
    evening, last_day = _time(today, 0, "20:00"), _time(today, 7, "12:00")
    return {
        "returned": {"rule": "at-times", "times": ["10:00", "16:00"]},
        "waiting_list": {
            **WaitingListTable().model_dump(exclude_none=True),
            "quiet_hours": quiet_hours,
        },
        "releases": [
            {"id": "evening", "at": evening, "announce": "time-and-venues", "seats": seats}
        ],
        "set_asides": [{"id": "teachers", "title": "Teachers", "until": last_day, "seats": seats}],
        "rooms": {"jinan": {"day1-am": 300}},
    }


def _time(today: dt.date, days: int, clock: str) -> str:
    """Return a time so many days after the opening of the example."""
    return f"{today + _OPENS_IN + dt.timedelta(days=days)}T{clock}:00"


def _meanings(path: Path, model: type[BaseModel]) -> Iterator[tuple[Path, str]]:
    """Yield the path and the meaning of each member of a model, and of the tables in it."""
    for name, member in model.model_fields.items():
        if name in _IGNORED:
            continue
        tables = [
            each
            for each in (member.annotation, *get_args(member.annotation))
            if isinstance(each, type) and issubclass(each, BaseModel)
        ]
        meaning = member.description or (tables[0].__doc__ if tables else None)
        if meaning is not None:
            yield (*path, member.alias or name), " ".join(meaning.split())
        for table in tables:
            yield from _meanings((*path, name), table)
