"""The processes beside the demo's own: its registration frontend, and the crowd of a day.

They end with the demo, in whatever way that ends. Ctrl-C in a terminal reaches the demo alone,
which then stops them after the API.
"""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

from quota_service.client import QuotaClient
from quota_service.embedded.parent_death import die_with_parent
from quota_service.settings import SettingsError

_FRONTEND = "quota_service.demo_frontend"
_CROWD = "quota_service.demo_frontend.crowd"
_ENDPOINT = "the demo's frontend"
_EVERY, _LOCAL = "0.0.0.0", "127.0.0.1"  # noqa: S104  what is asked for is told apart
_OPS_KEY = "QUOTA_OPS_KEY"
_END_S = 5.0
"""Seconds in which a process ends after SIGTERM."""


class Companions:
    """The frontend's socket, open before the service is, and the processes started after it.

    The service has to know the address first, as an origin whose pages may call it.
    """

    def __init__(self, host: str, port: int, stack: ExitStack) -> None:
        """Listen; SettingsError where the address cannot be had. All ends with the stack."""
        try:
            self._socket = stack.enter_context(socket.create_server((host, port)))
        except OSError as error:
            raise SettingsError(
                f"cannot listen on {host}:{port}: {error.strerror}; choose another address with "
                "--frontend-port and --host"
            ) from error
        self._stack = stack

    @property
    def origins(self) -> list[str]:
        """The origins of the frontend's pages; the first is its address."""
        host, port = self._socket.getsockname()[:2]
        names = dict.fromkeys((_LOCAL if host == _EVERY else host, "localhost"))
        return [f"http://{name}:{port}" for name in names]

    async def start_frontend(self, environment: Mapping[str, str]) -> None:
        """Start the frontend, and let the service that the environment names tell it all events."""
        # Where it listens at every address, browsers of this machine find it at the local one.
        url = environment["QUOTA_URL"].replace(f"//{_EVERY}:", f"//{_LOCAL}:")
        key = environment[_OPS_KEY]
        async with QuotaClient(url, key=key) as ops:
            for earlier in (await ops.list_webhook_endpoints())["webhook_endpoints"]:
                if earlier["description"] == _ENDPOINT:
                    await ops.delete_webhook_endpoint(earlier["id"], reason="the demo starts again")
            made = await ops.make_webhook_endpoint(
                url=f"{self.origins[0]}/webhooks", description=_ENDPOINT, reason="the demo starts"
            )
        number = self._socket.fileno()
        told = {**environment, "QUOTA_URL": url, "QUOTA_WEBHOOK_SECRET": made["secret"]}
        self._stack.enter_context(_process([_FRONTEND, "--socket", str(number)], told, (number,)))

    def start_crowd(self, environment: Mapping[str, str], exam: str, people: int) -> None:
        """Let so many people come to an exam."""
        command = [_CROWD, "--exam", exam, "--people", str(people)]
        self._stack.enter_context(_process(command, environment))


@contextmanager
def _process(
    module: list[str], environment: Mapping[str, str], inherited: tuple[int, ...] = ()
) -> Iterator[None]:
    """Run a module with its options as a process until the block is left.

    It has no variable `QUOTA_…` but those given, and not the key of ops, which neither process
    needs. `inherited` are file descriptors that it gets.
    """
    ours = {name: text for name, text in os.environ.items() if not name.startswith("QUOTA_")}
    given = {name: text for name, text in environment.items() if name != _OPS_KEY}
    started = subprocess.Popen(  # noqa: S603  a module of our own
        [sys.executable, "-m", *module],
        env={**ours, **given},
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
        start_new_session=True,
        pass_fds=inherited,
        preexec_fn=die_with_parent(signal.SIGTERM),  # noqa: PLW1509  two system calls
    )
    try:
        yield
    finally:
        started.terminate()
        try:
            started.wait(_END_S)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()
