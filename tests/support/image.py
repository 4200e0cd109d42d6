"""The image of `deploy/docker/` without Docker: its files in a folder, its commands as they run.

What COPY brings is copied, and what RUN installs is installed, below a folder in the place of `/`.
The packages that the service needs are those of this Python: they are not downloaded again.
"""

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "deploy/docker/Dockerfile"
_ENVIRONMENT = "/opt/quota-service"
"""Where the image has its virtual environment."""
_PLACES = (_ENVIRONMENT, "/run/secrets", "/etc/quota-service", "/tmp/demo", "/data")  # noqa: S108
"""Paths of containers that commands and settings name."""
_IS_ROOT = os.geteuid() == 0


@dataclass(frozen=True, slots=True)
class Image:
    """What the Dockerfile says of a container, and the folder that stands for its `/`."""

    root: Path
    environment: Mapping[str, str]
    user: str
    entrypoint: Sequence[str]
    command: Sequence[str]
    healthcheck: Sequence[str]

    @property
    def work(self) -> Path:
        """The folder in which everybody may write, as in the tmpfs of a container."""
        return self.root / "tmp"

    def placed(self, text: str) -> str:
        """Return a text whose absolute paths of the container are those of the folder."""
        for top in _PLACES:
            text = text.replace(top, f"{self.root}{top}")
        return text

    def process(
        self, command: Sequence[str], environment: Mapping[str, str]
    ) -> tuple[list[str], dict[str, str]]:
        """Return command line and environment of a process in a container.

        As root it runs as the image's user, who may read everything, for this Python can be root's
        alone, and may write nowhere. An ordinary user runs it as it is.
        """
        own = {**self.environment, **environment}
        names = {name: self.placed(text) for name, text in own.items()}
        names["PATH"] = names["PATH"].replace("$PATH", os.environ["PATH"])
        name, *options = map(self.placed, command)
        program = shutil.which(name, path=names["PATH"]) or name
        return [*self._as_user(), program, *options], names

    def _as_user(self) -> list[str]:
        if not _IS_ROOT:
            return []
        user, group = self.user.split(":")
        kept = "dac_read_search"
        return [
            *("setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups", "--no-new-privs"),
            *(f"--inh-caps=-all,+{kept}", f"--ambient-caps=-all,+{kept}", "--pdeathsig=KILL"),
        ]


def build_image(root: Path) -> Image:
    """Do what the Dockerfile says below an empty folder."""
    stages = list(_stages(DOCKERFILE.read_text()))
    build, last = stages
    source = root / "src"
    _copy(build, source)
    (run,) = [text for name, text in build if name == "RUN"]
    for command in run.split("&&"):
        _install(command.strip(), root, source)
    shutil.rmtree(source)
    told = {name: text for name, text in last if name != "ENV"}
    environment: dict[str, str] = {}
    for text in (text for name, text in last if name == "ENV"):
        environment |= dict(pair.split("=", 1) for pair in shlex.split(text))
    (root / "tmp").mkdir()
    (root / "tmp").chmod(0o777)
    check = told["HEALTHCHECK"].partition("CMD")[2]
    return Image(
        root,
        environment,
        told["USER"],
        json.loads(told["ENTRYPOINT"]),
        json.loads(told["CMD"]),
        json.loads(check),
    )


def sent_to_builder() -> list[str]:
    """Return the files of the repository that `.dockerignore` lets through."""
    lines = DOCKERFILE.with_name("Dockerfile.dockerignore").read_text().splitlines()
    patterns = [line for line in lines if line and not line.startswith("#")]
    assert patterns[0] == "*", "it has to begin with what keeps everything out"
    kept = [pattern[1:] for pattern in patterns if pattern.startswith("!")]
    dropped = [pattern for pattern in patterns[1:] if not pattern.startswith("!")]
    files = [path for top in kept for path in _files(ROOT / top)]
    names = [path.relative_to(ROOT).as_posix() for path in files]
    return [name for name in names if not any(fnmatch(f"/{name}", f"/{d}/*") for d in dropped)]


def _stages(text: str) -> Iterator[list[tuple[str, str]]]:
    """Yield the instructions of each stage."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    stage: list[tuple[str, str]] = []
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        if not line.strip():
            continue
        name, _, rest = line.strip().partition(" ")
        if name == "FROM" and stage:
            yield stage
            stage = []
        stage.append((name, " ".join(rest.split())))
    yield stage


def _copy(stage: Sequence[tuple[str, str]], source: Path) -> None:
    """Carry out COPY as the builder does, which has what `.dockerignore` lets through."""
    sent = sent_to_builder()
    for name, text in stage:
        if name != "COPY":
            continue
        *froms, to = text.split()
        for origin in froms:
            found = [file for file in sent if file == origin or file.startswith(f"{origin}/")]
            assert found, f"{DOCKERFILE}: COPY {origin}: no such file is sent to the builder"
            for file in found:
                inside = Path(file).name if file == origin else file.removeprefix(f"{origin}/")
                target = source / to / inside
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / file, target)


def _install(command: str, root: Path, source: Path) -> None:
    """Carry out one command of RUN; nothing is downloaded."""
    place = f"{root}{_ENVIRONMENT}"
    words = shlex.split(command.replace(_ENVIRONMENT, place))
    python = f"{place}/bin/python"
    match words:
        case ["python", "-m", "venv", given] if given == place:
            done = [sys.executable, "-m", "venv", "--without-pip", place]
        case [given, "-m", "pip", "install", *options] if given == python:
            (site,) = Path(place).glob("lib/python*/site-packages")
            # As a line of a `.pth` the packages are found, but not what was installed editable.
            (site / "packages_of_this_python.pth").write_text(
                "\n".join(path for path in sys.path if path.endswith("site-packages"))
            )
            offline = ["--quiet", "--no-deps", "--no-build-isolation"]
            done = [sys.executable, "-m", "pip", "--python", python, "install", *offline, *options]
        case [given, "-m", "pip", "uninstall", "--yes", "pip"] if given == python:
            return  # there is none
        case _:
            raise AssertionError(f"{DOCKERFILE}: RUN {command}: the tests do not know this command")
    ended = subprocess.run(done, cwd=source, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


def _files(path: Path) -> list[Path]:
    return [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]
