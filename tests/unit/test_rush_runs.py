"""Each rehearsal leaves a folder: how it was made, its figures, the metrics of the service."""

import socket
import sys
import threading
from pathlib import Path

import pytest
from prometheus_client import generate_latest

from loadtest.rush import compare, run_file
from loadtest.rush.checks import check
from loadtest.rush.evidence import Arrived, Call, Evidence, Measured
from loadtest.rush.figures import figures
from loadtest.rush.goals import Goal, reached
from loadtest.rush.options import Options, read_options
from loadtest.rush.progress import Progress
from loadtest.rush.report import report
from loadtest.rush.server_metrics import SAMPLES, measured, note
from quota_service.observability.metrics import Metrics
from tests.support.rush_evidence import OPENS_S, good_evidence, good_facts


def run_in(folder: Path, options: Options, took_ms: float) -> Path:
    evidence = good_evidence()
    evidence.add(Call("reserve", OPENS_S + 1, took_ms, 201, ""))
    found = figures(evidence, OPENS_S)
    folder.mkdir()
    run_file.write(
        folder,
        run_file.record(
            options, "0.9", found, check(evidence, good_facts()), reached(options.goals, found)
        ),
    )
    return folder


def test_each_run_has_a_folder_of_its_own_unless_one_is_named() -> None:
    first, second = (read_options(["--results", "r"]).folder for _ in range(2))

    assert first.parent == second.parent == Path("r")
    assert first != second
    assert read_options(["--folder", "mine"]).folder == Path("mine")


def test_a_run_says_when_where_and_of_which_version_it_was(tmp_path: Path) -> None:
    options = read_options(["--target", "http://quota.example", "--seed", "7"])

    run = run_file.read(run_in(tmp_path / "a", options, 5.0))

    assert run["target"] == "http://quota.example"
    assert (run["service_version"], run["options"]["seed"]) == ("0.9", 7)
    assert run["date"].endswith("+00:00")
    assert run["figures"]["seats_taken"] == 3
    assert run["steps"]["reserve"] == {
        "calls": 4,
        "refused": 0,
        "no answer": 0,
        "p50 ms": 5.0,
        "p90 ms": 5.0,
        "p99 ms": 5.0,
        "max ms": 5.0,
    }
    assert run["promises"]["P1"] is True


def test_two_runs_are_compared_by_options_figures_and_steps(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = run_in(tmp_path / "one", read_options(["--seed", "1"]), 5.0)
    two = run_in(tmp_path / "two", read_options(["--seed", "2"]), 50.0)

    assert compare.compare([str(one), str(two)]) == 0

    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["seed", "1", "2"] in lines
    assert ["reserve:", "p99", "ms", "5", "50", "10.00"] in lines
    assert ["seats", "taken", "3", "3", "1.00"] in lines
    assert not any(line[:1] == ["candidates"] and len(line) == 3 for line in lines)


@pytest.mark.parametrize(
    ("written", "told"),
    [
        (None, "No such file"),
        ("{", "run.json: "),
        ('{"figures": {}}', "no options, steps, promises"),
    ],
)
def test_a_folder_without_a_record_is_refused_by_its_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], written: str | None, told: str
) -> None:
    if written is not None:
        (tmp_path / "run.json").write_text(written)

    with pytest.raises(SystemExit, match="2"):
        compare.compare([str(tmp_path), str(tmp_path)])

    error = capsys.readouterr().err
    assert str(tmp_path / "run.json") in error
    assert told in error


def test_the_metrics_that_are_drawn_are_those_the_service_exports() -> None:
    metrics = Metrics()
    metrics.requests_at_work.labels("reserve").set(3)
    metrics.requests_at_work.labels("read").set(2)
    metrics.requests_refused.labels("reserve", "queue-full").inc(4)
    exposition = generate_latest(metrics.registry).decode()

    seen = measured("http://a", 1.0, exposition)

    assert (seen.at_work, seen.refused) == (5, 4)
    assert seen.cpu_s > 0
    exported = {family.name for family in metrics.registry.collect()}
    assert {name.removesuffix("_total") for name in SAMPLES} <= exported | {"process_cpu_seconds"}


def test_the_processes_of_the_service_are_added_up_and_a_restart_is_no_fall() -> None:
    evidence = Evidence()
    for second, cpu_s in enumerate((1.0, 1.5, 0.1)):
        at_s = OPENS_S + second
        evidence.add(Measured("api", at_s, cpu_s, 4, 1, 10 * second, 2))
        evidence.add(Measured("worker", at_s, 3.0 + second / 4, 0, 0, 0, 3))
    # What a worker of locust sends to its master is the same.
    received = Evidence()
    received.add_wire(evidence.take_wire())

    found = figures(received, OPENS_S)

    assert found.cores_used.values == (0.75, 0.25)
    assert found.refused.values == (10, 10)
    assert set(found.at_work.values) == {4}
    assert set(found.journal_lag_s.values) == {3}


def test_goals_are_reached_or_missed_and_a_missed_one_fails_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    goals = {"reserve:p99=5": True, "reserve:max=4.9": False, "refund:p50=1000": False}
    evidence, facts = good_evidence(), good_facts()
    verdicts = check(evidence, facts)

    def exit_status(*names: str) -> int:
        words = [word for name in names for word in ("--goal", name)]
        options = read_options(["--no-room", "--folder", str(tmp_path), *words])
        return report(options, evidence, facts, verdicts, opens_at_s=OPENS_S, service_version="0.9")

    assert exit_status("reserve:p99=5") == 0
    assert "0 promises broken, 0 of 1 goals missed." in capsys.readouterr().out
    assert exit_status(*goals) == 1
    told = capsys.readouterr().out
    assert "0 promises broken, 2 of 3 goals missed." in told
    assert ["refund", "p50", "1000", "never", "called", "MISSED"] in map(
        str.split, told.splitlines()
    )
    assert run_file.read(tmp_path)["goals"] == goals


@pytest.mark.parametrize(
    ("goal", "told"),
    [
        ("reserv:p99=250", "'reserv' is no step; the steps are availability, callback"),
        ("reserve:p98=250", "'p98' is not measured; p50, p90, p99, max are"),
        ("reserve:p99=fast", "'fast' is no time in milliseconds above 0"),
        ("reserve:p99=-1", "'-1' is no time"),
        ("reserve:p99=nan", "'nan' is no time"),
        ("reserve:p99", "'' is no time"),
    ],
)
def test_a_goal_that_is_none_is_refused_with_what_is_wrong(
    goal: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        read_options(["--goal", goal])

    assert told in capsys.readouterr().err
    assert read_options(["--goal", "own reads:p50=20"]).goals == (Goal("own reads", "p50", 20.0),)


def test_progress_tells_how_things_stand_and_what_was_called_since() -> None:
    evidence = good_evidence()
    progress = Progress(evidence, OPENS_S)
    evidence.add(Arrived("ann", OPENS_S))

    first = progress.line(OPENS_S + 5)
    evidence.add(Call("reserve", OPENS_S + 6, 31.0, 201, ""))
    evidence.add(Call("poll", OPENS_S + 6, 31.0, 0, "no-answer"))
    second = progress.line(OPENS_S + 7)

    assert first.startswith("   +5 s  1 came, 3 admitted, 0 wait, 2 seats left, ")
    assert first.endswith("reserve p99 5 ms")
    assert second.endswith("1 requests/s, reserve p99 31 ms, 1 without an answer")


@pytest.mark.parametrize(
    ("started_as", "named"),
    [
        ("/opt/quota-service/bin/quota-rehearse", "quota-rehearse"),
        ("/repository/loadtest/rush/__main__.py", "python -m loadtest.rush"),
    ],
)
def test_help_names_the_command_as_it_was_started(
    started_as: str,
    named: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", [started_as])

    with pytest.raises(SystemExit):
        read_options(["--help"])

    assert f"usage: {named} [" in capsys.readouterr().out


@pytest.mark.parametrize(
    "answer",
    [
        b"no HTTP at all\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\ncut short",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n\xff",
    ],
)
def test_a_process_that_answers_no_metrics_is_left_out(answer: bytes) -> None:
    evidence = Evidence()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer_once() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(answer)

        answering = threading.Thread(target=answer_once)
        answering.start()
        note(f"http://127.0.0.1:{listener.getsockname()[1]}/metrics", evidence)
        answering.join()

    assert not list(evidence.of(Measured))
