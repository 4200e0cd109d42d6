"""The export as a stream: flat memory, few at once, and never an end that looks whole and is not.

The Postgres of this module is its own, because it is killed. Its template has the bookings that the
tests export, so that they are made once.
"""

import gc
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress

import aiohttp
import asyncpg
import pytest

from quota_service.api.exports import ExportLimits
from quota_service.app.opening import open_service
from quota_service.embedded import EmbeddedPostgres
from quota_service.ledger.migrations import migrate
from quota_service.settings import Settings
from tests.conftest import Running
from tests.support.client import ApiClient
from tests.support.exams import make_exam
from tests.support.ledgers import store_exam
from tests.support.raw_http import connect, request
from tests.support.refusals import assert_refused
from tests.support.servers import kill
from tests.support.waiting import eventually

_DATABASE = "postgres"
PATH = "/v1/exams/exam-1/bookings.csv"
LARGE = 10_000
"""Bookings with references of 3,000 characters: far more than any socket buffers on its way."""

_ID = "'exam-1.0.' || lpad(translate(n::text, '0189', 'abcd'), 24, 'a')"
_INSERT = f"""
INSERT INTO payment_events (event, reservation, status, outcome, amount, currency, paid_at,
                            provider_reference, body_hash)
SELECT 'e-' || n, {_ID}, 'captured', 'confirmed', 8000, 'CNY', now(),
       repeat('x', %(width)d) || n, ''
FROM   generate_series(%(first)d, %(last)d) n;
INSERT INTO bookings (reservation, exam, candidate, venue, amount, currency, event, reserved_at)
SELECT {_ID}, 'exam-1', 'candidate-' || n, 'jinan', 8000, 'CNY', 'e-' || n, now()
FROM   generate_series(%(first)d, %(last)d) n;
INSERT INTO booking_items (reservation, exam, candidate, session, venue, subject)
SELECT {_ID}, 'exam-1', 'candidate-' || n, 'day1-am', 'jinan', 'general'
FROM   generate_series(%(first)d, %(last)d) n;
"""  # noqa: S608  numbers only are put in


@pytest.fixture(scope="module")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres(tmp_path_factory.mktemp("export-postgres")) as server:
        yield server


@pytest.fixture(scope="module")
async def migrated_template(postgres_server: EmbeddedPostgres) -> str:
    settings = Settings(postgres_dsn=postgres_server.url)
    async with open_service(settings) as service:
        await migrate(service.stores.ledger)
        await store_exam(service.stores.ledger, make_exam())
    await execute(settings, _INSERT % {"first": 1, "last": LARGE, "width": 3_000})
    return _DATABASE


async def execute(settings: Settings, statement: str) -> None:
    connection = await asyncpg.connect(settings.postgres_dsn)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


@asynccontextmanager
async def begun(api: ApiClient) -> AsyncIterator[aiohttp.ClientResponse]:
    """An export of which the first bytes have come, on a connection of its own."""
    headers = {"Authorization": f"Bearer {api.ops_key}"}
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{api.url}{PATH}", headers=headers) as response,
    ):
        assert response.status == 200
        assert await response.content.readany()
        yield response


async def peak_bytes(api: ApiClient, expected: int) -> int:
    """Return the most memory that an export of so many bookings had taken at once."""
    gc.collect()
    tracemalloc.reset_peak()
    before, _ = tracemalloc.get_traced_memory()
    headers = {"Authorization": f"Bearer {api.ops_key}"}
    found = 0
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{api.url}{PATH}", headers=headers) as response,
    ):
        async for chunk in response.content.iter_chunked(65_536):
            found += chunk.count(b"\n")
    _, peak = tracemalloc.get_traced_memory()
    assert found == expected + 1
    return peak - before


async def is_served(api: ApiClient) -> bool:
    """Return whether an export is served; fail when it is not whole."""
    reply = await api.get(PATH, key=api.ops_key)
    if reply.status != 200:
        return False
    assert reply.body.count(b"\r\n") == LARGE + 1
    return True


async def test_memory_does_not_grow_with_the_number_of_bookings(
    running: Running, settings: Settings
) -> None:
    few, many = 5_000, 25_000
    await execute(settings, "TRUNCATE booking_items, bookings, payment_events CASCADE")
    await execute(settings, _INSERT % {"first": 1, "last": few, "width": 10})
    tracemalloc.start()
    try:
        await peak_bytes(running.client, few)
        small = await peak_bytes(running.client, few)
        await execute(settings, _INSERT % {"first": few + 1, "last": many, "width": 10})
        large = await peak_bytes(running.client, many)
    finally:
        tracemalloc.stop()

    assert large < 2 * small, (small, large)


async def test_without_postgres_an_export_is_answered_503_before_anything_is_sent(
    running: Running, postgres_server: EmbeddedPostgres
) -> None:
    kill(postgres_server)
    try:
        reply = await running.client.get(PATH, key=running.client.ops_key)
    finally:
        postgres_server.start()

    assert_refused(reply, 503, "not-ready")
    assert reply.json["part"] == "ledger"
    assert "Content-Disposition" not in reply.headers
    await eventually(lambda: is_served(running.client))


@pytest.mark.settings(ExportLimits(at_once_max=1))
async def test_when_postgres_dies_in_the_middle_the_client_sees_that_the_file_is_not_whole(
    running: Running, postgres_server: EmbeddedPostgres
) -> None:

    async with begun(running.client) as response:
        kill(postgres_server)
        try:
            with pytest.raises(aiohttp.ClientPayloadError):
                await response.read()
        finally:
            postgres_server.start()

    await eventually(lambda: is_served(running.client))


@pytest.mark.settings(ExportLimits(at_once_max=1, timeout_s=1))
async def test_an_export_that_takes_too_long_is_broken_off_and_nothing_else_is_sent(
    running: Running,
) -> None:
    reader, writer = await connect(running.client.url)
    writer.write(request("GET", PATH, f"Authorization: Bearer {running.client.ops_key}"))
    exports = running.service.context.exports

    received = await reader.readuntil(b"\r\n\r\n")

    async def is_over() -> bool:
        return not exports.locked()

    await eventually(is_over)
    with suppress(ConnectionError):
        while data := await reader.read(2**20):
            received += data
    writer.close()
    assert received.count(b"HTTP/1.1 ") == 1
    assert not received.endswith(b"\r\n0\r\n\r\n")


@pytest.mark.settings(ExportLimits(at_once_max=1))
async def test_an_export_beyond_the_limit_is_refused_until_another_has_ended(
    running: Running,
) -> None:
    api = running.client

    async with begun(api) as response:
        beyond = await api.get(PATH, key=api.ops_key)
        other_calls = await api.get("/v1/exams/exam-1/refunds-due", key=api.ops_key)
        rest = await response.read()

    assert_refused(beyond, 503, "overloaded")
    assert int(beyond.headers["Retry-After"]) >= 1
    assert other_calls.status == 200
    assert rest.endswith(b"\r\n")
    await eventually(lambda: is_served(api))


@pytest.mark.settings(ExportLimits(at_once_max=2))
async def test_as_many_exports_as_the_limit_allows_are_served_at_once(running: Running) -> None:
    api = running.client

    async with begun(api) as first, begun(api) as second:
        beyond = await api.get(PATH, key=api.ops_key)
        rests = [await first.read(), await second.read()]

    assert_refused(beyond, 503, "overloaded")
    assert all(rest.endswith(b"\r\n") for rest in rests)


@pytest.mark.settings(ExportLimits(at_once_max=1))
async def test_a_client_that_leaves_in_the_middle_makes_room_for_the_next(running: Running) -> None:
    api = running.client

    async with begun(api) as response:
        assert running.service.context.exports.locked()
        response.close()

    await eventually(lambda: is_served(api))


@pytest.mark.settings(ExportLimits(at_once_max=1))
async def test_a_refused_export_takes_no_room(
    running: Running, postgres_server: EmbeddedPostgres
) -> None:
    api = running.client
    kill(postgres_server)
    try:
        refused = [await api.get(PATH, key=api.ops_key) for _ in range(3)]
    finally:
        postgres_server.start()

    assert [reply.slug for reply in refused] == ["not-ready"] * 3
    await eventually(lambda: is_served(api))
