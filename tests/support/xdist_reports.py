"""A pytest plugin: reports that a worker of pytest-xdist can send, whatever a test has logged.

A worker sends UTF-8, which has no lone surrogates; some tests log them.
"""

from collections.abc import Generator
from typing import Any

import pytest


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable() -> "Generator[None, Any, Any]":
    """Replace what cannot be encoded; every value keeps its type.

    The summary tells a skip by its `longrepr` being a tuple.
    """
    return _encodable((yield))


def _encodable(value: Any) -> Any:
    match value:
        case str():
            return value.encode("utf-8", "replace").decode("utf-8")
        case dict():
            return {_encodable(key): _encodable(item) for key, item in value.items()}
        case list():
            return [_encodable(item) for item in value]
        case tuple():
            return tuple(_encodable(item) for item in value)
        case _:
            return value
