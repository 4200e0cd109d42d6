"""A command opens the stores that it needs, and no other."""

import asyncio
import dataclasses
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from quota_service.app.opening import Service
from quota_service.settings import Settings
from tests.support.service_cli import command, environment

ROOT = Path(__file__).parents[2]


@pytest.fixture
def redis_port() -> Iterator[socket.socket]:
    """A port on which nobody speaks Redis, and which knows whether somebody came."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        yield listener


def assert_nobody_came(listener: socket.socket) -> None:
    with pytest.raises(BlockingIOError):
        listener.accept()


async def run(settings: Settings, *arguments: str) -> str:
    """Run a command that has to succeed and return what it printed."""
    process = await asyncio.create_subprocess_exec(
        *command(*arguments),
        cwd=ROOT,
        env=environment(settings),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    printed, complaints = await process.communicate()
    assert process.returncode == 0, complaints.decode()
    return printed.decode()


def without_redis(settings: Settings, listener: socket.socket) -> Settings:
    return dataclasses.replace(settings, redis_url=f"redis://127.0.0.1:{listener.getsockname()[1]}")


async def test_migrate_opens_postgres_and_nothing_else(
    unmigrated: Settings, redis_port: socket.socket
) -> None:
    applied = await run(without_redis(unmigrated, redis_port), "migrate")
    again = await run(dataclasses.replace(unmigrated, redis_url="no address"), "migrate")

    assert applied.startswith("applied 0001_")
    assert again == "nothing to apply\n"
    assert_nobody_came(redis_port)


async def test_keys_and_exams_are_shown_without_redis(
    service: Service, settings: Settings, redis_port: socket.socket
) -> None:
    assert service.stores.registry.is_loaded
    away = without_redis(settings, redis_port)

    key = await run(away, "keys", "create", "frontend", "--scope", "frontend")
    keys = await run(away, "keys", "list")
    exams = await run(dataclasses.replace(away, redis_url="no address"), "exam", "list")
    exam = await run(away, "exam", "show", "exam-1")

    assert keys.startswith(key.split("_")[1])
    assert exams.startswith("exam-1\t")
    assert '"id": "exam-1"' in exam
    assert_nobody_came(redis_port)
