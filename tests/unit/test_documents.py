"""The documents name only what there is: files, headings, commands, targets, settings, metrics."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from quota_service import cli
from quota_service.observability.metrics import Metrics, ServiceGauges
from quota_service.settings import Settings, describe

ROOT = Path(__file__).parents[2]
FOLDERS = ("deploy", "loadtest", "lua", "quota_service", "tests")
DOCUMENTS = sorted(
    [*ROOT.glob("*.md"), *(md for name in FOLDERS for md in (ROOT / name).rglob("*.md"))]
)
README_MAX_BYTES = 12_288

OF_THE_DEMO = {
    "QUOTA_URL",
    "QUOTA_ADMIN_URL",
    "QUOTA_FRONTEND_URL",
    "QUOTA_FRONTEND_KEY",
    "QUOTA_OPS_KEY",
    "QUOTA_PAYMENT_SECRET",
}
"""Variables of `demo.env` that are for clients of the service and no settings."""

WORD = re.compile(r"[a-z][a-z-]*")
OPTION = re.compile(r"--[a-z][a-z-]*")

of_each_document = pytest.mark.parametrize(
    "document", DOCUMENTS, ids=[str(path.relative_to(ROOT)) for path in DOCUMENTS]
)


def commands(text: str) -> Iterator[str]:
    """Yield what a document shows as typed: spans of code, and the lines of blocks of commands."""
    fence = re.compile(r"^ *```([a-z ]*)\n(.*?)^ *```", re.DOTALL | re.MULTILINE)
    for language, block in fence.findall(text):
        for line in block.splitlines():
            if language.split()[:1] == ["sh"]:
                yield line
            elif line.startswith("$ "):
                yield line[2:]
    prose = fence.sub("", text)
    yield from re.findall(r"^    (.*)$", prose, re.MULTILINE)
    yield from (" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose))


def calls_of(program: str, text: str) -> list[list[str]]:
    """Return the words behind each call of a program that a document shows.

    The `make` of `quota-service webhook make` is a command's.
    """
    called = rf"(?:^|[\s;|/])(?<!webhook ){re.escape(program)} +([^#|;&]+)"
    return [found.split() for typed in commands(text) for found in re.findall(called, typed)]


def anchors(document: Path) -> set[str]:
    """Return the anchors of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@of_each_document
def test_every_link_leads_to_a_file_and_a_heading(document: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", document.read_text())
    broken = []
    for link in links:
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)

    assert broken == []


@of_each_document
def test_every_command_of_the_service_exists_with_its_options(
    document: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in calls_of("quota-service", document.read_text()):
        path = []
        for word in words:
            if WORD.fullmatch(word) is None:
                break
            path.append(word)
        if not path:
            continue

        with pytest.raises(SystemExit) as ended:
            cli.main([*path, "--help"])

        told = capsys.readouterr()
        assert ended.value.code == 0, f"{words}: {told.err}"
        for option in filter(OPTION.fullmatch, words):
            assert option in told.out, words


@of_each_document
def test_every_target_of_make_and_every_module_that_is_run_exists(document: Path) -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    text = document.read_text()

    for words in calls_of("make", text.replace("webhook make", "")):  # a command of the service
        assert words[0] in targets, words
    for words in calls_of("python -m", text):
        module = ROOT.joinpath(*words[0].split("."))
        assert module.with_suffix(".py").exists() or (module / "__main__.py").exists(), words


@of_each_document
def test_every_setting_that_is_named_exists(document: Path) -> None:
    if document.name == "CHANGELOG.md":
        return  # tells of settings that are gone
    settings = {name for name, *_ in describe(Settings())} | OF_THE_DEMO
    named = set(re.findall(r"\bQUOTA_[A-Z0-9]+(?:_[A-Z0-9]+)*\b", document.read_text()))

    assert {name.removesuffix("_FILE") for name in named} <= settings


def test_every_metric_that_is_to_be_watched_exists() -> None:
    document = (ROOT / "deploy" / "README.md").read_text()
    registries = (Metrics().registry, ServiceGauges().registry)
    families = {family.name for registry in registries for family in registry.collect()}
    named = set(re.findall(r"\bquota_(?!service)[a-z0-9]+(?:_[a-z0-9]+)*\b", document))

    assert len(named) > 20
    assert {name.removesuffix("_total") for name in named} <= families | {"quota_waiting_room"}


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_bytes()) <= README_MAX_BYTES
