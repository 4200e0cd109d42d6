"""What the pods run, run as they do: their command lines with their settings and their Secret.

Other than in a cluster are ports, which are free ones, and the folder of the Secret.
"""

import asyncio
import re
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from quota_service.embedded.parent_death import die_with_parent
from quota_service.settings import Settings
from tests.support.kubernetes import Rendered, render
from tests.support.patience import LIMIT_S, START_LIMIT_S
from tests.support.supervised import Supervised
from tests.support.waiting import eventually

_ROOT = Path(__file__).parents[2]
_KUBERNETES = _ROOT / "deploy" / "kubernetes"
_EXAM = _ROOT / "quota_service" / "exams" / "ccaa-2023-1.toml"
_SECRETS = "/etc/quota-service/secrets"


@pytest.fixture(scope="module")
def rendered() -> Rendered:
    return render(_KUBERNETES / "overlays" / "small")


class Cluster:
    """Runs what the pods of an overlay run, with a folder in the place of the Secret's."""

    def __init__(self, rendered: Rendered, secrets: Path) -> None:
        self._pods = {found.name: pod for found, pod in rendered.pods}
        self._config = rendered.config
        self._secrets = secrets

    async def start(self, name: str, *say: str) -> Process:
        """Start the command of a Deployment's or Job's pods, or `say` in one of them."""
        pod = self._pods[name]
        environment = {
            each: value.replace(_SECRETS, str(self._secrets))
            for each, value in pod.environment(self._config).items()
        }
        # What `kubectl exec` runs ends with its task; what a pod runs listens.
        environment |= {"QUOTA_PORT": "0", "QUOTA_ADMIN_PORT": "0", "QUOTA_SHUTDOWN_NOTICE_S": "0"}
        return await asyncio.create_subprocess_exec(
            Path(sys.executable).with_name("quota-service"),
            *(say or pod.args),
            env=environment,
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            preexec_fn=die_with_parent(signal.SIGKILL),
        )

    async def run(self, name: str, *say: str, given: bytes = b"") -> str:
        """Run a command that has to succeed, and return what it prints."""
        process = await self.start(name, *say)
        async with asyncio.timeout(START_LIMIT_S):
            printed, complaints = await process.communicate(given)
        assert process.returncode == 0, complaints.decode()
        return printed.decode()

    @asynccontextmanager
    async def listening(self, name: str) -> AsyncIterator[Supervised]:
        """Start the processes of a Deployment's pod; end it as the kubelet does."""
        process = await self.start(name)
        run = Supervised(process)

        async def listens() -> bool:
            assert process.returncode is None, run.tail
            return bool(run.said("listening"))

        try:
            await eventually(listens, within_s=START_LIMIT_S)
            run.admin = run.said("listening")[0]["admin"].replace("0.0.0.0", "127.0.0.1")  # noqa: S104
            yield run
        finally:
            process.terminate()
            async with asyncio.timeout(LIMIT_S):
                await asyncio.gather(process.wait(), run.followed())
        assert process.returncode == 0, run.tail

    def asked(self, name: str) -> list[str]:
        """The paths that the probes of a Deployment ask on the admin port."""
        container = self._pods[name].container
        probes = [probe for member, probe in container.items() if member.endswith("Probe")]
        assert {probe["httpGet"]["port"] for probe in probes} == {"admin"}
        return [probe["httpGet"]["path"] for probe in probes]


@pytest.fixture
def cluster(rendered: Rendered, settings: Settings, tmp_path: Path) -> Cluster:
    """The files of the Secret as the README says to make them, with the stores of the test."""
    texts = {
        "redis-url": settings.redis_url,
        "postgres-dsn": settings.postgres_dsn,
        "payment-secrets": settings.payment_secrets,
        "candidate-token-secrets": settings.candidate_token_secrets,
    }
    readme = (_KUBERNETES / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"--from-file=(\S+)", readme) == list(texts)
    for name, text in texts.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    return Cluster(rendered, tmp_path)


async def test_the_pods_migrate_serve_and_work(rendered: Rendered, cluster: Cluster) -> None:
    migrated = await cluster.run("quota-migrate")
    imported = await cluster.run(
        "quota-worker", "exam", "import", "/dev/stdin", given=_EXAM.read_bytes()
    )
    (scraped,) = rendered.of("PodMonitor")["quota"].spec["podMetricsEndpoints"]

    async with AsyncExitStack() as stack:
        for name in ("quota-api", "quota-worker"):
            process = await stack.enter_async_context(cluster.listening(name))
            for path in [*cluster.asked(name), scraped["path"]]:

                async def answers(path: str = path, process: Supervised = process) -> bool:
                    return (await process.get(path))[0] == 200

                await eventually(answers)

    assert migrated == "nothing to apply\n"
    assert "ccaa-2023-1: created" in imported
