"""What `compose.yaml` starts, without Docker: the image's files, commands, environment and user.

Only what one machine forces is another: ports, and the names of the stores, which are addresses.
"""

import asyncio
import hashlib
import os
import re
import signal
import socket
import subprocess
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest

from quota_service.api.tokens import TokenSecrets
from quota_service.embedded import EmbeddedPostgres
from quota_service.embedded.ports import LOOPBACK, free_loopback_port
from quota_service.embedded.programs import wheel_postgres_bin_dir
from quota_service.settings import Settings
from tests.support.compose import COMPOSE, DEMO, DOCKER, mounted, read_compose
from tests.support.image import Image
from tests.support.patience import LIMIT_S, START_LIMIT_S
from tests.support.programs import need_program
from tests.support.waiting import eventually, wait_until

PAYMENT_SECRET = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="


@dataclass(frozen=True, slots=True)
class Site:
    """The image, and what its containers find in /run/secrets."""

    image: Image
    secrets: Path

    def command(
        self, service: Mapping[str, Any], *, port: int, admin_port: int, say: Sequence[str] = ()
    ) -> tuple[list[str], dict[str, str]]:
        """Return command line and environment of a container of a service; `say` is its command."""
        command = say or service["command"]
        ports = {"QUOTA_PORT": str(port), "QUOTA_ADMIN_PORT": str(admin_port)}
        environment = {**service.get("environment", {}), **ports}
        return self.image.process([*self.image.entrypoint, *command], environment)

    def run(self, name: str, *say: str) -> subprocess.CompletedProcess[str]:
        """Run a container of a service to its end, as `docker compose run` does."""
        service = read_compose(COMPOSE)["services"][name]
        command, environment = self.command(service, port=0, admin_port=0, say=say)
        return subprocess.run(
            command,
            env=environment,
            cwd=self.image.work,
            capture_output=True,
            text=True,
            check=False,
        )

    async def is_healthy(self, admin_port: int) -> bool:
        """Ask as Docker does: by the exit status of the image's health check."""
        command, environment = self.image.process(
            self.image.healthcheck, {"QUOTA_ADMIN_PORT": str(admin_port)}
        )
        process = await asyncio.create_subprocess_exec(
            *command, env=environment, stdout=PIPE, stderr=PIPE
        )
        await process.communicate()
        return process.returncode == 0


@pytest.fixture(scope="module")
def secrets(image: Image) -> Path:
    """The folder that make-secrets.sh fills, where a container finds it."""
    folder = image.root / "run/secrets"
    done = make_secrets(folder, PAYMENT_SECRET)
    assert done.returncode == 0, done.stderr
    return folder


def make_secrets(folder: Path, given: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [DOCKER / "make-secrets.sh", folder],
        input=given,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def site(image: Image, secrets: Path, postgres_server: EmbeddedPostgres) -> Iterator[Site]:
    """The stores with these secrets, whose URLs name other places here."""
    with store_of_compose(image) as redis, database_of_compose(image, postgres_server) as postgres:
        rewrite(secrets / "redis_url", "redis:6379", redis)
        rewrite(secrets / "postgres_dsn", "postgres:5432/quota", postgres)
        rewrite(secrets / "postgres_dsn", "//quota:", "//site:")
        yield Site(image, secrets)


@contextmanager
def store_of_compose(image: Image) -> Iterator[str]:
    """Run the Redis of compose.yaml by its own command; yields its address."""
    port = free_loopback_port()
    command = [*redis_command(image), "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        assert wait_until(lambda: listens(port)), "Redis does not listen"
        yield f"{LOOPBACK}:{port}"
        process.send_signal(signal.SIGTERM)
        assert process.wait(LIMIT_S) == 0, "it ends in order"
    finally:
        process.kill()


def redis_command(image: Image) -> list[str]:
    """Return what the container of Redis runs, with the files that it mounts in place."""
    service = read_compose(COMPOSE)["services"]["redis"]
    mounted(service, image.root)
    return [image.placed(word) for word in service["command"]]


@contextmanager
def database_of_compose(image: Image, server: EmbeddedPostgres) -> Iterator[str]:
    """Make the database by make-roles.sh, called `site` as `quota` is taken; yields its place."""
    at = urlsplit(server.url)
    environment = {
        "PATH": os.pathsep.join([str(wheel_postgres_bin_dir()), os.environ["PATH"]]),
        "PGHOST": str(at.hostname),
        "PGPORT": str(at.port),
        "PGPASSWORD": str(at.password),
        "POSTGRES_USER": "quota",
    }

    def run(*command: str) -> None:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    mounted(read_compose(COMPOSE)["services"]["postgres"], image.root)
    roles = image.root / "etc/quota-service/postgres/roles.sql"
    roles.write_text(re.sub(r"\bquota(?=\b|_backup)", "site", roles.read_text()))
    script = image.root / "docker-entrypoint-initdb.d/make-roles.sh"
    run("sh", "-c", image.placed(script.read_text()))
    try:
        yield f"{at.hostname}:{at.port}/site"
    finally:
        drop = ("psql", "--quiet", "--username=quota", "--dbname=postgres")
        gone = ("DATABASE site WITH (FORCE)", "ROLE site", "ROLE site_backup")
        run(*drop, *(f"--command=DROP {what}" for what in gone))


def rewrite(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.chmod(0o644)
    path.write_text(text.replace(old, new))


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((LOOPBACK, port)) == 0


@asynccontextmanager
async def container(
    site: Site, service: Mapping[str, Any], *options: str, stores: Mapping[str, str] | None = None
) -> AsyncIterator[tuple[Process, str]]:
    """Start a service; yields process and address of the API once its health check passes.

    `stores` are the addresses of those whose URLs stand in the command.
    """
    port, admin_port = free_loopback_port(), free_loopback_port()
    say = [*service["command"], *(option.format(port, admin_port) for option in options)]
    for there, here in (stores or {}).items():
        say = [word.replace(there, here) for word in say]
    command, environment = site.command(service, port=port, admin_port=admin_port, say=say)
    assert not await site.is_healthy(admin_port), "nothing runs yet"
    log = site.image.root / f"{say[0]}-{port}.log"
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *command, env=environment, cwd=site.image.work, stdout=output, stderr=output
        )
    try:

        async def healthy() -> bool:
            assert process.returncode is None, log.read_text()
            return await site.is_healthy(admin_port)

        await eventually(healthy, within_s=START_LIMIT_S)
        yield process, f"http://{LOOPBACK}:{port}"
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def ended(process: Process) -> int:
    """Stop a process as Docker does, and return the exit status."""
    process.terminate()
    async with asyncio.timeout(LIMIT_S):
        return await process.wait()


async def status(url: str, key: str = "") -> int:
    """Return the status of a call."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    async with aiohttp.ClientSession(headers=headers) as session, session.get(url) as response:
        return response.status


async def test_what_compose_starts_becomes_healthy_serves_and_stops_in_order(site: Site) -> None:
    before = files(site.image)
    services = read_compose(COMPOSE)["services"]

    first, again = site.run("migrate"), site.run("migrate")
    made = site.run("cli", "keys", "create", "portal", "--scope", "frontend")
    async with (
        container(site, services["api-1"]) as (api, url),
        container(site, services["worker-1"]) as (worker, _),
    ):
        exams = await status(f"{url}/v1/exams", made.stdout.strip())
        statuses = await asyncio.gather(ended(api), ended(worker))

    assert (first.returncode, again.returncode) == (0, 0), first.stderr
    assert first.stdout.startswith("applied 0001")
    assert again.stdout == "nothing to apply\n"
    assert made.returncode == 0, made.stderr
    assert exams == 200
    assert statuses == [0, 0]
    assert files(site.image) == before, "nothing was written into the image"


def files(image: Image) -> dict[str, float]:
    """Return the files of the image's own folder with the times they were changed."""
    top = image.root / "opt"
    return {str(path): path.stat().st_mtime for path in top.rglob("*")}


def test_the_package_is_the_one_of_the_image(site: Site) -> None:
    """Else the repository that this Python knows would be tested in its place."""
    command, environment = site.image.process(
        ["python", "-c", "import quota_service; print(quota_service.__file__)"], {}
    )

    done = subprocess.run(
        command, env=environment, cwd=site.image.work, capture_output=True, text=True, check=False
    )

    assert done.stdout.startswith(f"{site.image.root}/opt/quota-service/lib/"), done.stderr
    (vendor,) = (Path(done.stdout.strip()).parent / "web").glob("vendor")
    assert len(list(vendor.glob("*.LICENSE.txt"))) == 3


@pytest.mark.system
def test_the_health_checks_of_the_stores_pass_once_they_serve(
    site: Site, postgres_server: EmbeddedPostgres
) -> None:
    services = read_compose(COMPOSE)["services"]
    redis = urlsplit((site.secrets / "redis_url").read_text())
    _, ping = services["redis"]["healthcheck"]["test"]
    ping = ping.replace("$$", "$").replace("redis-cli", f"{need_program('redis-cli')} -p {{}}")
    _, _, *asked = services["postgres"]["healthcheck"]["test"]
    ready = [f"{wheel_postgres_bin_dir()}/pg_isready", *asked]

    def healthy(port: int | None) -> tuple[int, int]:
        pinged = subprocess.run(["sh", "-c", site.image.placed(ping.format(port))], check=False)
        asked = subprocess.run([*ready, f"--port={port}"], check=False)
        return pinged.returncode, asked.returncode

    assert healthy(redis.port)[0] == 0
    assert healthy(urlsplit(postgres_server.url).port)[1] == 0
    assert 0 not in healthy(free_loopback_port())


def test_time_zones_are_there_without_those_of_the_system(site: Site) -> None:
    command, environment = site.image.process(
        ["python", "-c", "import zoneinfo; print(zoneinfo.ZoneInfo('Asia/Shanghai'))"],
        {"PYTHONTZPATH": ""},
    )

    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    assert done.stdout == "Asia/Shanghai\n", done.stderr


def test_a_secret_that_cannot_be_read_is_named_with_its_setting(site: Site) -> None:
    (site.secrets / "payment_secrets").rename(site.secrets / "away")
    try:
        done = site.run("api-1")
    finally:
        (site.secrets / "away").rename(site.secrets / "payment_secrets")

    assert done.returncode == 1
    assert done.stderr.startswith("quota-service: QUOTA_PAYMENT_SECRETS_FILE cannot be read: ")
    assert f"{site.secrets}/payment_secrets" in done.stderr


@pytest.mark.usefixtures("secrets")
def test_a_redis_memory_that_is_no_size_is_named(image: Image) -> None:
    broken = ["plenty" if word == "2gb" else word for word in redis_command(image)]

    done = subprocess.run(broken, capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert 'maxmemory "plenty"' in done.stdout + done.stderr


@pytest.mark.usefixtures("secrets")
def test_a_file_of_users_of_redis_that_was_not_filled_in_is_named(image: Image) -> None:
    command = redis_command(image)
    unfilled = str(DOCKER.parent / "redis/users.acl")

    done = subprocess.run(
        [unfilled if word.endswith("/redis_users") else word for word in command],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert unfilled in done.stdout + done.stderr


@pytest.mark.usefixtures("secrets")
def test_a_password_of_a_role_that_is_missing_is_named_with_its_file(image: Image) -> None:
    script = (DOCKER / "make-roles.sh").read_text()
    nowhere = script.replace("postgres_backup_password", "no_such_password")

    done = subprocess.run(
        ["sh", "-c", image.placed(nowhere)], capture_output=True, text=True, check=False
    )

    assert done.returncode != 0
    assert "/run/secrets/no_such_password" in done.stderr


def test_secrets_are_made_once_and_stay(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"

    first = make_secrets(folder, PAYMENT_SECRET)
    made = {path.name: path.read_text() for path in folder.iterdir()}
    again = make_secrets(folder, "")

    assert (first.returncode, again.returncode) == (0, 0), first.stderr + again.stderr
    assert made == {path.name: path.read_text() for path in folder.iterdir()}
    assert made.keys() - read_compose(COMPOSE)["secrets"].keys() == {"redis_password"}
    assert read_compose(COMPOSE)["secrets"].keys() <= made.keys()
    assert made["payment_secrets"].strip() == PAYMENT_SECRET
    assert not TokenSecrets(made["candidate_token_secrets"].strip()).is_empty
    assert made["redis_password"] in made["redis_url"]
    for name in ("redis_password", "redis_ops_password"):
        assert f"#{hashlib.sha256(made[name].encode()).hexdigest()} " in made["redis_users"]
    assert made["postgres_quota_password"] in made["postgres_dsn"]
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o444}


@pytest.mark.parametrize("given", ["", "secret\n"])
def test_a_payment_secret_that_is_missing_or_none_is_named_with_its_file(
    given: str, tmp_path: Path
) -> None:
    done = make_secrets(tmp_path / "secrets", given)

    assert done.returncode == 1
    assert f"{tmp_path}/secrets/payment_secrets is missing" in done.stderr
    assert list((tmp_path / "secrets").iterdir()) == []


async def test_the_demo_of_compose_becomes_healthy_with_an_exam(
    image: Image, settings: Settings, tmp_path: Path
) -> None:
    demo = read_compose(DEMO)["services"]["demo"]
    stores = {
        "redis://redis:6379/0": settings.redis_url,
        "postgresql://quota:demo@postgres:5432/quota": settings.postgres_dsn,
    }
    options = ("--port={0}", "--admin-port={1}", "--frontend-port=0")

    async with container(Site(image, tmp_path), demo, *options, stores=stores) as (process, url):
        answered = await status(f"{url}/v1/exams/ccaa-2023-1/availability?subjects=ems")
        ending = await ended(process)

    assert (answered, ending) == (200, 0)
