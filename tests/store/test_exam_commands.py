"""Definition files on the command line: what an import would do, a template, an export."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from quota_service.app.opening import Service
from quota_service.definitions.files import load_exam_file
from quota_service.domain.errors import CandidatesWaiting
from quota_service.registration.import_exam import check_import, import_exam
from quota_service.registration.reserve import Order, reserve
from quota_service.registration.waiting_room import join
from tests.support.command_line import CommandLine
from tests.support.evidence import Evidence
from tests.support.exams import exam_definition
from tests.support.rooms import let_open, open_room, room_definition

ROOM_NOTE = "# Without the leading `#` the exam"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "exam.json"


def write(file: Path, definition: dict[str, Any]) -> str:
    file.write_text(json.dumps(definition), encoding="utf-8")
    return str(file)


async def test_a_check_prints_every_difference_by_its_path_and_changes_nothing(
    service: Service, command_line: CommandLine, file: Path
) -> None:
    definition = exam_definition()
    await command_line("exam", "import", write(file, definition))
    definition["seats"] = {**definition["seats"], "jinan": {"general": 4, "qms": 2, "ems": 2}}
    definition["fee"] = {"amount": 9000, "currency": "CNY"}
    evidence = Evidence(service.settings)
    before = await evidence.fingerprint()

    checked = await command_line("exam", "import", "--check", write(file, definition))

    assert checked.status == 1
    assert checked.printed.splitlines() == [
        "exam-1: would change",
        "    fee.amount: 8000 → 9000",
        "    seats.jinan.general: 3 → 4",
        "    seats.jinan.service: 1 → none",
    ]
    assert await evidence.fingerprint() == before


async def test_a_check_of_what_is_stored_finds_no_difference(
    command_line: CommandLine, file: Path
) -> None:
    path = write(file, exam_definition("exam-2"))

    new = await command_line("exam", "import", "--check", path)
    await command_line("exam", "import", path)
    same = await command_line("exam", "import", "--check", path)

    assert (new.status, same.status) == (1, 0)
    assert new.printed == "exam-2: would be created with 10 quotas and 25 seats\n"
    assert same.printed == "exam-2: no difference\n"


async def test_a_check_tells_why_an_import_would_be_refused(
    service: Service, command_line: CommandLine, file: Path
) -> None:
    definition = exam_definition()
    await command_line("exam", "import", write(file, definition))
    await service.stores.registry.refresh()
    order = Order("candidate-1", ("general",), ("jinan",), accepted_notice=True)
    await reserve(service.stores.reservations, "exam-1", order, "key-1")
    definition["seats"] = {**definition["seats"], "jinan": {"general": 0}}

    checked = await command_line("exam", "import", "--check", write(file, definition))

    assert checked.status == 1
    refused = "    refused: seats.jinan.general: cannot be 0 while 1 seat is taken"
    assert refused in checked.printed.splitlines()


@pytest.mark.usefixtures("service")
async def test_a_template_is_imported_as_it_is_and_once_it_is_edited(
    command_line: CommandLine, tmp_path: Path
) -> None:
    path = tmp_path / "template.toml"
    text = (await command_line("exam", "template", "exam-9")).printed
    path.write_text(text, encoding="utf-8")

    created = await command_line("exam", "import", str(path))
    above, _, room = text.partition(ROOM_NOTE)
    room = room.partition("\n")[2].replace("# ", "", 1).replace("\n# ", "\n")
    path.write_text(above.replace("general = 100", "general = 120") + room, encoding="utf-8")
    edited = await command_line("exam", "import", str(path))

    assert created.printed == "exam-9: created with 1 quotas and 100 seats\n"
    assert edited.status == 0, edited
    assert "    seats.jinan.general: 100 → 120" in edited.printed.splitlines()
    assert "    waiting_room.rate_per_s: none → 20.0" in edited.printed.splitlines()


@pytest.mark.parametrize("form", ["toml", "json"])
async def test_an_export_is_imported_without_a_change(
    service: Service, command_line: CommandLine, tmp_path: Path, form: str
) -> None:
    definition = room_definition()
    words = 'Line "one" \\n\r\n\tline two\n"""'
    definition["notice"] = {"version": "7", "text": {"zh-Hant": words, "en": "once\n"}}
    await command_line("exam", "import", write(tmp_path / "exam.json", definition))

    exported = await command_line("exam", "export", "exam-1", "--format", form)
    path = tmp_path / f"exported.{form}"
    path.write_bytes(exported.printed.encode())
    checked = await command_line("exam", "import", "--check", str(path))

    await service.stores.registry.refresh()
    assert load_exam_file(path) == service.stores.registry.find("exam-1")
    assert (checked.status, checked.printed) == (0, "exam-1: no difference\n")


async def test_a_waiting_room_is_not_removed_while_candidates_wait_unless_it_is_forced(
    service: Service,
) -> None:
    await open_room(service)
    stores = service.stores
    without = replace(stores.registry.find("exam-1"), waiting_room=None)
    await join(stores.waiting_room, "exam-1", "candidate-1")

    with pytest.raises(CandidatesWaiting) as refused:
        await import_exam(stores.maintenance, without)
    checked = await check_import(stores.maintenance, without)
    forced = await import_exam(stores.maintenance, without, force=True)

    assert refused.value.waiting == 1
    assert [problem.where for problem in checked.problems] == ["waiting_room"]
    assert "waiting_room.rate_per_s" in {change.where for change in forced.changes}
    assert stores.registry.find("exam-1").waiting_room is None


async def test_a_waiting_room_in_which_nobody_waits_can_be_removed(service: Service) -> None:
    await open_room(service)
    await let_open(service)
    without = replace(service.stores.registry.find("exam-1"), waiting_room=None)

    imported = await import_exam(service.stores.maintenance, without)

    assert "waiting_room.rate_per_s" in {change.where for change in imported.changes}
