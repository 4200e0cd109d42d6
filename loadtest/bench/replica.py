"""Makes an embedded Redis the replica of another one, and waits until it is one."""

from urllib.parse import urlsplit

from loadtest.bench.redis_client import redis_client
from loadtest.bench.waiting import until
from quota_service.embedded import EmbeddedRedis

_FOLLOW_LIMIT_S = 120.0


async def follow(replica: EmbeddedRedis, primary_url: str) -> None:
    """Return when a started server follows the primary, with everything in its own file too.

    Raises BenchError when that takes longer than two minutes.
    """
    primary = urlsplit(primary_url)
    async with redis_client(replica.url) as client:
        await client.execute_command("REPLICAOF", str(primary.hostname), str(primary.port))

        async def follows() -> bool:
            # The file is written anew after a full synchronisation, by a child of the server.
            link, file = await client.info("replication"), await client.info("persistence")
            is_writing = file["aof_rewrite_in_progress"] or file["aof_rewrite_scheduled"]
            return link["master_link_status"] == "up" and not is_writing

        await until(follows, "the replica to follow", within_s=_FOLLOW_LIMIT_S)
