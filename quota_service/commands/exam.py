"""Commands about exams: definitions; `day` has those for the day."""

import argparse
import datetime as dt
from collections.abc import Iterable
from pathlib import Path

import orjson

from quota_service.commands.adding import Group, add, add_group, both_stores, exams
from quota_service.commands.day import add_day_commands
from quota_service.definitions.files import load_exam_file
from quota_service.definitions.template import template
from quota_service.definitions.toml import toml_of
from quota_service.domain.definition import exam_document
from quota_service.domain.exam import Exam
from quota_service.registration.import_exam import check_import, import_exam
from quota_service.settings import Settings


def add_exam_commands(commands: Group) -> None:
    """Add `exam` and its commands."""
    group = add_group(
        commands, "exam", "import, check and print exam definitions; pause and resume an exam"
    )
    importing = add(group, "import", _import, "import a definition file (TOML or JSON)")
    importing.add_argument("file", type=Path)
    importing.add_argument(
        "--check",
        action="store_true",
        help="print what an import would change and why it would be refused, and change nothing; "
        "exit status 1 when there is anything",
    )
    importing.add_argument(
        "--force",
        action="store_true",
        help="remove the waiting room of an exam while candidates wait in it",
    )
    writing = add(group, "template", _template, "print a commented definition to start from")
    writing.add_argument("exam", nargs="?", default="exam-1", help="id of the exam (%(default)s)")
    exporting = add(
        group, "export", _export, "print a definition as a file that imports without a change"
    )
    exporting.add_argument("exam")
    exporting.add_argument("--format", choices=["toml", "json"], default="toml")
    add(group, "show", _show, "print one exam as JSON").add_argument("exam")
    add_day_commands(group)
    add(group, "list", _list, "list the exams")


async def _import(options: argparse.Namespace, settings: Settings) -> int:
    exam = load_exam_file(options.file)
    if options.check:
        return await _check(exam, settings, force=options.force)
    async with both_stores(settings) as stores:
        imported = await import_exam(stores.maintenance, exam, force=options.force)
    if imported.created:
        print(f"{exam.id}: created with {_size(exam)}")
    else:
        print(f"{exam.id}: {'changed' if imported.changes else 'nothing changed'}")
    _print_each(imported.changes)
    _print_each(imported.warnings, "warning: ")
    return 0


async def _check(exam: Exam, settings: Settings, *, force: bool) -> int:
    async with both_stores(settings) as stores:
        checked = await check_import(stores.maintenance, exam, force=force)
    if checked.created:
        print(f"{exam.id}: would be created with {_size(exam)}")
    else:
        print(f"{exam.id}: {'would change' if checked.changes else 'no difference'}")
    _print_each(checked.changes)
    _print_each(checked.problems, "refused: ")
    _print_each(checked.warnings, "warning: ")
    return 1 if checked.created or checked.changes or checked.problems else 0


def _size(exam: Exam) -> str:
    return f"{len(exam.seats)} quotas and {sum(exam.seats.values())} seats"


def _print_each(lines: Iterable[object], prefix: str = "") -> None:
    for line in lines:
        print(f"    {prefix}{line}")


async def _template(options: argparse.Namespace, _settings: Settings) -> int:
    print(template(options.exam, dt.datetime.now(dt.UTC).date()), end="")
    return 0


async def _export(options: argparse.Namespace, settings: Settings) -> int:
    async with exams(settings) as registry:
        document = exam_document(registry.find(options.exam))
    print(toml_of(document) if options.format == "toml" else _json(document), end="")
    return 0


async def _show(options: argparse.Namespace, settings: Settings) -> int:
    async with exams(settings) as registry:
        document = exam_document(registry.find(options.exam))
    print(_json(document), end="")
    return 0


def _json(document: dict[str, object]) -> str:
    return f"{orjson.dumps(document, option=orjson.OPT_INDENT_2).decode()}\n"


async def _list(_options: argparse.Namespace, settings: Settings) -> int:
    async with exams(settings) as registry:
        for exam in registry.all():
            print(f"{exam.id}\t{exam.title}\t{sum(exam.seats.values())} seats")
        for exam_id, cause in registry.not_loaded().items():
            print(f"{exam_id}\tcannot be loaded\t{cause}")
    return 0
