"""A server that speaks Redis's protocol and answers what a test wants."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import hiredis

HEALTHY = {
    "redis_version": "7.4.1",
    "run_id": "0" * 40,
    "role": "master",
    "master_replid2": "0" * 40,
    "loading": "0",
}
"""What a server that can serve us says of itself."""

ScriptReply = Callable[[list[str]], bytes | None]
"""The reply to a command, given its words; None for a reply that never comes."""

OK = b"+OK\r\n"
_GREETING = b"%1\r\n$5\r\nproto\r\n:3\r\n"


def bulk(text: str) -> bytes:
    """Return the reply that is a text."""
    return b"$%d\r\n%s\r\n" % (len(text.encode()), text.encode())


def told(**changes: str) -> ScriptReply:
    """Return the answers of a healthy server that says something else of itself."""
    lines = "".join(f"{name}:{value}\r\n" for name, value in {**HEALTHY, **changes}.items())

    def answer(words: list[str]) -> bytes:
        match words[0].upper():
            case "HELLO":
                return _GREETING
            case "INFO":
                return bulk(lines)
            case _:
                return OK

    return answer


@asynccontextmanager
async def scripted_redis(answer: ScriptReply) -> AsyncIterator[str]:
    """Run such a server and return its URL."""
    open_to: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        open_to[task] = writer
        parser = hiredis.Reader(encoding="utf-8")
        with suppress(ConnectionError):
            while data := await reader.read(65_536):
                parser.feed(data)
                while (words := parser.gets()) is not False:
                    reply = answer(words)
                    if reply is not None:
                        writer.write(reply)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"
    finally:
        server.close()
        for writer in open_to.values():
            writer.transport.abort()
        await asyncio.gather(*open_to)
        await server.wait_closed()
