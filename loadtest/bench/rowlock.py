"""The other baseline: the same aiohttp application with one Postgres row-lock transaction each.

This is how seats are usually counted: lock the row of the quota, look, take one, insert the
reservation, commit. It has eight connections to Postgres, as the service has by default.

    python -m loadtest.bench.rowlock --port N --answers FILE --dsn DSN
"""

from collections.abc import AsyncIterator, Sequence
from typing import Any

import asyncpg
import orjson
from aiohttp import web

from loadtest.bench.echo import Echoed, Handler, json_answer, parse_options, read_answers, serve

_CONNECTIONS = 8
_POOL: web.AppKey["asyncpg.Pool[asyncpg.Record]"] = web.AppKey("pool")

TABLES = """
CREATE TABLE seats (
    venue     text NOT NULL,
    subject   text NOT NULL,
    remaining bigint NOT NULL CHECK (remaining >= 0),
    PRIMARY KEY (venue, subject)
);
CREATE TABLE orders (
    candidate text NOT NULL,
    key       text NOT NULL,
    venue     text NOT NULL,
    subject   text NOT NULL,
    ordered_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (candidate, key)
);
"""
_LOCK = "SELECT remaining FROM seats WHERE venue = $1 AND subject = $2 FOR UPDATE"
_TAKE = "UPDATE seats SET remaining = remaining - 1 WHERE venue = $1 AND subject = $2"
_INSERT = "INSERT INTO orders (candidate, key, venue, subject) VALUES ($1, $2, $3, $4)"
_ADD_SEATS = "INSERT INTO seats (venue, subject, remaining) VALUES ($1, $2, $3)"


async def make_tables(dsn: str, seats: Sequence[tuple[str, str, int]]) -> None:
    """Make the tables, with (venue, subject, remaining) rows."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(TABLES)
        await connection.executemany(_ADD_SEATS, seats)
    finally:
        await connection.close()


async def count_orders(dsn: str) -> int:
    """Return how many orders there are."""
    connection = await asyncpg.connect(dsn)
    try:
        return int(await connection.fetchval("SELECT count(*) FROM orders"))
    finally:
        await connection.close()


def rowlock_app(answers: list[Echoed], dsn: str) -> web.Application:
    """Return the baseline."""

    async def pool(app: web.Application) -> AsyncIterator[None]:
        async with asyncpg.create_pool(dsn, min_size=_CONNECTIONS, max_size=_CONNECTIONS) as app[
            _POOL
        ]:
            yield

    app = web.Application()
    app.cleanup_ctx.append(pool)
    for answer in answers:
        app.router.add_route(answer.method, answer.path, _ordering(answer))
    return app


def _ordering(answer: Echoed) -> Handler:
    async def order(request: web.Request) -> web.Response:
        document: dict[str, Any] = orjson.loads(await request.read())
        key = request.headers["Idempotency-Key"]
        venue, subject = document["venues"][0], document["subjects"][0]
        async with request.app[_POOL].acquire() as connection, connection.transaction():
            if not await connection.fetchval(_LOCK, venue, subject):
                return web.Response(status=409)
            await connection.execute(_TAKE, venue, subject)
            await connection.execute(_INSERT, document["candidate"], key, venue, subject)
        return json_answer(answer)

    return order


def main() -> None:
    """Serve the baseline."""
    options = parse_options(__doc__, dsn={"required": True})
    serve(rowlock_app(read_answers(options.answers), options.dsn), options.port)


if __name__ == "__main__":
    main()
