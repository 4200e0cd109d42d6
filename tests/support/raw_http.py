"""HTTP as bytes on a socket, for what no well-behaved client sends."""

import asyncio
import json
import socket
import struct
from typing import Any
from urllib.parse import urlsplit

from multidict import CIMultiDict

from tests.support.client import Reply
from tests.support.patience import LIMIT_S
from tests.support.refusals import ORDER, RESERVATIONS

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def connect(url: str, *, local_addr: tuple[str, int] | None = None) -> Connection:
    """Open a connection to the server of a base URL, from an address of this machine."""
    address = urlsplit(url)
    return await asyncio.open_connection(address.hostname, address.port, local_addr=local_addr)


async def exchange(url: str, sent: bytes, *, half_close: bool = False) -> bytes:
    """Send bytes and return all that comes back until the server closes the connection."""
    reader, writer = await connect(url)
    try:
        writer.write(sent)
        if half_close:
            writer.write_eof()
        async with asyncio.timeout(LIMIT_S):
            return await reader.read()
    finally:
        writer.close()


async def send_and_leave(url: str, sent: bytes) -> None:
    """Send bytes and cut the connection at once, as a client that crashes."""
    _, writer = await connect(url)
    writer.write(sent)
    await writer.drain()
    writer.transport.abort()


def reset(writer: asyncio.StreamWriter) -> None:
    """Break a connection off, which the server is told: nobody is there to read an answer."""
    reset_on_close(writer.get_extra_info("socket"))
    writer.transport.abort()


def reset_on_close(client: socket.socket) -> None:
    """Have the system break a connection off when its socket is closed."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def request(method: str, path: str, *headers: str, body: bytes = b"", keeps: bool = False) -> bytes:
    """Return a request, whose body has its length told; it closes its connection, or `keeps` it."""
    lines = [f"{method} {path} HTTP/1.1", "Host: quota", *headers]
    if not keeps:
        lines.append("Connection: close")
    if body:
        lines.append(f"Content-Length: {len(body)}")
    head = "\r\n".join(lines) + "\r\n\r\n"
    return head.encode("utf-8", "surrogateescape") + body


def order(
    key: str,
    candidate: str = "candidate-1",
    *headers: str,
    idempotency_key: str = "a",
    chunked: bool = False,
    keeps: bool = True,
    **members: Any,
) -> bytes:
    """Return a reservation with an API key, its body in one piece or, `chunked`, as one chunk."""
    body = json.dumps({**ORDER, "candidate": candidate, **members}).encode()
    headers = (f"Authorization: Bearer {key}", f"Idempotency-Key: {idempotency_key}", *headers)
    if not chunked:
        return request("POST", RESERVATIONS, *headers, body=body, keeps=keeps)
    head = request("POST", RESERVATIONS, *headers, "Transfer-Encoding: chunked", keeps=keeps)
    return head + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)


def status(answer: bytes) -> int:
    """Return the status of the first answer in these bytes."""
    return int(answer.split(b" ", 2)[1])


def parsed(answer: bytes) -> Reply:
    """Return the one answer in these bytes."""
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    headers = CIMultiDict(_field(line) for line in lines[1:])
    return Reply(status(head), headers, body)


async def next_reply(reader: asyncio.StreamReader) -> Reply:
    """Read one answer of a connection that is kept; its body has its length told, or is none."""
    async with asyncio.timeout(LIMIT_S):
        head = parsed(await reader.readuntil(b"\r\n\r\n"))
        body = await reader.readexactly(int(head.headers.get("Content-Length", "0")))
    return Reply(head.status, head.headers, body)


def _field(line: str) -> tuple[str, str]:
    name, _, text = line.partition(": ")
    return name, text
