"""`python -m loadtest.rush compare A B`: two runs side by side, by the records they left."""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

from loadtest.rush.evidence import Document
from loadtest.rush.page import Table, text
from loadtest.rush.run_file import read

_SHOWN_OF_A_STEP = ("calls", "refused", "p50 ms", "p99 ms")


def compare(arguments: Sequence[str]) -> int:
    """Print what two runs differ in; exits with status 2 when one of them cannot be read."""
    made = argparse.ArgumentParser(prog="python -m loadtest.rush compare")
    made.add_argument("runs", nargs=2, type=Path, metavar="FOLDER", help="the folder of a run")
    folders = made.parse_args(arguments).runs
    try:
        first, second = map(read, folders)
    except ValueError as error:
        made.error(str(error))
    for table in comparison(first, second, str(folders[0]), str(folders[1])):
        print(f"\n{text(table)}")
    return 0


def comparison(first: Document, second: Document, left: str, right: str) -> list[Table]:
    """Return how two runs were made differently, their figures and their steps."""
    about = ("date", "target", "service_version", "version")
    made = [(name, str(first.get(name)), str(second.get(name))) for name in about]
    names = dict.fromkeys([*first["options"], *second["options"]])
    pairs = [(name, first["options"].get(name), second["options"].get(name)) for name in names]
    made += [(name, str(one), str(other)) for name, one, other in pairs if one != other]
    promises = {
        name: (first["promises"].get(name), second["promises"].get(name))
        for name in dict.fromkeys([*first["promises"], *second["promises"]])
    }
    differing = [
        (name, _kept(one), _kept(other)) for name, (one, other) in promises.items() if one != other
    ]
    head = ("", left, right)
    return [
        Table("Made differently", head, tuple(made), is_text=True),
        Table("Figures", (*head, "ratio"), tuple(_figures(first, second))),
        Table("Steps", (*head, "ratio"), tuple(_steps(first, second))),
        *([Table("Promises", head, tuple(differing), is_text=True)] if differing else []),
    ]


def _figures(first: Document, second: Document) -> Iterator[tuple[str, ...]]:
    for name in dict.fromkeys([*first["figures"], *second["figures"]]):
        yield _row(name.replace("_", " "), first["figures"].get(name), second["figures"].get(name))


def _steps(first: Document, second: Document) -> Iterator[tuple[str, ...]]:
    for step in dict.fromkeys([*first["steps"], *second["steps"]]):
        one, other = first["steps"].get(step, {}), second["steps"].get(step, {})
        for name in _SHOWN_OF_A_STEP:
            yield _row(f"{step}: {name}", one.get(name), other.get(name))


def _row(name: str, one: float | None, other: float | None) -> tuple[str, ...]:
    """Return a row of two values and how many times the first the second is."""
    ratio = f"{other / one:.2f}" if one and other is not None else "-"
    return (name, *("-" if value is None else f"{value:g}" for value in (one, other)), ratio)


def _kept(is_kept: bool | None) -> str:  # noqa: FBT001  a value to show
    return "-" if is_kept is None else "kept" if is_kept else "BROKEN"
