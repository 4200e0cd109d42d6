"""The first hour of `deploy/README.md`: its blocks are run in their order on an empty folder."""

import json
import os
import pwd
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from quota_service.embedded import find_postgres_bin_dir
from quota_service.embedded.parent_death import die_with_parent
from quota_service.embedded.ports import LOOPBACK
from quota_service.embedded.program_copies import reachable_by_all
from tests.support.alerting import ROOT
from tests.support.patience import PATIENT_VARIABLES, START_LIMIT_S
from tests.support.processes import descendants, send
from tests.support.programs import PACKAGES, need_program
from tests.support.runnable import runnable

pytestmark = pytest.mark.system

DEPLOY = ROOT / "deploy"
MAKE_SITE = DEPLOY / "host/make-site.sh"
HOUR = (DEPLOY / "README.md").read_text().split("## The first hour\n")[1].split("\n## ")[0]
CHECKLIST = (DEPLOY / "runbooks/OpeningDay.md").read_text()
PORTS = (
    "HTTPS_PORT",
    "API_PORT",
    "API_ADMIN_PORT",
    "WORKER_ADMIN_PORT",
    "REDIS_PORT",
    "POSTGRES_PORT",
    "PROXY_METRICS_PORT",
    "PROMETHEUS_PORT",
    "ALERTMANAGER_PORT",
)
LIMIT_S = 600
SHORTEN = r"""
sed -i -E "s/^( *scrape_(interval|timeout)): [45]s/\1: 2s/" "$SITE/prometheus/prometheus.yml"
sed -i -E "s/^( *evaluation_interval): .*/\1: 500ms/" "$SITE/prometheus/prometheus.yml"
sed -i -E "s/^( *for): .*/\1: 1s/" "$SITE/prometheus/rules/alerts.yml"
sed -i -E "s/ fall 2 / fall 99 /; s/timeout (connect|queue) 1s/timeout \1 30s/" \
    "$SITE/haproxy/haproxy.cfg"
export QUOTA_SHUTDOWN_NOTICE_S=0
"""
"""What is in its place gets shorter times, and the proxy patience."""


def values() -> dict[str, str]:
    """Return what this machine gives in the place of the defaults."""
    bin_dir = find_postgres_bin_dir()
    own = pwd.getpwuid(os.geteuid()).pw_name
    postgres_user, proxy_user = own, own
    if own == "root":
        bin_dir = reachable_by_all(bin_dir)
        postgres_user, proxy_user = "nobody", "haproxy"
    first = free_block(2 * len(PORTS))
    return {
        "POSTGRES_BIN": str(bin_dir),
        "POSTGRES_USER": postgres_user,
        "PROXY_USER": proxy_user,
        **{name: str(first + 2 * number) for number, name in enumerate(PORTS)},
    }


def free_block(count: int) -> int:
    """Return the first of so many free ports, below those from which all other tests choose.

    The last of them is used half a minute after it was chosen.
    """
    chance = random.SystemRandom()
    while True:
        first = chance.randint(10_000, 20_000 - count)
        try:
            for port in range(first, first + count):
                socket.create_server((LOOPBACK, port)).close()
        except OSError:
            continue
        return first


def environment(site: Path, **changed: str) -> dict[str, str]:
    """Return the environment of the shell: the values of this machine, and none of a service's."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith("QUOTA_")}
    # Debian's Redis comes before that of other tests, which is first on their PATH.
    folders = [str(Path(sys.executable).parent), "/usr/sbin", "/usr/bin", os.environ["PATH"]]
    path = os.pathsep.join(folders)
    own = {"PATH": path, "SITE": str(site), "WAIT_S": f"{START_LIMIT_S:.0f}"}
    return {**kept, **PATIENT_VARIABLES, **values(), **own, **changed}


@pytest.fixture
def site() -> Iterator[Path]:
    """Lend a folder that the user of Postgres reaches; what runs from it ends with it."""
    folder = Path(tempfile.mkdtemp(prefix="quota-test-hour-"))
    folder.chmod(0o755)
    yield folder / "site"
    for file in folder.glob("site/run/*.pid"):
        pid = int(file.read_text())
        send([pid, *descendants(pid)], signal.SIGKILL)
    shutil.rmtree(folder)


def script() -> str:
    """Return the blocks of the hour; before the last one, which stops, come the checklist's."""
    blocks = [block.replace("--size 1m", "--size 15s --candidates 12") for block in runnable(HOUR)]
    blocks[0] += SHORTEN
    # So few come in 15 s that some promises may not be put to the test, which fails a rehearsal.
    blocks = [block.rstrip() + " || true\n" if "15s" in block else block for block in blocks]
    # The service's own commands are run in the test of the runbooks.
    looks = [block for block in runnable(CHECKLIST) if "quota-service" not in block]
    blocks[-1:] = [*looks, blocks[-1]]
    return "".join(f"echo $SECONDS s\ncat <<'BLOCK'\n{block}BLOCK\n{block}" for block in blocks)


def test_the_first_hour_goes_as_it_is_written(site: Path) -> None:
    for program in ("amtool", "curl", "haproxy", "openssl", "prometheus", "promtool", "psql",
                    "prometheus-alertmanager", "redis-cli", "redis-server"):  # fmt: skip
        need_program(program)

    with (site.parent / "printed").open("w+") as printed:
        status = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script()],
            cwd=ROOT,
            env=environment(site),
            stdin=subprocess.DEVNULL,
            stdout=printed,
            stderr=subprocess.STDOUT,
            timeout=LIMIT_S,
            check=False,
            preexec_fn=die_with_parent(signal.SIGKILL),
        ).returncode
        printed.seek(0)
        told = printed.read()

    assert status == 0, told
    assert '{"outcome":"confirmed"' in told
    assert "QuotaWorkersMissing" in told
    runs = [json.loads(file.read_text()) for file in site.glob("rehearsals/*/run.json")]
    assert len(runs) == 1, told
    (run,) = runs
    assert (run["options"]["like"], run["promises"]["P1"]) == ("exam-1", True)
    assert not list(site.glob("run/*.pid"))


def test_every_program_of_the_hour_is_in_a_package_that_it_installs() -> None:
    (named,) = re.findall(r"^apt-get install .* -y (.*)$", HOUR, re.MULTILINE)
    programs = {"curl", "openssl", "redis-server", "haproxy", "prometheus", "amtool"}

    assert {PACKAGES[program] for program in programs} <= set(named.split())


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        *((name, "many") for name in PORTS),
        ("HTTPS_PORT", "0"),
        ("POSTGRES_BIN", "/nowhere"),
        ("POSTGRES_USER", "nobody-of-that-name"),
        ("PROXY_USER", "nobody-of-that-name"),
    ],
)
def test_a_wrong_value_is_named(site: Path, name: str, wrong: str) -> None:
    done = make_site(str(site), "whsec_AAAA\n", **{name: wrong})

    assert done.returncode == 1
    assert re.fullmatch(rf"make-site.sh: {name} is '{wrong}'; [^\n]*\n", done.stderr)
    assert not site.exists()


@pytest.mark.parametrize("folder", ["site", "/a folder"])
def test_a_folder_that_will_not_do_is_named(folder: str) -> None:
    done = make_site(folder, "whsec_AAAA\n")

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"make-site.sh: FOLDER is '{folder}'; it takes a path ")


def test_two_values_that_are_one_port_are_named(site: Path) -> None:
    done = make_site(str(site), "whsec_AAAA\n", API_PORT="8080", REDIS_PORT="8081")

    assert done.returncode == 1
    assert done.stderr.startswith(
        "make-site.sh: REDIS_PORT is '8081'; it takes a port that no other has"
    )


def test_a_site_without_a_payment_secret_is_not_made(site: Path) -> None:
    done = make_site(str(site), "secret\n")

    assert done.returncode == 1
    assert f"{site}/secrets/payment_secrets is missing" in done.stderr


def make_site(folder: str, secrets: str, **changed: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["sh", str(MAKE_SITE), folder],
        env=environment(Path(folder), **changed),
        input=secrets,
        capture_output=True,
        text=True,
        check=False,
    )
