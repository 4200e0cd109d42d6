"""Runs commands of `quota-service` in this process, which costs less than a process for each."""

import asyncio
from dataclasses import dataclass

import pytest

from quota_service import cli
from quota_service.settings import Settings


@dataclass(frozen=True, slots=True)
class Done:
    """The exit status of a command, and what it printed."""

    status: int
    printed: str
    complaints: str


class CommandLine:
    """Commands with the settings of a test."""

    def __init__(
        self,
        settings: Settings,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        monkeypatch.setattr(cli, "read_settings", lambda: settings)
        monkeypatch.setattr(cli, "configure_logging", lambda *_, **__: None)
        self._capsys = capsys

    async def __call__(self, *arguments: str) -> Done:
        """Run a command to its end; it has an event loop of its own."""
        self._capsys.readouterr()
        status = await asyncio.to_thread(cli.main, arguments)
        printed, complaints = self._capsys.readouterr()
        return Done(status, printed, complaints)
