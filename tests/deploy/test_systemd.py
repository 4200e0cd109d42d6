"""The units of `deploy/systemd/`: checked by systemd's own programs, their commands run as written.

No systemd runs here: what its hardening forbids is compared with what the processes are seen to do.
"""

import asyncio
import dataclasses
import shutil
import subprocess
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from quota_service.app.shutdown import shutdown_max_s
from quota_service.embedded.ports import free_loopback_port
from quota_service.settings import Settings, read_settings
from tests.support.image import Image
from tests.support.patience import LIMIT_S, START_LIMIT_S
from tests.support.programs import need_program
from tests.support.units import SHARED, SYSTEMD, UNITS, Unit, forbidden
from tests.support.waiting import eventually

pytestmark = pytest.mark.system

API = SYSTEMD / "quota-api@.service"
WORKER = SYSTEMD / "quota-worker@.service"
MIGRATE = SYSTEMD / "quota-migrate.service"
EXPOSURE_MAX = 13
"""Tenths of 10; what is left is the network, and that resources may be set."""

of_each_unit = pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)


@pytest.fixture
def installed(tmp_path: Path, image: Image) -> Path:
    """The units where systemd finds them, with the commands where the tests have them."""
    need_program("curl")
    folder = tmp_path / "system"
    shutil.copytree(SYSTEMD, folder)
    for path in folder.glob("*.service"):
        path.write_text(image.placed(path.read_text()))
    return folder


def analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [need_program("systemd-analyze"), "--no-pager", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


def test_systemd_finds_nothing_in_the_units(installed: Path) -> None:
    paths = [installed / path.name for path in (*UNITS, SYSTEMD / "quota-service.target")]

    done = analyze("verify", "--man=no", *paths)

    assert (done.returncode, done.stderr) == (0, "")


@of_each_unit
def test_a_unit_is_exposed_no_more_than_it_has_to_be(unit: Path, installed: Path) -> None:
    done = analyze(
        "security", "--offline=true", f"--threshold={EXPOSURE_MAX}", installed / unit.name
    )

    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("file", "right", "wrong"),
    [
        ("quota-api@.service", "Restart=always", "Restart=often"),
        ("quota-worker@.service", "TimeoutStopSec=30s", "TimeoutStopSec=soon"),
        ("quota-migrate.service", "Type=oneshot", "Type=once"),
        ("quota-service.target", "Description=", "Descripton="),
        ("quota-.service.d/contained.conf", "ProtectSystem=strict", "ProtectSystem=strictly"),
    ],
)
def test_a_wrong_value_is_named_with_its_file(
    file: str, right: str, wrong: str, installed: Path
) -> None:
    path = installed / file
    assert right in path.read_text()
    path.write_text(path.read_text().replace(right, wrong))
    units = [installed / unit.name for unit in (API, WORKER, MIGRATE)]

    done = analyze("verify", "--man=no", *units, installed / "quota-service.target")

    name, _, value = wrong.partition("=")
    assert str(path) in done.stderr
    assert (value or name) in done.stderr


def test_a_unit_without_its_hardening_is_found(installed: Path) -> None:
    (installed / SHARED.relative_to(SYSTEMD)).unlink()

    done = analyze(
        "security", "--offline=true", f"--threshold={EXPOSURE_MAX}", installed / API.name
    )

    assert done.returncode != 0


def test_the_folders_are_made_for_root_alone(tmp_path: Path) -> None:
    made = tmpfiles(tmp_path, (SYSTEMD / "quota-service.tmpfiles.conf").read_text())

    assert (made.returncode, made.stderr) == (0, "")
    assert (tmp_path / "etc/quota-service").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "etc/quota-service/secrets").stat().st_mode & 0o777 == 0o700


def test_a_wrong_mode_of_a_folder_is_named_with_its_file(tmp_path: Path) -> None:
    text = (SYSTEMD / "quota-service.tmpfiles.conf").read_text()

    made = tmpfiles(tmp_path, text.replace("0700", "0900"))

    assert made.returncode != 0
    assert "quota-service.conf" in made.stderr
    assert "0900" in made.stderr


def tmpfiles(root: Path, text: str) -> subprocess.CompletedProcess[str]:
    """Make what a file of tmpfiles.d says, below another folder than /."""
    file = root / "etc/tmpfiles.d/quota-service.conf"
    file.parent.mkdir(parents=True)
    file.write_text(text)
    return subprocess.run(
        [need_program("systemd-tmpfiles"), "--create", f"--root={root}", "quota-service.conf"],
        capture_output=True,
        text=True,
        check=False,
    )


@of_each_unit
def test_the_settings_of_a_unit_are_ones_and_its_credentials_are_loaded(
    unit: Path, tmp_path: Path
) -> None:
    read = Unit(unit, {"%i": "1", "%d": str(tmp_path)})
    for name in read.credentials():
        (tmp_path / name).write_text("whsec_AAAA")

    environment = read.environment()
    settings = read_settings(environment)

    files = {Path(text).name for name, text in environment.items() if name.endswith("_FILE")}
    assert files == set(read.credentials())
    for name, path in read.credentials().items():
        assert path == Path("/etc/quota-service/secrets") / name
    if unit != MIGRATE:
        stop = read.values("TimeoutStopSec")[-1]
        assert shutdown_max_s(settings) < float(stop.removesuffix("s")), "TimeoutStopSec"


def test_processes_listen_where_prometheus_and_the_proxy_look_for_them() -> None:
    for unit, first in ((API, 9090), (WORKER, 9190)):
        targets = (SYSTEMD.parent / f"prometheus/targets/{unit.name[:-9]}.yml").read_text()
        for number in (0, 1):
            environment = Unit(unit, {"%i": str(number), "%d": ""}).environment()
            assert int(environment["QUOTA_ADMIN_PORT"]) == first + number
            assert f"127.0.0.1:{first + number}" in targets
    ports = [Unit(API, {"%i": str(number), "%d": ""}).environment() for number in (0, 1)]
    assert [told["QUOTA_PORT"] for told in ports] == ["8080", "8081"]


class Host:
    """What a host with systemd has: the installation, and the secrets that units load."""

    def __init__(self, image: Image, settings: Settings, folder: Path) -> None:
        path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin"
        self.image = dataclasses.replace(image, environment={"PATH": path})
        self.folder = folder
        # As a grandchild (-D), so that signals go to what is traced.
        self._strace = (str(need_program("strace")), "-D", "-f", "-qq", "-o")
        for name in ("redis_url", "postgres_dsn", "payment_secrets", "candidate_token_secrets"):
            (folder / name).write_text(getattr(settings, name))

    async def run(
        self, unit: Unit, directive: str, *, traced: bool = False, **extra: str
    ) -> Process:
        """Start a command of a unit as an ordinary user, with the unit's variables."""
        environment = {**unit.environment(), **extra}
        command, told = self.image.process(unit.command(directive), environment)
        if traced:
            command = [*self._strace, str(self._trace(unit)), *command]
        return await asyncio.create_subprocess_exec(
            *command, env=told, cwd="/", stdout=PIPE, stderr=PIPE
        )

    def _trace(self, unit: Unit) -> Path:
        return self.folder / f"{unit.name}.trace"

    def forbidden(self, unit: Unit) -> set[str]:
        """Return what a traced command did that its unit forbids, after it became its user."""
        trace = self._trace(unit).read_text(errors="replace")
        program = unit.command("ExecStart")[0]
        return forbidden(unit, trace[trace.index(f'execve("{self.image.placed(program)}"') :])

    @asynccontextmanager
    async def started(self, path: Path, number: str) -> AsyncIterator[tuple[Process, Unit]]:
        """Start a unit; yields it once its ExecStartPost says that it is ready."""
        ports = {port: str(free_loopback_port()) for port in ("808%i", "909%i", "919%i")}
        unit = Unit(path, {**ports, "%i": number, "%d": str(self.folder)})
        process = await self.run(unit, "ExecStart", traced=True)
        try:

            async def ready() -> bool:
                assert process.returncode is None, await process.communicate()
                waiting = await self.run(unit, "ExecStartPost")
                await waiting.communicate()
                return waiting.returncode == 0

            await eventually(ready, within_s=START_LIMIT_S)
            yield process, unit
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


@pytest.fixture
def host(image: Image, settings: Settings, tmp_path: Path) -> Host:
    need_program("curl")
    return Host(image, settings, tmp_path)


async def test_what_the_units_start_serves_ends_in_order_and_does_nothing_forbidden(
    host: Host,
) -> None:
    migrate = Unit(MIGRATE, {"%d": str(host.folder)})
    migrating = await host.run(migrate, "ExecStart", traced=True)
    told, _ = await migrating.communicate()
    async with (
        host.started(API, "0") as (api, api_unit),
        host.started(WORKER, "1") as (worker, worker_unit),
        aiohttp.ClientSession() as session,
    ):
        environment = api_unit.environment()
        served = [
            await status(session, f"{environment[port]}{path}")
            for port, path in (
                ("QUOTA_PORT", "/livez"),
                ("QUOTA_PORT", "/docs"),
                ("QUOTA_ADMIN_PORT", "/metrics"),
            )
        ]
        ends = await asyncio.gather(ended(api), ended(worker))

    assert (migrating.returncode, told) == (0, b"nothing to apply\n")
    assert served == [200, 200, 200]
    assert ends == [0, 0]
    for unit in (migrate, api_unit, worker_unit):
        assert host.forbidden(unit) == set(), unit.name


async def status(session: aiohttp.ClientSession, place: str) -> int:
    async with session.get(f"http://127.0.0.1:{place}") as response:
        return response.status


async def ended(process: Process) -> int:
    process.terminate()
    async with asyncio.timeout(LIMIT_S):
        await process.communicate()
    assert process.returncode is not None
    return process.returncode


async def test_a_value_of_the_environment_file_that_is_wrong_is_named(host: Host) -> None:
    unit = Unit(MIGRATE, {"%d": str(host.folder)})
    assert "QUOTA_POSTGRES_POOL_MAX" in unit.environment()

    process = await host.run(unit, "ExecStart", QUOTA_POSTGRES_POOL_MAX="many")
    _, told = await process.communicate()

    assert process.returncode == 1
    assert told.startswith(b"quota-service: QUOTA_POSTGRES_POOL_MAX is 'many'; it takes ")
