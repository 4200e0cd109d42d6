"""The id of a request: what a client gave it, or one of our own."""

import itertools
import re
import secrets

REQUEST_ID_HEADER = "X-Request-ID"

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
_PROCESS = secrets.token_hex(4)
_numbers = itertools.count(1)


def request_id(offered: str | None) -> str:
    """Return the id a client gave its request if it may be logged, else a new one."""
    if offered and _REQUEST_ID.fullmatch(offered):
        return offered
    return f"{_PROCESS}{next(_numbers):08x}"
