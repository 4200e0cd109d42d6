"""Runs `quota-service serve` as processes of its own, with what they log at hand."""

import asyncio
import json
import signal
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from quota_service.settings import Settings
from tests.support.forked import STDERR, Forked, fork
from tests.support.patience import LIMIT_S, START_LIMIT_S
from tests.support.service_cli import environment, main
from tests.support.waiting import eventually

ROOT = Path(__file__).parents[2]
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


class Supervised:
    """A `serve` that was started, and the log lines of it and of the processes it has started.

    `api` is its address, `admin` that of the first process that listened.
    """

    def __init__(self, process: Process | Forked) -> None:
        self.process = process
        self.lines: list[dict[str, Any]] = []
        self.others: list[str] = []
        self.api = self.admin = ""
        self._following = asyncio.create_task(self._follow())

    @property
    def tail(self) -> str:
        return "\n".join([*map(str, self.lines[-20:]), *self.others[-20:]])

    def said(self, message: str, **members: object) -> list[dict[str, Any]]:
        """The lines with this message and these members."""
        wanted = {"message": message, **members}
        return [line for line in self.lines if wanted.items() <= line.items()]

    def pids(self) -> dict[int, int]:
        """The processes that were started last, by number."""
        return {line["number"]: line["started"] for line in self.said("API process started")}

    def admins(self) -> dict[int, str]:
        """The admin addresses of those of them that listen, by number."""
        return {
            number: line["admin"]
            for number, pid in self.pids().items()
            for line in self.said("listening", pid=pid)
        }

    async def get(self, path: str, *, base: str = "") -> tuple[int, str]:
        """Return status and body of one call on a connection of its own, to `admin` unless told."""
        url = f"{base or self.admin}{path}"
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            return response.status, await response.text()

    async def scrape(self, admin: str = "") -> Samples:
        """Return every sample of a process's /metrics by name and labels."""
        status, text = await self.get("/metrics", base=admin)
        assert status == 200
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    async def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and return the exit status."""
        self.process.send_signal(number)
        try:
            async with asyncio.timeout(LIMIT_S):
                return await self.process.wait()
        except TimeoutError:
            raise AssertionError(f"it runs on:\n{self.tail}") from None

    async def followed(self) -> None:
        """Wait until the log has ended and is read."""
        await self._following

    async def _follow(self) -> None:
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            try:
                self.lines.append(json.loads(line))
            except json.JSONDecodeError:
                self.others.append(line.decode())


@asynccontextmanager
async def supervised(settings: Settings, workers: int = 1) -> AsyncIterator[Supervised]:
    """Start `serve` and yield it once all its processes listen; end it if it still runs."""
    async with started(settings, workers) as run:

        async def listen() -> bool:
            assert run.process.returncode is None, run.tail
            return len(run.said("listening")) == workers

        await eventually(listen, within_s=START_LIMIT_S)
        first = run.said("listening")[0]
        run.api, run.admin = first["api"], first["admin"]
        yield run


@asynccontextmanager
async def started(settings: Settings, workers: int = 1) -> AsyncIterator[Supervised]:
    """Start `quota-service serve --workers N` with these settings."""
    process = await fork(
        main,
        *("serve", "--workers", str(workers)),
        cwd=ROOT,
        env=environment(settings),
        pipes=[STDERR],
    )
    run = Supervised(process)
    try:
        yield run
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(LIMIT_S):
                await asyncio.gather(process.wait(), run.followed())
        except TimeoutError:
            process.kill()
            await process.wait()
            raise
