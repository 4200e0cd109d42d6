"""One worker process: the API without a port, on connections that its supervisor hands over.

Started as `python -m quota_service.supervisor.worker NUMBER CHANNEL MEMORY`: its number for the
logs, the descriptor of its channel and that of the memory it counts in. The settings come over
standard input, so that they are those of the supervisor to the letter, and secrets are in no list
of processes.
"""

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack

import orjson

from quota_service.app import Addresses, open_service, run_service, serve_api, settle_garbage
from quota_service.domain.errors import QuotaError
from quota_service.observability.logs import configure_logging
from quota_service.observability.shared_values import SharedValues, count_in
from quota_service.settings import Settings
from quota_service.supervisor.intake import Intake


def main(arguments: Sequence[str]) -> int:
    """Run the worker; return its exit status."""
    number, channel_descriptor, memory_descriptor = map(int, arguments)
    settings = Settings(**orjson.loads(sys.stdin.buffer.read()))
    configure_logging(settings.log_level)
    _name_logs(number)
    count_in(SharedValues(memory_descriptor))
    os.close(memory_descriptor)
    with socket.socket(fileno=channel_descriptor) as channel:
        try:
            asyncio.run(_run(settings, channel))
        except (QuotaError, ValueError, OSError) as error:
            logging.getLogger(__name__).error("failed", extra={"cause": str(error)})  # noqa: TRY400
            return 1
    return 0


async def _run(settings: Settings, channel: socket.socket) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    async with open_service(settings) as service:
        settle_garbage()

        async def listen(stack: AsyncExitStack) -> Addresses:
            clients = await serve_api(stack, service)
            intake = Intake(channel, clients, service.health, stop)
            stack.push_async_callback(intake.close)
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, intake.ask_to_leave)
            return Addresses("", "")

        await run_service(service, stop, api=True, workers=False, listen=listen)


def _name_logs(number: int) -> None:
    """Have every log line say which worker wrote it."""
    make_record = logging.getLogRecordFactory()

    def named(*args: object, **kwargs: object) -> logging.LogRecord:
        record = make_record(*args, **kwargs)
        record.worker = number
        return record

    logging.setLogRecordFactory(named)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
