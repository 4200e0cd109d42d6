"""Structured logs: one JSON object a line, with the ids of process, request and API key.

What is logged is chosen where it is logged; keys, signatures and bodies never are. Ids of
candidates are the member `candidate` of a line, which a setting leaves out.

A process that serves writes its lines in a thread, so that no request waits for whoever reads
standard error.
"""

import datetime as dt
import json
import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from logging.handlers import QueueHandler, QueueListener
from queue import SimpleQueue
from typing import TextIO

import orjson
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web import RequestPayloadError

REQUEST_ID: ContextVar[str] = ContextVar("request_id", default="")
KEY_ID: ContextVar[str] = ContextVar("key_id", default="")
"""The API key of a request, or a word in its place."""

LINES_MAX = 10_000
"""Lines that may wait to be written; further ones are dropped, and counted in a line of their own.
"""
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "taskName", "asctime"}


class JsonFormatter(logging.Formatter):
    """Formats a record as one line of JSON, extras as members of their own."""

    def __init__(self, *, has_candidates: bool = True) -> None:
        super().__init__()
        self._left_out = _STANDARD if has_candidates else _STANDARD | {"candidate"}

    def format(self, record: logging.LogRecord) -> str:
        """Return the line; an extra that JSON does not know is shown as text."""
        line = {
            "at": dt.datetime.fromtimestamp(record.created, tz=dt.UTC).isoformat(
                "T", "milliseconds"
            ),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "pid": record.process,
        }
        if request_id := REQUEST_ID.get():
            line["request_id"] = request_id
        if key_id := KEY_ID.get():
            line["key_id"] = key_id
        line.update({k: v for k, v in vars(record).items() if k not in self._left_out})
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        try:
            return orjson.dumps(line, default=str).decode()
        except orjson.JSONEncodeError:
            # Bytes that are no UTF-8 arrive as lone surrogates; the standard library escapes them.
            return json.dumps(line, default=str)


class OnceASecond:
    """Lets through one of many lines of a kind: strangers must not be able to fill the log."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._next_at_s = 0.0
        self._count = 0

    def count(self) -> int:
        """Count one; return how many there were since the last line when one is due, else 0."""
        self._count += 1
        now_s = self._clock()
        if now_s < self._next_at_s:
            return 0
        self._next_at_s = now_s + 1
        count, self._count = self._count, 0
        return count


class WithoutRequestBytes(logging.Filter):
    """Removes the bytes of unparsable requests that aiohttp quotes: an API key may be in them.

    Such a request is its sender's mistake, so it is logged as `info`, with the kind of mistake.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Change the record where needed; True when it is to be logged."""
        error = record.exc_info[1] if record.exc_info else None
        if not isinstance(error, HttpProcessingError | RequestPayloadError):
            return True
        record.exc_info = record.exc_text = None
        record.cause = type(error).__name__
        record.levelno, record.levelname = logging.INFO, logging.getLevelName(logging.INFO)
        return logging.getLogger(record.name).isEnabledFor(record.levelno)


class _Queue(QueueHandler):
    """Hands records to the thread that writes them, with the ids of request and key."""

    def __init__(self, lines_max: int) -> None:
        self.waiting: SimpleQueue[logging.LogRecord] = SimpleQueue()
        super().__init__(self.waiting)
        self._lines_max = lines_max
        self._dropped = 0

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        """Return the record with what only its own context knows; the thread formats it."""
        for name, value in (("request_id", REQUEST_ID.get()), ("key_id", KEY_ID.get())):
            if value and not hasattr(record, name):
                setattr(record, name, value)
        return record

    def enqueue(self, record: logging.LogRecord) -> None:
        """Queue a record, or drop it where too many wait; say how many were before the next."""
        if self.waiting.qsize() >= self._lines_max:
            self._dropped += 1
            return
        if self._dropped:
            told = {"name": __name__, "levelno": logging.WARNING, "levelname": "WARNING"}
            told["msg"] = "log lines were dropped"
            self.waiting.put_nowait(logging.makeLogRecord({**told, "count": self._dropped}))
            self._dropped = 0
        self.waiting.put_nowait(record)


@contextmanager
def written_in_background(lines_max: int = LINES_MAX) -> Iterator[None]:
    """Write log lines in a thread until the block ends, then those that wait."""
    root = logging.getLogger()
    handlers, queue = root.handlers[:], _Queue(lines_max)
    listener = QueueListener(queue.waiting, *handlers)
    root.handlers[:] = [queue]
    listener.start()
    try:
        yield
    finally:
        root.handlers[:] = handlers
        listener.stop()


def configure_logging(
    level: str, stream: TextIO | None = None, *, has_candidates: bool = True
) -> None:
    """Send all logs, from `level` up, to a stream (default: standard error) as JSON lines."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter(has_candidates=has_candidates))
    handler.addFilter(WithoutRequestBytes())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # Our middleware counts every request; a line for each would drown what matters.
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
