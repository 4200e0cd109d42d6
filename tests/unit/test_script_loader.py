"""The loader of the Lua scripts: what it hands out, and which headers it refuses."""

from pathlib import Path

import pytest

from quota_service.seats import scripts
from quota_service.seats.scripts import CHOSEN_KEYS, load_scripts
from tests.support.lua_sources import read_sources

SCRIPTS = read_sources()


def test_the_loader_puts_shared_parts_in_and_knows_the_script_by_its_hash() -> None:
    loaded = load_scripts()

    assert set(loaded) == set(SCRIPTS)
    for name, script in loaded.items():
        assert "@include" not in script.text, name
        assert script.text.startswith("#!lua"), name
        assert list(script.shard_keys) == [
            key for _, _, key in SCRIPTS[name].keys if key not in CHOSEN_KEYS
        ]
    assert len({script.sha for script in loaded.values()}) == len(loaded)


@pytest.mark.parametrize(
    ("header", "problem"),
    [
        ("-- KEYS[1] string epoch  e\n-- KEYS[3] string version  v\n", "in order"),
        ("-- KEYS[2] string epoch  e\n", "in order"),
        ("-- KEYS[1] hash epoch  e\n", "no key 'epoch' of type hash"),
        ("-- KEYS[1] string secret  s\n", "no key 'secret'"),
        ("-- KEYS[1] string record  r\n-- KEYS[2] string epoch  e\n", "no key 'record'"),
    ],
)
def test_the_loader_refuses_a_header_that_callers_could_not_follow(
    header: str, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "wrong.lua").write_text(f"#!lua\n{header}return {{ 0 }}\n", encoding="utf-8")
    monkeypatch.setattr(scripts, "_folder", lambda: tmp_path)

    with pytest.raises(ValueError, match=problem):
        load_scripts.__wrapped__()
