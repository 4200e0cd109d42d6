"""The README's session, typed into a shell beside the demo."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.support.demo import running_demo
from tests.support.programs import need_program

pytestmark = pytest.mark.system

README = Path(__file__).parents[2] / "README.md"
SESSION_LIMIT_S = 60
MARK = "-- end of output --"

VARYING = [
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"), "TIME"),
    (re.compile(r'"version":\d+'), '"version":N'),
    (re.compile(r'"revision":\d+'), '"revision":N'),
    (re.compile(r"ccaa-2023-1\.0\.[a-z2-7]{24}"), "RESERVATION"),
]
"""What differs from run to run; everything else the README shows has to be printed."""


def readme_session() -> list[tuple[str, str]]:
    """Return the commands of the README's session, each with the output it shows."""
    blocks = re.findall(r"```console session\n(.*?)```", README.read_text(), re.DOTALL)
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


def test_the_session_of_the_readme_prints_what_the_readme_says(tmp_path: Path) -> None:
    for program in ("curl", "openssl"):
        need_program(program)
    session = readme_session()

    with running_demo("--hold-ttl", "4", tmp_dir=tmp_path) as demo:
        script = [f"set -a; . {demo.env_file}; set +a"]
        for command, _ in session:
            script += [command, f"echo '{MARK}'"]
        done = subprocess.run(
            ["bash", "-u", "-c", "\n".join(script)],
            capture_output=True,
            text=True,
            timeout=SESSION_LIMIT_S,
            check=True,
        )

    printed = done.stdout.split(f"{MARK}\n")
    assert len(session) > 10
    for (command, expected), output in zip(session, printed, strict=False):
        assert without_what_varies(output) == without_what_varies(expected), command
    assert done.stderr == ""
