"""The processes of the service that the harness starts."""

import socket
from pathlib import Path

from quota_service.embedded.ports import LOOPBACK
from tests.faults.processes import ServiceProcess

AWAY = {
    "QUOTA_REDIS_URL": f"redis://{LOOPBACK}:1/0",
    "QUOTA_POSTGRES_DSN": f"postgresql://quota@{LOOPBACK}:1/quota",
}


async def test_a_process_whose_port_was_taken_meanwhile_is_started_on_another(
    tmp_path: Path,
) -> None:
    process = ServiceProcess("serve", "api", AWAY, tmp_path)
    taken = process.port
    with socket.create_server((LOOPBACK, taken)):
        await process.start()
        try:
            assert (process.is_running, process.port != taken) == (True, True)
        finally:
            await process.kill()
