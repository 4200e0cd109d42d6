"""A name server as containers have one: a name has one address of IPv4, and later another."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

_HEADER_BYTES = 12
_IPV4 = 1
_ANSWERED = b"\x81\x80"
_TTL_S = 1


class NameServer(asyncio.DatagramProtocol):
    """Answers every question about `addresses`; a name that is not there has none."""

    def __init__(self) -> None:
        self.addresses: dict[str, str] = {}
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        labels, at = [], _HEADER_BYTES
        while data[at]:
            labels.append(data[at + 1 : at + 1 + data[at]].decode())
            at += 1 + data[at]
        question = data[_HEADER_BYTES : at + 5]
        address = self.addresses.get(".".join(labels))
        kind = int.from_bytes(data[at + 1 : at + 3], "big")
        found = b""
        if address is not None and kind == _IPV4:
            # The name of the question, IPv4, internet, for how long, four bytes.
            found = b"\xc0\x0c\x00\x01\x00\x01" + _TTL_S.to_bytes(4, "big") + b"\x00\x04"
            found += socket.inet_aton(address)
        counts = b"\x00\x01" + (b"\x00\x01" if found else b"\x00\x00") + b"\x00\x00" * 2
        assert self._transport is not None
        self._transport.sendto(data[:2] + _ANSWERED + counts + question + found, addr)


@asynccontextmanager
async def name_server() -> AsyncIterator[tuple[NameServer, str]]:
    """Run a name server; yields it with its address and port."""
    transport, server = await asyncio.get_running_loop().create_datagram_endpoint(
        NameServer, local_addr=("127.0.0.1", 0)
    )
    try:
        host, port = transport.get_extra_info("sockname")
        yield server, f"{host}:{port}"
    finally:
        transport.close()
