"""Loads the Lua scripts: resolves includes, and reads from each header which keys it wants.

A header's `KEYS[n] type name` lines are what the caller's key list is made from, so the two cannot
drift apart. The one name that is not a key of the shard, `record`, comes last and may repeat;
`index` is a sorted set of the caller's choice.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from types import MappingProxyType

from quota_service.seats.keys import SHARD_KEYS

_INCLUDE = re.compile(r"^-- @include (\w+)\n", re.MULTILINE)
_KEY_LINE = re.compile(r"^-- KEYS\[(\d+)\]\s+(\w+)\s+(\w+)", re.MULTILINE)

CHOSEN_KEYS = {"record": "string", "index": "zset"}
"""Names in headers of keys that the caller chooses, with their types."""


@dataclass(frozen=True, slots=True)
class Script:
    """One script, ready to be sent: its text with includes, its SHA-1 and the keys it wants."""

    name: str
    text: str
    sha: str
    shard_keys: tuple[str, ...]
    chosen_key: str | None
    writes: bool


@cache
def load_scripts() -> Mapping[str, Script]:
    """Return every script in `lua/` by its name; the files are read once."""
    folder = _folder()
    files = (entry.name for entry in folder.iterdir() if entry.name.endswith(".lua"))
    names = sorted(name.removesuffix(".lua") for name in files)
    return MappingProxyType({name: _load(folder, name) for name in names})


def _folder() -> Traversable:
    """Return where the scripts are: in the package when installed, else beside it in a checkout."""
    inside = resources.files("quota_service") / "lua"
    return inside if inside.is_dir() else Path(__file__).parents[2] / "lua"


def _load(folder: Traversable, name: str) -> Script:
    text = (folder / f"{name}.lua").read_text(encoding="utf-8")
    keys = [(int(n), kind, key) for n, kind, key in _KEY_LINE.findall(text)]
    if [n for n, _, _ in keys] != list(range(1, len(keys) + 1)):
        raise ValueError(f"lua/{name}.lua: its header does not list KEYS[1] to KEYS[n] in order")
    chosen = keys.pop()[2] if keys and keys[-1][2] in CHOSEN_KEYS else None
    for _, kind, key in keys:
        if SHARD_KEYS.get(key) != kind:
            raise ValueError(f"lua/{name}.lua: no key {key!r} of type {kind} in the catalogue")
    included = _INCLUDE.sub(
        lambda found: (folder / "include" / f"{found[1]}.lua").read_text(encoding="utf-8"), text
    )
    sha = hashlib.sha1(included.encode(), usedforsecurity=False).hexdigest()
    shard_keys = tuple(key for _, _, key in keys)
    writes = "no-writes" not in text.partition("\n")[0]
    return Script(name, included, sha, shard_keys, chosen, writes)
