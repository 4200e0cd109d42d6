"""The public documents of exams: rendered once a definition, in pages for who asks for them."""

import datetime as dt
import time
from typing import Any

import pytest

from quota_service.api.exams import exam_json
from quota_service.domain.definition import rfc3339
from tests.support.client import ApiClient, Reply
from tests.support.contract import Contract
from tests.support.exams import SEATS, exam_definition
from tests.support.refusals import assert_refused
from tests.support.waiting import eventually

LIST, ONE = "/v1/exams", "/v1/exams/exam-1"


async def import_more(api: ApiClient) -> None:
    for number in (4, 2, 3):
        assert (await api.import_exam(exam_definition(f"exam-{number}"))).status == 201


def ids(reply: Reply) -> list[str]:
    return [exam["id"] for exam in reply.json["exams"]]


async def test_the_list_without_paging_has_every_exam_as_each_is_by_itself(api: ApiClient) -> None:
    await import_more(api)

    listed = await api.get(LIST, key=None)
    one = await api.get(ONE, key=None)

    def known(exam: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in exam.items() if name != "server_time"}

    assert ids(listed) == ["exam-1", "exam-2", "exam-3", "exam-4"]
    assert listed.json["next"] is None
    assert known(listed.json["exams"][0]) == known(one.json)
    assert listed.json["exams"][0].keys() == one.json.keys()
    assert "seats" not in one.json
    age = dt.datetime.now(dt.UTC) - dt.datetime.fromisoformat(one.json["server_time"])
    assert abs(age) < dt.timedelta(minutes=1)


async def test_the_pages_of_the_list_have_every_exam_once(api: ApiClient) -> None:
    await import_more(api)

    first = await api.get(f"{LIST}?limit=3", key=None)
    last = await api.get(f"{LIST}?limit=3&after={first.json['next']}", key=None)
    beyond = await api.get(f"{LIST}?after=exam-9", key=None)

    assert (ids(first), first.json["next"]) == (["exam-1", "exam-2", "exam-3"], "exam-3")
    assert (ids(last), last.json["next"]) == (["exam-4"], None)
    assert (ids(beyond), beyond.json["next"]) == ([], None)


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=101", "limit=x", "limit=", "after=EXAM", "after="]
)
async def test_a_page_that_cannot_be_is_refused(api: ApiClient, query: str) -> None:
    reply = await api.get(f"{LIST}?{query}", key=None)

    assert_refused(reply, 422, "invalid-request")
    assert [error["field"] for error in reply.json["errors"]] == [query.partition("=")[0]]


@pytest.mark.parametrize("path", [LIST, ONE, f"{LIST}?limit=1"])
async def test_who_has_a_document_is_told_so_until_a_definition_changes(
    api: ApiClient, path: str
) -> None:
    first = await api.get(path, key=None)
    etag = first.headers["ETag"]

    again = await api.get(path, key=None, headers={"If-None-Match": etag})
    await api.import_exam({**exam_definition(), "title": {"zh": "新", "en": "new"}})

    async def is_new() -> bool:
        return (await api.get(path, key=None, headers={"If-None-Match": etag})).status == 200

    assert (again.status, again.body, again.headers["ETag"]) == (304, b"", etag)
    await eventually(is_new)
    assert (await api.get(path, key=None)).headers["ETag"] != etag


async def test_another_exam_is_another_list_and_the_same_document(api: ApiClient) -> None:
    listed, one = [(await api.get(path, key=None)).headers["ETag"] for path in (LIST, ONE)]

    await import_more(api)

    changed = await api.get(LIST, key=None, headers={"If-None-Match": listed})
    same = await api.get(ONE, key=None, headers={"If-None-Match": one})
    assert (changed.status, same.status) == (200, 304)


async def test_a_definition_is_rendered_once_however_many_ask(
    api: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    rendered: list[str] = []

    def rendering(exam: Any) -> dict[str, Any]:
        rendered.append(exam.id)
        return exam_json(exam)

    monkeypatch.setattr("quota_service.api.exams.exam_json", rendering)
    await import_more(api)
    for _ in range(10):
        await api.get(LIST, key=None)
        await api.get(ONE, key=None)
    asked = list(rendered)
    rendered.clear()
    more_seats = exam_definition(seats={**SEATS, "beijing": {"general": 4, "service": 1}})
    await api.import_exam(more_seats)

    async def is_rendered_again() -> bool:
        await api.get(LIST, key=None)
        return "exam-1" in rendered

    await eventually(is_rendered_again)

    # A refresh that overlaps an import reads the same definition once more.
    assert set(asked) == {"exam-1", "exam-2", "exam-3", "exam-4"}
    assert len(asked) <= 8
    assert set(rendered) == {"exam-1"}


async def test_texts_are_told_in_the_languages_of_the_definition_or_plain(api: ApiClient) -> None:
    definition = exam_definition("exam-2")
    definition["title"] = "Spring exam"
    definition["notice"]["text"] = {"de": "Hinweis", "fr": "Avis"}
    definition["venues"][0]["title"] = {"zh-Hant": "濟南"}
    definition["subjects"][0]["title"] = "General"

    first = await api.import_exam(definition)
    exam = await eventually_found(api, "exam-2")
    again = await api.import_exam({**exam.json, "seats": definition["seats"]})

    assert (first.status, again.status, again.json["changes"]) == (201, 200, [])
    assert exam.json["title"] == "Spring exam"
    assert exam.json["notice"]["text"] == {"de": "Hinweis", "fr": "Avis"}
    assert exam.json["venues"][0]["title"] == {"zh-Hant": "濟南"}
    assert exam.json["subjects"][0]["title"] == "General"
    Contract().check("GET /v1/exams/{exam}", exam)


async def eventually_found(api: ApiClient, exam: str) -> Reply:
    """Return an exam once the process has read it."""
    replies: list[Reply] = []

    async def is_there() -> bool:
        replies.append(await api.get(f"/v1/exams/{exam}", key=None))
        return replies[-1].status == 200

    await eventually(is_there)
    return replies[-1]


async def test_a_document_has_the_rules_for_seats_and_what_is_announced_of_releases(
    api: ApiClient,
) -> None:
    definition = exam_definition("exam-2", closes_in_s=86_400)
    rules = {
        "returned": {"rule": "at-times", "times": ["10:00"]},
        "waiting_list": {
            "offer_ttl_s": 3600,
            "order": "number",
            "length_max": 100,
            "quiet_hours": {"from": "22:00", "to": "07:00"},
        },
        "rooms": {"jinan": {"day1-am": 4}},
    }
    at = rfc3339(round(time.time() * 1000) + 3_600_000)
    seats = {"jinan": {"qms": 2}}
    releases = [
        {"id": "all", "at": at, "announce": "everything", "seats": seats},
        {"id": "time", "at": at, "announce": "time", "seats": seats},
        {"id": "unknown", "at": at, "announce": "nothing", "seats": seats},
    ]
    kept = {"id": "teachers", "title": "Teachers", "until": at, "seats": {"jinan": {"qms": 1}}}

    plain = {**rules, "waiting_list": {**rules["waiting_list"], "quiet_hours": None}}
    await api.import_exam({**exam_definition("exam-3"), **plain})
    put = await api.import_exam(
        {
            **definition,
            **rules,
            "releases": releases,
            "set_asides": [kept],
        }
    )
    shown = (await api.get("/v1/exams/exam-2", key=None)).json

    assert put.status == 201, put
    without = (await api.get("/v1/exams/exam-3", key=None)).json
    assert {name: without[name] for name in rules} == plain
    assert {name: shown[name] for name in rules} == rules
    assert shown["releases"] == [
        {"id": "all", "at": at, "venues": ["jinan"], "seats": seats},
        {"id": "time", "at": at},
    ]
    assert "set_asides" not in shown
