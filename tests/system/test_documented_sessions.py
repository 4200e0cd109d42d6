"""The sessions that the documents show, typed into a shell beside the demo."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.demo import running_demo
from tests.support.programs import need_program

pytestmark = pytest.mark.system

ROOT = Path(__file__).parents[2]
SESSION_LIMIT_S = 300
MARK = "-- end of output --"

VARYING = [
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"), "TIME"),
    (re.compile(r'"version":\d+'), '"version":N'),
    (re.compile(r'"revision":\d+'), '"revision":N'),
    (re.compile(r"ccaa-2023-1\.0\.[a-z2-7]{24}"), "RESERVATION"),
]
"""What differs from run to run; everything else a document shows has to be printed."""


def session_of(document: Path) -> list[tuple[str, str]]:
    """Return the commands of a document's session, each with the output it shows."""
    blocks = re.findall(r"```console session\n(.*?)```", document.read_text(), re.DOTALL)
    lines = "".join(blocks).splitlines()
    session: list[tuple[str, list[str]]] = []
    for line in lines:
        if line.startswith("$ "):
            session.append((line[2:], []))
        else:
            session[-1][1].append(line)
    return [(command, "\n".join(output)) for command, output in session]


def without_what_varies(text: str) -> str:
    for pattern, name in VARYING:
        text = pattern.sub(name, text)
    return text.strip()


@pytest.mark.parametrize(
    ("document", "hold_ttl_s"),
    [("README.md", 900), ("quota_service/api/README.md", 15)],
    ids=["readme", "api-guide"],
)
def test_a_session_prints_what_its_document_says(
    tmp_path: Path, document: str, hold_ttl_s: int
) -> None:
    for program in ("curl", "openssl"):
        need_program(program)
    session = session_of(ROOT / document)
    environment = dict(os.environ)
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"

    with running_demo("--hold-ttl", str(hold_ttl_s), tmp_dir=tmp_path) as demo:
        script = [f"set -a; . {demo.env_file}; set +a"]
        for command, _ in session:
            script += [command, f"echo '{MARK}'"]
        done = subprocess.run(
            ["bash", "-u", "-c", "\n".join(script)],
            capture_output=True,
            text=True,
            cwd=ROOT,
            env=environment,
            timeout=SESSION_LIMIT_S,
            check=True,
        )

    printed = done.stdout.split(f"{MARK}\n")
    assert len(session) >= 8
    for (command, expected), output in zip(session, printed, strict=False):
        assert without_what_varies(output) == without_what_varies(expected), command
    assert done.stderr == ""
