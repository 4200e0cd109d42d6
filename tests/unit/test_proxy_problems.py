"""The problem documents that HAProxy answers by itself are those of the service."""

import json
import re
from pathlib import Path

import pytest

from quota_service.api.problems import PROBLEMS
from quota_service.http.problems import CONTENT_TYPE

CONFIGURATION = Path(__file__).parents[2] / "deploy/haproxy/haproxy.cfg"
ANSWERS = re.findall(r"http-error status (\d+) (.*)", CONFIGURATION.read_text("utf-8"))
GONE = {"502", "504"}
"""Statuses that are sent as 503."""


def test_every_status_that_haproxy_makes_has_its_document() -> None:
    assert {status for status, _ in ANSWERS} == {"400", "408", "429", "500", "503"} | GONE


@pytest.mark.parametrize(("status", "answer"), ANSWERS)
def test_a_document_is_of_a_type_that_the_service_has(status: str, answer: str) -> None:
    (text,) = re.findall(r"string '(.*?)'", answer)
    body = json.loads(re.sub(r"%\[var\(txn\.limit\)\]", "5", text))
    problem = PROBLEMS[body["type"].removeprefix("/problems/")]

    assert f"content-type {CONTENT_TYPE} " in answer
    assert (body["title"], body["status"]) == (problem.title, problem.status)
    assert str(problem.status) == ("503" if status in GONE else status)
    assert body.keys() - {"type", "title", "status", "detail"} == problem.example.keys()
    assert ("hdr Retry-After " in answer) == (problem.status in {429, 503})
