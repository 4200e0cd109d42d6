"""A Redis or Valkey of our own on loopback, for the demo and the tests.

It keeps an append-only file, synced at every write before the write is answered, and never evicts:
a seat that vanishes is a seat sold twice.
"""

import signal
from collections.abc import Sequence
from pathlib import Path

from quota_service.embedded.errors import EmbeddedError
from quota_service.embedded.local_server import LocalServer
from quota_service.embedded.ports import LOOPBACK
from quota_service.embedded.programs import find_redis_binary

__all__ = ["EmbeddedRedis"]

_SETTINGS = (
    *("--bind", LOOPBACK),
    *("--daemonize", "no"),
    *("--logfile", ""),
    *("--appendonly", "yes"),
    *("--appenddirname", "appendonlydir"),
    *("--appendfsync", "always"),
    *("--maxmemory-policy", "noeviction"),
    *("--save", ""),
    *("--repl-diskless-sync-delay", "0"),  # a replica of ours is the only one
)


class EmbeddedRedis(LocalServer):
    """A local Redis or Valkey with its data in `data_dir`, made if need be.

    `port` None has a free one chosen at the first start and kept from then on. `binary` is the
    program to use instead of the one `find_redis_binary` finds.
    """

    name = "redis-server"
    stop_signals = (signal.SIGTERM,)

    def __init__(
        self, data_dir: Path, *, port: int | None = None, binary: Path | None = None
    ) -> None:
        super().__init__(data_dir, port=port)
        self._wanted_binary = binary
        self._binary = Path()

    @property
    def url(self) -> str:
        """`redis://127.0.0.1:PORT/0`.

        Raises EmbeddedError while no port is chosen, that is before the first start.
        """
        if self._port is None:
            raise EmbeddedError("this Redis has no port before its first start; start it")
        return f"redis://{LOOPBACK}:{self._port}/0"

    def _prepare(self) -> None:
        self._binary = self._wanted_binary or find_redis_binary()

    def _command(self, port: int) -> Sequence[str | Path]:
        return (self._binary, *_SETTINGS, "--port", str(port), "--dir", self._data_dir)
