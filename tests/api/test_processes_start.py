"""How a service of several processes starts: its ports, and what keeps it from starting."""

import asyncio
import dataclasses
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from quota_service import cli
from quota_service.app import processes
from quota_service.embedded.ports import free_loopback_port
from quota_service.settings import Settings, SettingsError
from tests.support.patience import START_LIMIT_S
from tests.support.supervised import started, supervised


@contextmanager
def listening(port: int = 0, *, reuse_port: bool = False) -> Iterator[int]:
    """Somebody else on a port of loopback; yields its number."""
    with socket.create_server(("127.0.0.1", port), reuse_port=reuse_port) as taken:
        yield taken.getsockname()[1]


async def test_admin_ports_are_counted_on_from_the_setting(settings: Settings) -> None:
    first = free_loopback_port(2)
    async with supervised(dataclasses.replace(settings, admin_port=first), 2) as run:
        admins = run.admins()
        told = run.said("starting API processes")

    assert admins == {1: f"http://127.0.0.1:{first}", 2: f"http://127.0.0.1:{first + 1}"}
    assert [line["admin"] for line in told] == [[f"127.0.0.1:{first}", f"127.0.0.1:{first + 1}"]]
    assert run.api == f"http://{told[0]['api']}"
    assert {line["api"] for line in run.said("listening")} == {run.api}


@pytest.mark.parametrize("reuse_port", [False, True], ids=["alone", "shared"])
async def test_a_port_that_is_taken_ends_it_before_it_starts_processes(
    settings: Settings, *, reuse_port: bool
) -> None:
    with listening(reuse_port=reuse_port) as port:
        async with started(dataclasses.replace(settings, port=port), 2) as run:
            status = await asyncio.wait_for(run.process.wait(), START_LIMIT_S)
            await run.followed()

    assert status == 1
    assert "in use; choose another address with QUOTA_PORT" in run.tail
    assert run.pids() == {}


async def test_an_admin_port_that_is_taken_ends_it_before_it_starts_processes(
    settings: Settings,
) -> None:
    first = free_loopback_port(2)
    with listening(first + 1) as port:
        async with started(dataclasses.replace(settings, admin_port=first), 2) as run:
            status = await asyncio.wait_for(run.process.wait(), START_LIMIT_S)
            await run.followed()

    assert status == 1
    assert f":{port}: Address already in use" in run.tail
    assert "choose another address with QUOTA_ADMIN_PORT" in run.tail
    assert run.pids() == {}


async def test_admin_ports_beyond_the_last_port_are_refused() -> None:
    settings = Settings(port=0, admin_port=65_534)

    with pytest.raises(SettingsError, match=r"QUOTA_ADMIN_PORT is 65534; .* up to 65533 with 3"):
        await processes.serve_in_processes(settings, 3)


@pytest.mark.parametrize("count", ["0", "-1", "65", "two", "1.5", ""])
def test_a_number_of_processes_that_cannot_be_is_refused(
    count: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["serve", "--workers", count])

    assert ended.value.code == 2
    assert "from 1 to 64" in capsys.readouterr().err


async def test_one_process_serves_by_itself_and_shares_its_port_with_nobody(
    settings: Settings,
) -> None:
    async with supervised(settings) as run:
        port = int(run.api.rpartition(":")[2])
        with pytest.raises(OSError, match="in use"), listening(port, reuse_port=True):
            pass
        samples = await run.scrape()
        status = await run.end()

    assert run.pids() == {}
    assert {line["pid"] for line in run.said("listening")} == {run.process.pid}
    assert ("process_resident_memory_bytes", frozenset()) in samples
    assert status == 0
