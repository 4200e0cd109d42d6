"""The baseline: a bare aiohttp application that reads the same bodies and answers the same bodies.

It has no middleware, no key check, no validation, no store: what it reaches is what this HTTP
server can reach at all. A POST is parsed as JSON and answered with a document that is rendered
anew; a GET is answered from memory. The paths and their answers are in a file.

    python -m loadtest.bench.echo --port N --answers FILE
"""

import argparse
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.Response]]


@dataclass(frozen=True, slots=True)
class Echoed:
    """One path of the baseline and what it answers; `document` None is an answer without a body."""

    method: str
    path: str
    status: int
    document: Any


def write_answers(file: Path, answers: list[Echoed]) -> None:
    """Write the file that `read_answers` reads."""
    file.write_bytes(orjson.dumps(answers))


def read_answers(file: Path) -> list[Echoed]:
    """Return the answers in a file."""
    return [Echoed(**members) for members in orjson.loads(file.read_bytes())]


def echo_app(answers: list[Echoed]) -> web.Application:
    """Return the baseline."""
    app = web.Application()
    for answer in answers:
        handler = _post(answer) if answer.method == "POST" else _get(answer)
        app.router.add_route(answer.method, answer.path, handler)
    return app


def _post(answer: Echoed) -> Handler:
    async def echo(request: web.Request) -> web.Response:
        orjson.loads(await request.read())
        return json_answer(answer)

    return echo


def _get(answer: Echoed) -> Handler:
    if answer.document is None:

        async def say_nothing(_request: web.Request) -> web.Response:
            return web.Response(status=answer.status)

        return say_nothing

    body = orjson.dumps(answer.document)

    async def say(_request: web.Request) -> web.Response:
        return web.Response(body=body, status=answer.status, content_type="application/json")

    return say


def json_answer(answer: Echoed) -> web.Response:
    """Return an answer rendered anew."""
    body = orjson.dumps(answer.document)
    return web.Response(body=body, status=answer.status, content_type="application/json")


def parse_options(meaning: str | None, **more: Mapping[str, Any]) -> argparse.Namespace:
    """Parse the command line of a baseline; `more` are further options by name."""
    parser = argparse.ArgumentParser(description=meaning)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--answers", type=Path, required=True)
    for name, rules in more.items():
        parser.add_argument(f"--{name}", **rules)
    return parser.parse_args()


def serve(app: web.Application, port: int) -> None:
    """Serve on loopback until a signal, on the event loop the service runs on."""
    web.run_app(app, host="127.0.0.1", port=port, access_log=None, print=None)


def main() -> None:
    """Serve the baseline."""
    options = parse_options(__doc__)
    serve(echo_app(read_answers(options.answers)), options.port)


if __name__ == "__main__":
    main()
