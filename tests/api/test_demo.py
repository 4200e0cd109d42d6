"""The demo as a user meets it: Ctrl-C, kill -9 and a second start."""

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from quota_service.definitions.files import load_exam_file
from quota_service.domain.definition import exam_document
from tests.support.demo import Demo, await_none_running, running_demo
from tests.support.patience import LIMIT_S

SAMPLE = Path(__file__).parents[2] / "quota_service" / "exams" / "ccaa-2023-1.toml"
EXAM = "/v1/exams/ccaa-2023-1"


def call(
    demo: Demo, path: str, *, method: str = "GET", key: str = "QUOTA_FRONTEND_KEY", **body: object
) -> dict[str, object]:
    request = urllib.request.Request(  # noqa: S310  loopback
        demo.env["QUOTA_URL"] + path,
        method=method,
        data=json.dumps(body).encode() if body else None,
        headers={
            "Authorization": f"Bearer {demo.env[key]}",
            "Idempotency-Key": "key-1",
        },
    )
    with urllib.request.urlopen(request, timeout=LIMIT_S) as response:  # noqa: S310  loopback
        answer: dict[str, object] = json.load(response)
        return answer


def reserve(demo: Demo) -> dict[str, object]:
    path = f"{EXAM}/reservations"
    order = {"candidate": "c-1", "subjects": ["qms"], "venues": ["jinan"]}
    return call(demo, path, method="POST", accepted_notice="2023-1", **order)


def pay(reservation: str, env: Mapping[str, str]) -> "subprocess.CompletedProcess[str]":
    """Run `quota-service demo pay` with no `QUOTA_` variable but those given."""
    others = {name: value for name, value in os.environ.items() if not name.startswith("QUOTA_")}
    return subprocess.run(
        [sys.executable, "-m", "quota_service.cli", "demo", "pay", reservation],
        capture_output=True,
        text=True,
        env={**others, **env},
        check=False,
    )


def test_ctrl_c_stops_everything_and_leaves_nothing_behind(tmp_path: Path) -> None:
    with running_demo(tmp_dir=tmp_path) as demo:
        data_dir = demo.env_file.parent
        assert data_dir.exists()

        status = demo.stop(signal.SIGINT)

        assert status == 0
        assert len(demo.pids) > 3
        assert demo.running() == []
        assert not data_dir.exists()


def test_a_second_start_after_kill_9_has_all_that_was_there(tmp_path: Path) -> None:
    options = ("--data-dir", str(tmp_path / "data"), "--hold-ttl", "900")

    with running_demo(*options, tmp_dir=tmp_path) as first:
        held = reserve(first)
        first.process.kill()
        first.process.wait()
        left_running = await_none_running(first)
    with running_demo(*options, tmp_dir=tmp_path) as second:
        found = call(second, f"/v1/reservations/{held['id']}")

    assert left_running == []
    assert found == held
    assert second.env["QUOTA_FRONTEND_KEY"] == first.env["QUOTA_FRONTEND_KEY"]


def test_a_second_start_keeps_what_ops_changed(tmp_path: Path) -> None:
    options = ("--data-dir", str(tmp_path / "data"))

    with running_demo(*options, tmp_dir=tmp_path) as first:
        definition = exam_document(load_exam_file(SAMPLE))
        definition["seats"]["hefei"]["service"] = 11
        call(first, EXAM, method="PUT", key="QUOTA_OPS_KEY", **definition)
        first.stop()
    with running_demo(*options, tmp_dir=tmp_path) as second:
        quotas: Any = call(second, f"{EXAM}/availability")["quotas"]

    capacity = {(quota["venue"], quota["subject"]): quota["capacity"] for quota in quotas}
    assert capacity["hefei", "service"] == 11


def test_the_demo_can_wait_for_its_opening(tmp_path: Path) -> None:
    with running_demo("--opens-in", "3600", tmp_dir=tmp_path) as demo:
        try:
            reserve(demo)
        except urllib.error.HTTPError as refusal:
            problem = json.load(refusal)

    assert problem["type"] == "/problems/registration-not-open"


def test_demo_pay_books_a_reservation_once(tmp_path: Path) -> None:
    with running_demo("--hold-ttl", "900", tmp_dir=tmp_path) as demo:
        held = str(reserve(demo)["id"])

        first = pay(held, demo.env)
        again = pay(held, demo.env)

        shown: Any = call(demo, f"/v1/reservations/{held}")
        unknown = pay("ccaa-2023-1.0.aaaaaaaaaaaaaaaaaaaaaaaa", demo.env)

    assert (first.returncode, first.stderr) == (0, "")
    assert json.loads(first.stdout) == {"outcome": "confirmed", "reservation": held}
    assert (again.returncode, again.stdout) == (0, first.stdout)
    assert shown["state"] == "confirmed"
    assert shown["payment"]["amount"] == shown["amount"]
    assert unknown.returncode == 1
    assert "404, Unknown reservation: " in unknown.stderr


def test_demo_pay_says_what_it_needs_where_no_demo_is_named() -> None:
    reservation = "ccaa-2023-1.0.aaaaaaaaaaaaaaaaaaaaaaaa"
    demo_that_is_gone = {
        "QUOTA_URL": "http://127.0.0.1:1",
        "QUOTA_FRONTEND_KEY": "quota_0_0",
        "QUOTA_PAYMENT_SECRET": "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
    }

    unnamed = pay(reservation, {})
    gone = pay(reservation, demo_that_is_gone)

    assert (unnamed.returncode, gone.returncode) == (1, 1)
    assert unnamed.stderr == (
        "quota-service: QUOTA_URL is not set: run the line that the demo printed after "
        "`in a shell:` first\n"
    )
    assert gone.stderr.startswith("quota-service: no answer from http://127.0.0.1:1: ")
