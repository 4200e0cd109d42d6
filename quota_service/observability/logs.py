"""Structured logs: one JSON object a line, with the id of the request it belongs to.

What is logged is chosen where it is logged; keys, signatures, bodies and candidate ids never are.
"""

import datetime as dt
import logging
import sys
from contextvars import ContextVar
from typing import TextIO

import orjson

REQUEST_ID: ContextVar[str] = ContextVar("request_id", default="")

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "taskName", "asctime"}


class JsonFormatter(logging.Formatter):
    """Formats a record as one line of JSON, extras as members of their own."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line; an extra that JSON does not know is shown as text."""
        line = {
            "at": dt.datetime.fromtimestamp(record.created, tz=dt.UTC).isoformat("T", "milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if request_id := REQUEST_ID.get():
            line["request_id"] = request_id
        line.update({k: v for k, v in vars(record).items() if k not in _STANDARD})
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str).decode()


def configure_logging(level: str, stream: TextIO | None = None) -> None:
    """Send all logs, from `level` up, to a stream (standard error unless told) as JSON lines."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # Our middleware counts every request; a line for each would drown what matters.
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
