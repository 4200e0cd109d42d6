"""Runbooks: one for each alert, in one form; what they say is run against a real service."""

import re
import subprocess
import textwrap
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml

from tests.support.alerting import ROOT, alerts, rules, samples
from tests.support.operated import Operated, operated
from tests.support.programs import need_program
from tests.support.runnable import runnable

RUNBOOKS = ROOT / "deploy/runbooks"
OTHERS = {
    "OpeningDay",
    "PaymentProviderDown",
    "RedisFull",
    "ShardStaysFenced",
    "VenueFallsOut",
    "WrongCapacity",
}
"""Runbooks for what no alert names."""

HEADINGS = ["## It means", "## See it", "## Mend it"]
LIMIT_S = 120


def documents() -> dict[str, str]:
    """Return the text of every runbook by name."""
    paths = sorted(RUNBOOKS.glob("*.md"))
    return {path.stem: path.read_text(encoding="utf-8") for path in paths if path.stem != "README"}


def first_places() -> dict[str, list[str]]:
    """Return the runnable blocks by the first document that has them."""
    seen: set[str] = set()
    places: dict[str, list[str]] = {}
    for name, text in documents().items():
        places[name] = [block for block in runnable(text) if block not in seen]
        seen.update(places[name])
    return {name: blocks for name, blocks in places.items() if blocks}


def test_every_alert_has_a_runbook_and_every_other_runbook_is_known() -> None:
    assert documents().keys() == alerts().keys() | OTHERS


@pytest.mark.parametrize("name", sorted(documents().keys() - {"OpeningDay"}))
def test_a_runbook_says_what_it_means_how_to_see_it_and_how_to_mend_it(name: str) -> None:
    text = documents()[name]

    assert text.startswith(f"# {name}\n")
    assert re.findall(r"^## .*", text, re.MULTILINE) == HEADINGS
    see, mend = text.split(HEADINGS[1])[1].split(HEADINGS[2])
    assert "```sh" in see
    assert mend.strip()


def test_the_checklist_covers_the_hours_of_an_opening() -> None:
    hours = re.findall(r"^## (\d\d:\d\d)", documents()["OpeningDay"], re.MULTILINE)

    assert (hours[0], hours[-1]) == ("11:00", "14:00")
    assert hours == sorted(hours)


def test_runbooks_name_metrics_that_are_exported_or_recorded() -> None:
    known = samples() | {sample.removesuffix("_count") for sample in samples()}
    recorded = " ".join(rule["record"] for rule in rules("record"))

    for name, text in documents().items():
        named = set(re.findall(r"\bquota_[a-z0-9_]+[a-z0-9]\b", text))
        assert {each for each in named - known if each not in recorded} == set(), name


@pytest.mark.system
def test_queries_of_runbooks_can_be_asked(tmp_path: Path) -> None:
    found = [
        textwrap.dedent(block)
        for text in documents().values()
        for block in re.findall(r"^ *```promql\n(.*?)^ *```$", text, re.DOTALL | re.MULTILINE)
    ]
    asked = [{"record": f"query:{number}", "expr": query} for number, query in enumerate(found)]
    file = tmp_path / "queries.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "runbooks", "rules": asked}]}))

    done = subprocess.run(
        [need_program("promtool"), "check", "rules", file],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )

    assert found
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Operated]:
    async with operated(tmp_path_factory.mktemp("runbooks")) as running:
        yield running


@pytest.mark.system
@pytest.mark.parametrize("name", first_places())
def test_the_commands_of_a_runbook_do_what_they_are_for(
    name: str, service: Operated, tmp_path: Path
) -> None:
    for program in ("curl", "psql", "redis-cli"):
        need_program(program)

    for block in first_places()[name]:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block],
            cwd=tmp_path,
            env={**service.shell, "TMPDIR": str(tmp_path)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
        assert done.returncode == 0, f"{block}{done.stdout}"
