"""An address that cannot be had: the message says which settings choose it."""

import asyncio
import dataclasses
import socket
from collections.abc import Iterator

import pytest

from quota_service.app.opening import Service
from quota_service.app.running import run_service
from quota_service.settings import SettingsError


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        yield taken.getsockname()[1]


async def listen(service: Service, *, api: bool, workers: bool, **changed: object) -> None:
    settings = dataclasses.replace(service.settings, **changed)  # type: ignore[arg-type]
    other = dataclasses.replace(service, settings=settings)
    await run_service(other, asyncio.Event(), api=api, workers=workers)


async def test_a_worker_beside_the_api_is_told_the_setting_of_its_admin_port(
    service: Service, taken_port: int
) -> None:
    with pytest.raises(SettingsError) as refused:
        await listen(service, api=False, workers=True, admin_port=taken_port)

    assert str(refused.value) == (
        f"cannot listen on 127.0.0.1:{taken_port}: Address already in use; choose another address "
        "with QUOTA_ADMIN_PORT and QUOTA_ADMIN_HOST (the demo takes --admin-port and --host)"
    )


async def test_the_setting_of_the_port_of_the_api_is_named(
    service: Service, taken_port: int
) -> None:
    with pytest.raises(SettingsError, match=r"in use; .* QUOTA_PORT and QUOTA_HOST .*--port "):
        await listen(service, api=True, workers=False, port=taken_port)


async def test_the_setting_of_a_host_that_is_not_of_this_machine_is_named(service: Service) -> None:
    with pytest.raises(SettingsError, match=r"192\.0\.2\.1.*Cannot assign.*QUOTA_ADMIN_HOST"):
        await listen(service, api=False, workers=False, admin_host="192.0.2.1")
