"""Definitions in files of TOML, JSON and CSV, and mistakes by file and line."""

from pathlib import Path

import pytest

from quota_service.definitions.files import load_exam_file
from quota_service.definitions.reading import parse_exam
from quota_service.domain.definition import DefinitionError, Problem
from tests.support.definitions import (
    document,
    file_problems_of,
    shortly,
    without,
    write_definition,
    write_with_csv,
)


def test_a_number_too_long_to_print_is_a_problem_like_any_other(tmp_path: Path) -> None:
    path = tmp_path / "long.toml"
    path.write_text("[fee]\namount = 0x" + "f" * 50_000, encoding="utf-8")

    assert Problem(
        "fee.amount", "must be a whole number from 0 to 10000000, not a very large number"
    ) in file_problems_of(path)


def test_a_json_file_is_read_like_the_document(tmp_path: Path) -> None:
    path = write_definition(tmp_path, document())

    assert load_exam_file(path) == parse_exam(document())


def test_seats_come_from_the_csv_beside_the_file(tmp_path: Path) -> None:
    csv = "\ufeffsubject, venue ,seats\r\ngeneral,jinan,10\r\n\r\nqms,jinan, 5\r\ngeneral,hefei,0"
    path = write_with_csv(tmp_path, csv)

    assert load_exam_file(path) == parse_exam(document())


def test_wrong_csv_lines_are_named_together_with_the_other_problems(tmp_path: Path) -> None:
    (tmp_path / "seats.csv").write_text(
        "venue,subject,seats\n"
        "jinan,general,10\n"
        "mars,qms,5\n"
        "jinan,ems,5\n"
        "\n"
        "jinan,qms,many\n"
        "hefei,qms\n"
        "hefei,qms,1000001\n"
        "jinan,general,11\n",
        encoding="utf-8",
    )
    raw = {**without("seats"), "seats_csv": "seats.csv", "colour": "red"}

    assert set(file_problems_of(write_definition(tmp_path, raw))) == {
        Problem("seats.csv:3", "'mars' is not a venue of this exam"),
        Problem("seats.csv:4", "'ems' is not a subject of this exam"),
        Problem("seats.csv:6", "must be a whole number from 0 to 1000000, not 'many'"),
        Problem("seats.csv:7", "has 2 columns, not 3"),
        Problem("seats.csv:8", "must be a whole number from 0 to 1000000, not 1000001"),
        Problem("seats.csv:9", "the seats of 'jinan/general' are already given at seats.csv:2"),
        Problem("colour", "unknown key"),
    }


@pytest.mark.parametrize(
    ("csv", "where"),
    [
        ("", "seats.csv:1"),
        ("venue,seats\njinan,5\n", "seats.csv:1"),
        ("venue,subject,seats,seats\njinan,qms,5,5\n", "seats.csv:1"),
        ("jinan,qms,5\n", "seats.csv:1"),
        ("venue,subject,seats\n", "seats.csv"),
        ('venue,subject,seats\njinan,general,5\njinan,"qms"x,5\n', "seats.csv:3"),
        ("venue,subject,seats\njinan,qms,-5\n", "seats.csv:2"),
        ("venue,subject,seats\njinan,qms,\u0665\n", "seats.csv:2"),
        ("venue,subject,seats\njinan,qms,1" + "0" * 5000, "seats.csv:2"),
    ],
    ids=shortly,
)
def test_a_wrong_seats_file_is_named_by_its_line(tmp_path: Path, csv: str, where: str) -> None:
    assert [problem.where for problem in file_problems_of(write_with_csv(tmp_path, csv))] == [where]


@pytest.mark.parametrize("name", ["gone.csv", "../seats.csv", "/etc/passwd", "..", "", 5, "a\0b"])
def test_a_seats_file_that_is_not_beside_the_definition_is_refused(
    tmp_path: Path, name: object
) -> None:
    path = write_definition(tmp_path, {**without("seats"), "seats_csv": name})

    assert "seats_csv" in {problem.where for problem in file_problems_of(path)}


def test_seats_inline_and_in_a_csv_at_once_are_refused(tmp_path: Path) -> None:
    (tmp_path / "seats.csv").write_text("venue,subject,seats\njinan,qms,5\n", encoding="utf-8")
    path = write_definition(tmp_path, {**document(), "seats_csv": "seats.csv"})

    assert [problem.where for problem in file_problems_of(path)] == ["seats_csv"]


@pytest.mark.parametrize(
    ("content", "where"),
    [
        (b'id = "spring"\ntitle = {\n', "broken.toml:2"),
        (b'id = "spring"\nid = "autumn"\n', "broken.toml:2"),
        (b'id = "spring"\n\nfee = """\nnever closed', "broken.toml:4"),
        (b'id = "spring"\ntitle = "\xff"\n', "broken.toml:2"),
        (b"amount = " + b"9" * 5000, "broken.toml"),
        (b"a = " + b"[" * 100_000, "broken.toml"),
    ],
    ids=shortly,
)
def test_a_syntax_error_of_toml_names_file_and_line(
    tmp_path: Path, content: bytes, where: str
) -> None:
    path = tmp_path / "broken.toml"
    path.write_bytes(content)

    (problem,) = file_problems_of(path)

    assert problem.where == where
    assert "(at " not in problem.detail


@pytest.mark.parametrize(
    ("content", "where"),
    [
        ('{\n"id": "spring",\n}', "broken.json:3"),
        ('{"id": "spring", "id": "autumn"}', "broken.json"),
        ("[]", "broken.json"),
        ("[" * 100_000, "broken.json"),
    ],
    ids=shortly,
)
def test_a_syntax_error_of_json_names_the_file(tmp_path: Path, content: str, where: str) -> None:
    path = tmp_path / "broken.json"
    path.write_text(content, encoding="utf-8")

    (problem,) = file_problems_of(path)

    assert problem.where == where


def test_a_file_with_an_id_that_is_kept_for_rehearsals_is_refused(tmp_path: Path) -> None:
    path = write_definition(tmp_path, document() | {"id": "rehearsal-1"})

    with pytest.raises(DefinitionError, match="id: starts with rehearsal-"):
        load_exam_file(path)


def test_a_file_that_is_not_there_is_a_problem_of_the_definition(tmp_path: Path) -> None:
    (problem,) = file_problems_of(tmp_path / "gone.toml")

    assert problem == Problem("gone.toml", "cannot be read: No such file or directory")
