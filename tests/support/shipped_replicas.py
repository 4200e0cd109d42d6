"""A Cluster, and a pair that Sentinels watch, with the configuration of `deploy/redis/`."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from loadtest.bench.redis_cluster import ClusterNode
from quota_service.embedded.ports import LOOPBACK
from tests.support.shipped_stores import PASSWORD, install


class ShippedNode(ClusterNode):
    """A server with one of the files of replicated servers; its URL is that of the service."""

    configuration = "cluster.conf"

    @property
    def url(self) -> str:
        return super().url.replace("//", f"//quota:{PASSWORD}@")

    @property
    def admin_url(self) -> str:
        return super().url.replace("//", f"//ops:{PASSWORD}@")

    def _command(self, port: int) -> Sequence[str | Path]:
        folder = installed(self._data_dir)
        users = [(folder / name).read_text() for name in ("users.acl", "replication.acl")]
        (folder / "users.acl").write_text("".join(users))
        own = ("--bind", LOOPBACK, "--port", str(port), "--dir", self._data_dir)
        bus = ("--cluster-port", str(self._bus_port)) if "cluster" in self.configuration else ()
        return (self._binary, folder / self.configuration, *own, *bus)


class ShippedReplica(ShippedNode):
    """One of a pair."""

    configuration = "replicated.conf"


def installed(folder: Path) -> Path:
    """Copy `deploy/redis/` into a folder, with the passwords of the tests."""
    secret = hashlib.sha256(PASSWORD.encode()).hexdigest()
    words = {
        f"#{name}PASSWORD_SHA256": f"#{secret}" for name in ("OPS_", "REPLICA_", "SENTINEL_", "")
    }
    plain = {f"{name}_PASSWORD": PASSWORD for name in ("REPLICA", "SENTINEL")}
    return install("redis", folder, {}, {**words, **plain})
