"""The stores as `deploy/redis/` and `deploy/postgres/` configure them, and the service on them."""

import asyncio
import dataclasses
import re
from functools import partial
from pathlib import Path

import asyncpg
import pytest
import redis.asyncio

from quota_service.embedded import EmbeddedError
from quota_service.seats.fitness import server_warnings
from quota_service.settings import SettingsError
from tests.support.opening_day import EXAM, live_through_a_day
from tests.support.servers import redis_programs
from tests.support.service_cli import command, environment
from tests.support.serving import Serving
from tests.support.shipped_site import site_on
from tests.support.shipped_stores import (
    DEPLOY,
    PASSWORDS,
    ProgramFailedError,
    ShippedPostgres,
    ShippedRedis,
    shipped_postgres,
)
from tests.support.waiting import eventually

ROOT = Path(__file__).parents[2]


def ops_of(server: ShippedRedis) -> "redis.asyncio.Redis":
    return redis.asyncio.Redis.from_url(server.url_of("ops"), decode_responses=True)


async def check_day_is_kept(site: Serving) -> None:
    """Fail unless what the day has booked is booked, and both stores agree."""
    api = site.client
    seen = (await api.get(f"/v1/exams/{EXAM}/candidates/moves")).json
    assert [each["state"] for each in seen["reservations"]] == ["confirmed"]
    audited = (await api.get(f"/v1/exams/{EXAM}/audit", key=api.ops_key)).json
    assert audited["differences"] == []


async def serves_again(site: Serving) -> bool:
    return (await site.client.get(f"/v1/exams/{EXAM}/audit", key=site.client.ops_key)).status == 200


@pytest.mark.parametrize("program", redis_programs())
async def test_a_whole_day_is_lived_by_the_users_that_are_shipped(
    empty: ShippedPostgres, tmp_path: Path, program: Path
) -> None:
    with ShippedRedis(tmp_path / "redis", binary=program) as server:
        async with site_on(server, empty) as site:
            warned = await server_warnings(site.service.stores.runners)
            warned += await site.service.stores.reader.server_warnings()
            await live_through_a_day(site)
            async with ops_of(server) as ops:
                await ops.flushall()
            await eventually(partial(serves_again, site))
            await check_day_is_kept(site)
        async with ops_of(server) as ops:
            refused = await ops.acl_log()
    assert warned == []
    assert refused == []


def test_the_user_of_the_service_has_the_commands_that_are_used_and_no_others() -> None:
    (rule,) = [
        line for line in (DEPLOY / "redis/users.acl").read_text().splitlines() if " quota " in line
    ]
    given = {word[1:] for word in rule.split() if word.startswith("+")}
    in_scripts = {
        name.lower()
        for script in (ROOT / "lua").rglob("*.lua")
        for name in re.findall(r"redis\.p?call\('(\w+)", script.read_text())
    }
    words = r'(?:[( \[]|^ *)"([A-Z]+)(?:"| (INFO|SLOTS)"),? ?(?:"(LOAD|EXISTS|GET)")?'
    in_code = {
        "|".join(filter(None, found)).lower()
        for module in (ROOT / "quota_service/seats").glob("*.py")
        for found in re.findall(words, module.read_text(), re.MULTILINE)
    } - {"match", "count"}  # arguments of SCAN
    of_the_client = {"hello", "client|setname"}

    assert given == in_scripts | in_code | of_the_client


async def test_the_role_of_the_service_is_the_owner_of_its_database_and_nothing_else(
    postgres: ShippedPostgres,
) -> None:
    connection = await asyncpg.connect(postgres.dsn)
    roles = await connection.fetch(
        "SELECT rolname, rolsuper, rolcreatedb, rolcreaterole, rolreplication FROM pg_roles"
        " WHERE rolname ^@ 'quota' ORDER BY rolname"
    )
    await connection.close()

    assert [tuple(role) for role in roles] == [
        ("quota", False, False, False, False),
        ("quota_backup", False, False, False, True),
    ]
    for dsn in (postgres.dsn_of("postgres"), postgres.dsn_of("quota_backup")):
        with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError, match=r"pg_hba\.conf"):
            await asyncpg.connect(dsn)


@pytest.mark.parametrize("program", redis_programs())
@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("appendonly yes", "appendonly maybe", r"at line \d+\s+>>> 'appendonly maybe'"),
        ("maxmemory 2gb", "maxmemory plenty", r"at line \d+\s+>>> 'maxmemory plenty'"),
        ("users.acl", "nobody.acl", r"nobody\.acl"),
        ("quota on #PASSWORD_SHA256", "quota on #secret", r"users\.acl:2: .*hash must be .* 64"),
        ("+zscore", "+zcsore", r"users\.acl:2: .*'\+zcsore'"),
    ],
)
def test_redis_says_what_is_wrong_in_its_files(
    tmp_path: Path, program: Path, before: str, after: str, told: str
) -> None:
    with (
        pytest.raises(EmbeddedError, match=told),
        ShippedRedis(tmp_path / "redis", binary=program, breaks={before: after}),
    ):
        pass


def test_postgres_says_what_is_wrong_in_its_files() -> None:
    broken = [
        ("fsync = on", "fsync = maybe", r'"fsync" requires a Bool.*postgresql\.conf'),
        ("wal_level = replica", "wal_level = none", r'"wal_level": "none".*postgresql\.conf'),
        ("samenet   scram", "samenet   sram", r'"sram-sha-256".*pg_hba\.conf'),
        ("pg_hba.conf'", "no_hba.conf'", r"no_hba\.conf"),
    ]
    with shipped_postgres() as cluster:
        for before, after, told in broken:
            with (
                pytest.raises(ProgramFailedError, match=f"(?s){told}"),
                cluster.serving({before: after}),
            ):
                pass
        for missing in PASSWORDS:
            passwords = {name: text for name, text in PASSWORDS.items() if name != missing}
            with pytest.raises(ProgramFailedError, match=f"roles.sql: {missing} is not set"):
                cluster.make_roles(passwords)


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("noeviction", "allkeys-lru", "maxmemory-policy is 'allkeys-lru'"),
        ("appendonly yes", "appendonly no", "appendonly is 'no'"),
        ("+script|load", "", "no permissions to run the 'script|load' command"),
        ("user quota on", "user quota off", "invalid username-password pair or user is disabled"),
    ],
)
async def test_a_redis_that_will_not_do_is_refused_at_the_start(
    empty: ShippedPostgres, tmp_path: Path, before: str, after: str, told: str
) -> None:
    with (
        ShippedRedis(tmp_path / "redis", breaks={before: after}) as server,
        pytest.raises(SettingsError, match=rf"^QUOTA_REDIS_URL: .*{re.escape(told)}[^\n]*$"),
    ):
        async with site_on(server, empty):
            pass


@pytest.mark.parametrize("words", [("worker",), ("serve", "--workers", "2")])
async def test_a_role_without_rights_ends_a_start_with_one_line(
    empty: ShippedPostgres, tmp_path: Path, words: tuple[str, ...]
) -> None:
    with ShippedRedis(tmp_path / "redis") as server:
        async with site_on(server, empty) as site, site.service.stores.ledger.connection() as owner:
            await owner.execute("REVOKE DELETE ON bookings, refunds FROM quota")
            settings = dataclasses.replace(site.service.settings, limits=())
        process = await asyncio.create_subprocess_exec(
            *command(*words),
            cwd=ROOT,
            env=environment(settings),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, told = await process.communicate()

    assert (process.returncode, out) == (1, b"")
    (line,) = [line for line in told.decode().splitlines() if not line.startswith("{")]
    said = "role quota may not read and write bookings, refunds; give it"
    assert line.startswith(f"quota-service: QUOTA_POSTGRES_DSN: {said}")
