"""The command line: what production runs, and the demo; commands about exams and keys: `commands/`.

Commands print results to standard output and faults to standard error; the exit status is 0 when
done, 1 when refused or failed, 2 when called wrongly.
"""

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import orjson

from quota_service import __version__
from quota_service.app.processes import PROCESSES_MAX, REUSE_PORT, serve_in_processes
from quota_service.app.running import run
from quota_service.commands.adding import Command, add, add_group, both_stores, postgres
from quota_service.commands.candidate import add_candidate_commands
from quota_service.commands.exam import add_exam_commands
from quota_service.commands.export import add_export_commands
from quota_service.commands.keys import add_key_commands
from quota_service.commands.ops import add_ops_commands
from quota_service.commands.refunds import add_refund_commands
from quota_service.commands.release import add_release_commands
from quota_service.commands.room import add_room_commands
from quota_service.commands.set_aside import add_set_aside_commands
from quota_service.commands.venue import add_venue_commands
from quota_service.commands.waiting_list import add_list_commands
from quota_service.commands.webhook import add_webhook_commands
from quota_service.demo import DemoOptions, demo
from quota_service.demo_payment import DemoPaymentError, pay
from quota_service.domain.definition import DefinitionError
from quota_service.domain.errors import QuotaError
from quota_service.embedded import EmbeddedError
from quota_service.ledger.migrations import migrate
from quota_service.observability.logs import configure_logging
from quota_service.registration.audit import audit, repair
from quota_service.settings import Settings, SettingsError, describe, read_settings
from quota_service.waiting_room.verify import (
    DrawNotVerified,
    told,
    verify_draw,
    verify_earlier,
    verify_proof,
)

_REFUSALS = (
    DefinitionError,
    DemoPaymentError,
    DrawNotVerified,
    EmbeddedError,
    SettingsError,
    QuotaError,
    orjson.JSONDecodeError,
    UnicodeDecodeError,
)
"""Errors that a command reports in one line."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    options = _parser().parse_args(arguments)
    try:
        settings = read_settings()
        configure_logging(settings.log_level, has_candidates=settings.log_candidates)
        if options.command is _demo:
            return demo(_demo_options(options), settings)
        command: Command = options.command
        return asyncio.run(_run(command, options, settings))
    except (*_REFUSALS, OSError) as error:
        print(f"quota-service: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


async def _run(command: Command, options: argparse.Namespace, settings: Settings) -> int:
    return await command(options, settings)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="quota-service",
        description="Seat reservation for exam registration.",
        epilog="Settings are read from QUOTA_* variables: see `quota-service settings`.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    serve = add(commands, "serve", _serve, "serve the API and the admin port")
    serve.add_argument(
        "--workers",
        type=_process_count,
        default=1,
        metavar="N",
        help=f"API processes that share the port, 1 to {PROCESSES_MAX}; each has its own "
        "admin port, counted up from the first (%(default)s)",
    )
    # For the processes that `--workers` starts.
    serve.add_argument(REUSE_PORT, action="store_true", help=argparse.SUPPRESS)
    add(commands, "worker", _worker, "run the background workers and the admin port")
    add(commands, "migrate", _migrate, "bring the database schema up to date")
    add(commands, "settings", _settings, "print every setting with its value and meaning")

    add_exam_commands(commands)

    check = add(commands, "audit", _audit, "compare both stores; exit status 1 when they differ")
    check.add_argument("exam")
    check.add_argument("--repair", action="store_true", help="repair what can be repaired safely")

    draws = add_group(commands, "draw", "check the draw of a waiting room")
    verify = add(
        draws,
        "verify",
        _verify_draw,
        "check a published draw offline: print candidates in drawn order; exit status 1 when the "
        "seed does not match its commitment, or the source, the entries or a proof are not right",
    )
    verify.add_argument(
        "document", help="the public document of the waiting room as a JSON file, - for stdin"
    )
    verify.add_argument("candidates", nargs="*", metavar="candidate")
    verify.add_argument("--file", type=Path, help="a file with more candidates, one a line")
    verify.add_argument(
        "--before", metavar="DOCUMENT", help="the document as it was before the source came"
    )
    verify.add_argument(
        "--proof", action="append", default=[], help="what .../waiting-room/proof answered"
    )

    add_key_commands(commands)
    add_room_commands(commands)
    add_list_commands(commands)
    add_set_aside_commands(commands)
    add_venue_commands(commands)
    add_release_commands(commands)
    add_candidate_commands(commands)
    add_ops_commands(commands)
    add_refund_commands(commands)
    add_export_commands(commands)
    add_webhook_commands(commands)

    trial = add(commands, "demo", _demo, "run everything on this machine, stores included")
    trial.add_argument("--data-dir", type=Path, help="keep the data in this directory between runs")
    trial.add_argument("--host", default="127.0.0.1", help="address of all ports (%(default)s)")
    trial.add_argument("--port", type=int, default=8080, help="port of the API (%(default)s)")
    trial.add_argument(
        "--admin-port", type=int, default=9090, help="port of /metrics (%(default)s)"
    )
    trial.add_argument(
        "--frontend-port", type=int, default=8081, help="port of the pages (%(default)s)"
    )
    trial.add_argument(
        "--opens-in",
        type=float,
        metavar="SECONDS",
        help="time until registration opens (0, with --day 60)",
    )
    trial.add_argument(
        "--hold-ttl",
        type=int,
        default=60,
        metavar="SECONDS",
        help="lifetime of an unpaid hold (%(default)s)",
    )
    trial.add_argument(
        "--day",
        action="store_true",
        help="a day of five minutes: few seats, a waiting room, a crowd, a release, a waiting list",
    )
    trial.add_argument("--redis-url", help="use this Redis instead of starting one")
    trial.add_argument("--postgres-dsn", help="use this Postgres instead of starting one")
    trials = trial.add_subparsers(metavar="COMMAND")
    add(
        trials, "pay", _pay, "pay a reservation of the running demo with a signed callback"
    ).add_argument("reservation")
    return parser


def _process_count(text: str) -> int:
    try:
        count = int(text)
    except ValueError:
        count = 0
    if not 1 <= count <= PROCESSES_MAX:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to {PROCESSES_MAX}")
    return count


async def _serve(options: argparse.Namespace, settings: Settings) -> int:
    if options.workers > 1:
        await serve_in_processes(settings, options.workers)
    else:
        await run(settings, api=True, workers=False, reuse_port=options.reuse_port)
    return 0


async def _worker(_options: argparse.Namespace, settings: Settings) -> int:
    os.nice(settings.worker_nice)
    await run(settings, api=False, workers=True)
    return 0


async def _migrate(_options: argparse.Namespace, settings: Settings) -> int:
    async with postgres(settings) as ledger:
        applied = await migrate(ledger)
    print("\n".join(f"applied {name}" for name in applied) or "nothing to apply")
    return 0


async def _settings(_options: argparse.Namespace, settings: Settings) -> int:
    for name, value, default, meaning in describe(settings):
        print(f"{name}={value}\n    {meaning} (default: {default})")
    return 0


async def _audit(options: argparse.Namespace, settings: Settings) -> int:
    async with both_stores(settings) as opened:
        stores = opened.maintenance
        found = await audit(stores, options.exam)
        for difference in found.differences:
            print(difference)
        if options.repair and not found.is_clean:
            for done in await repair(stores, found):
                print(f"repaired: {done}")
            await stores.registry.refresh()
            found = await audit(stores, options.exam)
            for difference in found.differences:
                print(f"not repaired: {difference}")
    checked = ", ".join(found.checked)
    print(
        f"{found.exam}: {checked} over {found.quotas} quotas: {len(found.differences)} differences"
    )
    return 0 if found.is_clean else 1


async def _verify_draw(options: argparse.Namespace, _settings: Settings) -> int:
    candidates = list(options.candidates)
    if options.file is not None:
        candidates += options.file.read_text(encoding="utf-8").split()
    document = orjson.loads(_read(options.document))
    verify_draw(document, ())
    if options.before is not None:
        verify_earlier(document, orjson.loads(_read(options.before)))
    proved = [verify_proof(document, orjson.loads(_read(name))) for name in options.proof]
    candidates += proved
    for position, drawn in enumerate(verify_draw(document, candidates), start=1):
        print(f"{position}\t{drawn.rank}\t{drawn.candidate}")
    for line in (*(f"{each} is among the entries" for each in proved), *told(document)):
        print(line)
    print(f"the seed matches its commitment: {document['seed_commitment']}")
    return 0


def _read(name: str) -> bytes:
    """Return what is in a file, or on standard input for `-`."""
    return sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()


async def _demo(_options: argparse.Namespace, _settings: Settings) -> int:
    raise AssertionError("the demo starts its servers before there is an event loop")


async def _pay(options: argparse.Namespace, _settings: Settings) -> int:
    print(await pay(options.reservation, os.environ))
    return 0


def _demo_options(options: argparse.Namespace) -> DemoOptions:
    if options.day and options.data_dir is not None:
        raise SettingsError("--day sells seats of its own: leave --data-dir out")
    return DemoOptions(
        data_dir=options.data_dir,
        host=options.host,
        port=options.port,
        admin_port=options.admin_port,
        frontend_port=options.frontend_port,
        opens_in_s=options.opens_in,
        hold_ttl_s=options.hold_ttl,
        is_day=options.day,
        redis_url=options.redis_url,
        postgres_dsn=options.postgres_dsn,
    )


if __name__ == "__main__":
    sys.exit(main())
