"""Choosing a free TCP port on loopback.

Ports are sought below the range from which the kernel serves outgoing connections (32768 and up on
Linux). A port inside that range can be taken by an outgoing connection while a killed
server is down, and a client that keeps trying to reconnect can even connect to itself there; the
server could then not come back on its own port.
"""

import random
import socket

__all__ = ["LOOPBACK", "free_loopback_port"]

LOOPBACK = "127.0.0.1"
"""The only address the embedded servers listen on."""

_FIRST_PORT = 20_000
_LAST_PORT = 31_999
_ATTEMPTS = 64


def free_loopback_port(count: int = 1) -> int:
    """Return a port that was free when checked, as were the `count` - 1 after it.

    They are not reserved: the caller retries if one is taken by then.
    """
    chance = random.SystemRandom()
    for _ in range(_ATTEMPTS):
        port = chance.randint(_FIRST_PORT, _LAST_PORT)
        if all(_is_free(port + n) for n in range(count)):
            return port
    with socket.create_server((LOOPBACK, 0)) as probe:
        return int(probe.getsockname()[1])


def _is_free(port: int) -> bool:
    try:
        # As the servers do: connections of the past in TIME_WAIT do not count, a listener does.
        socket.create_server((LOOPBACK, port)).close()
    except OSError:
        return False
    return True
