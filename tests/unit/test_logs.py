"""Logs: one JSON object a line, with whatever was said beside the message."""

import datetime as dt
import io
import json
import logging
import os
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from quota_service.observability.logs import REQUEST_ID, configure_logging, written_in_background
from tests.support.patience import LIMIT_S

log = logging.getLogger("quota_service.test")


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """What is logged, from `info` up; the root logger is given back as it was."""
    root, access = logging.getLogger(), logging.getLogger("aiohttp.access")
    handlers, level, access_level = root.handlers[:], root.level, access.level
    stream = io.StringIO()
    configure_logging("info", stream)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)
    access.setLevel(access_level)


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_log_is_one_line_of_json_with_time_level_and_place(stream: io.StringIO) -> None:
    log.info("first\nand %s", "second")

    (line,) = lines(stream)
    at = dt.datetime.fromisoformat(line.pop("at"))
    assert line == {
        "level": "info",
        "logger": "quota_service.test",
        "message": "first\nand second",
        "pid": os.getpid(),
    }
    assert abs(dt.datetime.now(tz=dt.UTC) - at) < dt.timedelta(minutes=1)


def test_what_is_below_the_level_is_left_out(stream: io.StringIO) -> None:
    log.debug("small talk")
    logging.getLogger("aiohttp.access").info("GET /")

    assert lines(stream) == []


def test_the_request_a_line_belongs_to_is_named_only_within_it(stream: io.StringIO) -> None:
    token = REQUEST_ID.set("request-1")
    log.info("within")
    REQUEST_ID.reset(token)
    log.info("outside")

    within, outside = lines(stream)

    assert within["request_id"] == "request-1"
    assert "request_id" not in outside


def test_extras_are_members_of_their_own(stream: io.StringIO) -> None:
    log.info("drained", extra={"exam": "exam-1", "stored": 3, "waits": False, "found": ["a"]})

    (line,) = lines(stream)
    assert (line["exam"], line["stored"], line["waits"], line["found"]) == (
        "exam-1",
        3,
        False,
        ["a"],
    )


def test_an_extra_that_json_does_not_know_is_shown_as_text(stream: io.StringIO) -> None:
    log.info("odd", extra={"cause": ValueError("no"), "names": {"a"}})

    (line,) = lines(stream)
    assert (line["cause"], line["names"]) == ("no", "{'a'}")


def test_an_exception_is_told_with_its_traceback_in_the_same_line(stream: io.StringIO) -> None:
    try:
        int("broken")
    except ValueError:
        log.exception("it failed")

    (line,) = lines(stream)
    assert line["level"] == "error"
    assert line["exception"].startswith("Traceback")
    assert line["exception"].endswith(
        "ValueError: invalid literal for int() with base 10: 'broken'"
    )


def test_ids_of_candidates_are_left_out_where_a_setting_says_so(stream: io.StringIO) -> None:
    configure_logging("info", stream, has_candidates=False)

    log.info("refused", extra={"candidate": "candidate-1", "slug": "sold-out"})

    (line,) = lines(stream)
    assert line["slug"] == "sold-out"
    assert "candidate-1" not in stream.getvalue()


def test_lines_of_the_background_have_the_ids_of_their_own_context(stream: io.StringIO) -> None:
    with written_in_background():
        token = REQUEST_ID.set("request-1")
        log.info("within")
        REQUEST_ID.reset(token)
        log.info("outside")

    within, outside = lines(stream)
    assert within["request_id"] == "request-1"
    assert "request_id" not in outside


def test_nobody_waits_for_a_reader_that_stands_still_and_what_is_dropped_is_counted(
    stream: io.StringIO,
) -> None:
    may_write = threading.Event()

    class Slow(logging.Handler):
        def emit(self, _record: logging.LogRecord) -> None:
            is_written.set()
            assert may_write.wait(LIMIT_S)

    is_written = threading.Event()
    logging.getLogger().addHandler(Slow())
    with written_in_background(lines_max=2):
        log.info("first")
        assert is_written.wait(LIMIT_S)
        for number in range(5):
            log.info("then %s", number)
        may_write.set()
        while sum("then" in line for line in stream.getvalue().splitlines()) < 2:
            time.sleep(0.001)  # another thread writes
        log.info("last")

    told = [(line["message"], line.get("count")) for line in lines(stream)]
    assert told == [
        ("first", None),
        ("then 0", None),
        ("then 1", None),
        ("log lines were dropped", 3),
        ("last", None),
    ]


def test_configuring_again_does_not_log_twice(stream: io.StringIO) -> None:
    configure_logging("warning", stream)

    log.info("left out")
    log.warning("once")

    assert [line["message"] for line in lines(stream)] == ["once"]
