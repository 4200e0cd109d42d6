"""How a command is added to the parser, and the stores that commands open."""

import argparse
import getpass
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

from quota_service.app.opening import open_stores
from quota_service.ledger.exams import ExamLedger
from quota_service.ledger.pool import Ledger, open_ledger
from quota_service.observability.logs import KEY_ID
from quota_service.observability.metrics import Metrics
from quota_service.registration.registry import ExamRegistry
from quota_service.registration.stores import Stores
from quota_service.settings import Settings

Command = Callable[[argparse.Namespace, Settings], Awaitable[int]]
"""Does what was asked for and returns the exit status."""


class Group(Protocol):
    """What takes commands: argparse has no public name for it."""

    def add_parser(self, name: str, *, help: str, description: str) -> argparse.ArgumentParser:  # noqa: A002
        """Add the parser of a command."""


def add(group: Group, name: str, command: Command, meaning: str) -> argparse.ArgumentParser:
    """Add a command to a group, and return its parser for options."""
    added = group.add_parser(name, help=meaning, description=meaning)
    added.set_defaults(command=command)
    return added


def add_group(commands: Group, name: str, meaning: str) -> Group:
    """Add a command that has commands of its own."""
    group = commands.add_parser(name, help=meaning, description=meaning)
    return group.add_subparsers(required=True, metavar="COMMAND")


def add_reason(parser: argparse.ArgumentParser) -> None:
    """Add the reason of what is done, which the database keeps with the user of the command."""
    parser.add_argument("--reason", required=True, help="why, for those who look later")


def postgres(settings: Settings) -> AbstractAsyncContextManager[Ledger]:
    """Open Postgres, for commands that need nothing else."""
    _sign()
    return open_ledger(settings, Metrics())


@asynccontextmanager
async def exams(settings: Settings) -> AsyncIterator[ExamRegistry]:
    """Read the exams from Postgres."""
    async with postgres(settings) as ledger:
        registry = ExamRegistry(ExamLedger(ledger))
        await registry.refresh()
        yield registry


@asynccontextmanager
async def both_stores(settings: Settings) -> AsyncIterator[Stores]:
    """Open both stores, for commands that change or compare what is in them."""
    _sign()
    async with open_stores(settings, Metrics()) as stores:
        await stores.registry.refresh()
        yield stores


def _sign() -> None:
    """Note who runs the command, for the record of what it changes."""
    KEY_ID.set(f"cli:{_user()}")


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # the number has no name, as in a container
        return str(os.getuid())
