"""The words of the pages: the same in every language, and all that pages use."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

WEB = Path(__file__).parents[2] / "quota_service/web"
PARTS = sorted({path.name.partition(".")[0] for path in (WEB / "words").glob("*.json")})
_USED = re.compile(r"""\bt\(\s*["'`]([a-z0-9.-]+)["'`]""")
"""A key that a script names; one put together of parts is not found."""
_TEXT = re.compile(r"""["'`]([a-z0-9_.-]+)["'`]""")
"""A text in a script that may be a key."""
_JOINED = re.compile(r"""\b(?:t\(\s*`|wordsFor\(")([a-z0-9_.-]*)(?:"|\$\{[^}]*\}([a-z.]*)`)""")
"""The beginning and the end of a key that is put together."""


def words(part: str, language: str) -> dict[str, Any]:
    return dict(json.loads((WEB / f"words/{part}.{language}.json").read_text(encoding="utf-8")))


def members(text: Any) -> set[str]:
    """Return the names in braces of a text, or of all its forms."""
    forms = text.values() if isinstance(text, dict) else [text]
    return {name for form in forms for name in re.findall(r"\{(\w+)\}", form)}


@pytest.mark.parametrize("part", PARTS)
def test_both_languages_have_the_same_words_with_the_same_members(part: str) -> None:
    english, chinese = words(part, "en"), words(part, "zh")

    assert list(english) == list(chinese)
    assert {key: members(text) for key, text in english.items()} == {
        key: members(text) for key, text in chinese.items()
    }


def test_every_word_that_a_script_names_is_there() -> None:
    known = {key for part in PARTS for key in words(part, "en")}

    used = {
        (path.name, key)
        for path in (WEB / "app").rglob("*.js")
        for key in _USED.findall(path.read_text(encoding="utf-8"))
    }

    assert len(used) > 5
    assert {(name, key) for name, key in used if key not in known} == set()


@pytest.mark.parametrize("part", PARTS)
def test_no_word_is_kept_that_no_script_names(part: str) -> None:
    code = "".join(path.read_text(encoding="utf-8") for path in (WEB / "app").rglob("*.js"))
    texts, joined = set(_TEXT.findall(code)), set(_JOINED.findall(code))

    unused = [
        key
        for key in words(part, "en")
        if key not in texts
        and not any(key.startswith(start) and key.endswith(end) for start, end in joined)
    ]

    assert unused == []
