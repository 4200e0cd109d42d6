"""What Grafana's own schema knows of a dashboard, and what it drops because it knows it not."""

import json
from collections.abc import Iterator
from typing import Any

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard


def unknown_fields(text: str) -> list[str]:
    """Return the paths of fields that the schema has not; those that say nothing aside."""
    register_default_plugins()
    written = json.loads(text)
    read = json.loads(json.dumps(Dashboard.from_json(written), cls=JSONEncoder))
    return list(_lost(written, read, ""))


def _lost(written: Any, read: Any, path: str) -> Iterator[str]:
    match written, read:
        case dict(), dict():
            for name, value in written.items():
                if name in read:
                    yield from _lost(value, read[name], f"{path}/{name}")
                elif value not in (None, False, "", [], {}):
                    yield f"{path}/{name}"
        case list(), list() if len(written) == len(read):
            for index, (value, kept) in enumerate(zip(written, read, strict=True)):
                yield from _lost(value, kept, f"{path}/{index}")
        case _ if written != read:
            yield path
