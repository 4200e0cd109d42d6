"""Reads the ledger's queries: one `.sql` file each, beside this module."""

from collections.abc import Mapping
from importlib import resources
from types import MappingProxyType


def load_queries() -> Mapping[str, str]:
    """Return every query by the name of its file."""
    folder = resources.files("quota_service") / "ledger" / "queries"
    files = [entry for entry in folder.iterdir() if entry.name.endswith(".sql")]
    return MappingProxyType(
        {file.name.removesuffix(".sql"): file.read_text(encoding="utf-8") for file in files}
    )
