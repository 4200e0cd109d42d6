"""The record of one run, `run.json`: how it was made, and its figures without the series."""

import dataclasses
import datetime as dt
from collections.abc import Sequence
from pathlib import Path

import orjson

import quota_service
from loadtest.rush.checks import Verdict
from loadtest.rush.evidence import Document
from loadtest.rush.figures import PERCENTILES, Figures
from loadtest.rush.goals import Reached
from loadtest.rush.options import Options

NAME = "run.json"
TOLD_ELSEWHERE = frozenset({"host", "folder", "metrics", "goals", "crowd"})
"""Options that have a place of their own in the record, or say only where it is."""


def record(
    options: Options,
    service_version: str,
    found: Figures,
    verdicts: Sequence[Verdict],
    goals: Sequence[Reached],
) -> Document:
    """Return the record; it has no key and no secret, which options never have."""
    chosen = {item.name: getattr(options, item.name) for item in dataclasses.fields(options)}
    crowd = options.crowd.model_dump(mode="json").items()
    counts = {
        item.name: getattr(found, item.name)
        for item in dataclasses.fields(found)
        if isinstance(getattr(found, item.name), int | float | None)
    }
    return {
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "target": options.host,
        "service_version": service_version,
        "version": quota_service.__version__,
        "options": {
            **{name: value for name, value in chosen.items() if name not in TOLD_ELSEWHERE},
            **{f"crowd: {name}": value for name, value in crowd},
        },
        "figures": counts,
        "steps": {
            step.step: {
                "calls": step.count,
                "refused": step.refused,
                "no answer": step.unanswered,
                **{
                    f"p{percent} ms": round(ms, 1)
                    for percent, ms in zip(PERCENTILES, step.percentiles_ms, strict=True)
                },
                "max ms": round(step.longest_ms, 1),
            }
            for step in found.steps
        },
        "promises": {verdict.promise: verdict.is_kept for verdict in verdicts},
        "goals": {
            f"{one.goal.step}:{one.goal.measure}={one.goal.limit_ms:g}": one.is_met for one in goals
        },
    }


def write(folder: Path, run: Document) -> None:
    """Write the record of a run into its folder."""
    (folder / NAME).write_bytes(orjson.dumps(run, option=orjson.OPT_INDENT_2))


def read(folder: Path) -> Document:
    """Return the record in a folder; ValueError with the file and what is wrong with it."""
    path = folder / NAME
    try:
        run = orjson.loads(path.read_bytes())
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}; a run that ended has this file") from error
    except orjson.JSONDecodeError as error:
        raise ValueError(f"{path}: {error}") from error
    missing = [name for name in ("options", "figures", "steps", "promises") if name not in run]
    if missing:
        raise ValueError(f"{path}: no {', '.join(missing)}; it is no record of a rehearsal")
    return dict(run)
