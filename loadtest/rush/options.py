"""The size of a rush and where it goes: presets, and every part of them as an option."""

import argparse
import datetime as dt
import os
import secrets
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from loadtest.rush.crowd_file import DEFAULT, Crowd, read_crowd
from loadtest.rush.goals import Goal, read_goal
from quota_service.domain.exam import IDENTIFIER, REHEARSAL_PREFIX

RESULTS = Path("loadtest/results")
ROLES = ("local", "master", "worker")
_KEPT_BACK_SHARE = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """A preset. `before_s` passes before the opening, `open_s` after it until arrivals end."""

    candidates: int
    before_s: float
    open_s: float
    hold_ttl_s: int
    checkout_grace_s: int
    expiry_slack_s: int
    claim_grace_s: int


SIZES: Mapping[str, Size] = {
    "15s": Size(
        candidates=40,
        before_s=2,
        open_s=4,
        hold_ttl_s=3,
        checkout_grace_s=1,
        expiry_slack_s=0,
        claim_grace_s=2,
    ),
    "1m": Size(
        candidates=400,
        before_s=7,
        open_s=18,
        hold_ttl_s=5,
        checkout_grace_s=3,
        expiry_slack_s=1,
        claim_grace_s=8,
    ),
    "5m": Size(
        candidates=3000,
        before_s=45,
        open_s=155,
        hold_ttl_s=30,
        checkout_grace_s=15,
        expiry_slack_s=2,
        claim_grace_s=30,
    ),
}
"""A check of the setting, what fits into a minute, stores included, and into five on two cores.

So few come in the first that some promises may not be put to the test, which fails the run.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """One run. Shares are of the seats, or of the time; units come last in names."""

    exam: str
    like: str | None
    host: str | None
    role: str
    master_host: str
    master_port: int
    locust_workers: int
    api_processes: int
    has_room: bool
    seed: int
    candidates: int
    seats: int
    before_s: float
    open_s: float
    hold_ttl_s: int
    checkout_grace_s: int
    expiry_slack_s: int
    claim_grace_s: int
    rate_per_s: float
    folder: Path
    """Where this run is written."""
    crowd: Crowd
    metrics: tuple[str, ...] = ()
    """URLs of the /metrics of the service's processes."""
    goals: tuple[Goal, ...] = ()
    kept_back_share: float = _KEPT_BACK_SHARE
    release_after_share: float = 0.5
    pass_ttl_s: int = 60
    connections_max: int = 512
    request_timeout_s: float = 30.0
    callbacks_end_s: float = 60.0
    """How long the provider may take, after the last candidate, to have every callback answered."""


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    made = argparse.ArgumentParser(
        prog=_command(),
        description="Rehearse the opening rush and check what the service promised.",
        epilog="With --host, QUOTA_FRONTEND_KEY, QUOTA_OPS_KEY and QUOTA_PAYMENT_SECRET say how "
        "to call it; `quota-service demo` writes all of them to demo.env.",
    )
    made.add_argument("--size", choices=SIZES, default="5m", help="preset (%(default)s)")
    made.add_argument(
        "--crowd",
        type=_crowd,
        default=str(DEFAULT),
        metavar="FILE",
        help="when candidates come and what they do, as TOML like %(default)s",
    )
    made.add_argument("--candidates", type=_count, help="how many people come")
    made.add_argument("--seats", type=_count, help="seats of all quotas together")
    made.add_argument("--minutes", type=float, help="length from the first arrival to the checks")
    made.add_argument("--no-room", action="store_true", help="without the waiting room")
    made.add_argument("--rate", type=float, help="admissions a second to begin with")
    made.add_argument("--workers", type=_count, default=1, help="API processes (%(default)s)")
    made.add_argument(
        "--goal",
        action="append",
        default=[],
        type=_goal,
        metavar="STEP:MEASURE=MS",
        help="a latency that must not be exceeded, such as reserve:p99=250; more than one is "
        "given by repeating this",
    )
    made.add_argument("--seed", type=int, default=1, help="who wants what (%(default)s)")
    made.add_argument(
        "--results",
        type=Path,
        default=RESULTS,
        help="where each run makes a folder named by time and exam (%(default)s)",
    )
    made.add_argument("--folder", type=Path, help="the folder of this run, for a name of your own")
    made.add_argument(
        "--host", "--target", metavar="URL", help="a running service, not one made for the run"
    )
    made.add_argument(
        "--metrics",
        action="append",
        default=[],
        metavar="URL",
        help="admin URL of a process of the service, once for each: its /metrics are in the "
        "picture (QUOTA_ADMIN_URL, if it is set)",
    )
    made.add_argument(
        "--exam",
        type=_own_exam,
        metavar=f"{REHEARSAL_PREFIX}NAME",
        help="id of the exam to make, which is not there yet (one of its own for each run)",
    )
    made.add_argument(
        "--like",
        metavar="EXAM",
        help="rehearse a copy of this exam of the service: its venues, subjects, seats, fee and "
        "rates; needs --host",
    )
    made.add_argument("--role", choices=ROLES, default="local", help="part in a distributed run")
    made.add_argument("--master-host", default="127.0.0.1", help="for --role worker")
    made.add_argument("--master-port", type=int, default=5557, help="for master and worker")
    made.add_argument("--locust-workers", type=_count, default=1, help="the master waits for them")
    return made


def read_options(arguments: Sequence[str] | None = None) -> Options:
    """Read the command line; exits with status 2 when it is wrong."""
    made = parser()
    chosen = made.parse_args(arguments)
    if chosen.role != "local" and not (chosen.host and chosen.exam):
        made.error("--role master and --role worker need --host and one --exam for all")
    if chosen.like and not chosen.host:
        made.error("--like needs --host: a service made for the run has no exam to copy")
    if chosen.like and (chosen.seats or chosen.rate):
        made.error("--like has the seats and rates of the exam: leave out --seats and --rate")
    size = SIZES[chosen.size]
    stretch = 1.0
    if chosen.minutes is not None:
        stretch = (chosen.minutes * 60 - _fixed_s(size)) / (size.before_s + size.open_s)
        if stretch <= 0:
            made.error(
                f"--minutes leaves no time: {_fixed_s(size):g} s are for starting and ending"
            )
    candidates = chosen.candidates or size.candidates
    exam = chosen.exam or f"{REHEARSAL_PREFIX}{secrets.token_hex(4)}"
    admin_urls = chosen.metrics or [url for url in [os.environ.get("QUOTA_ADMIN_URL")] if url]
    return Options(
        exam=exam,
        like=chosen.like,
        host=chosen.host,
        role=chosen.role,
        master_host=chosen.master_host,
        master_port=chosen.master_port,
        locust_workers=chosen.locust_workers,
        api_processes=chosen.workers,
        has_room=not chosen.no_room,
        seed=chosen.seed,
        candidates=candidates,
        # People want two seats on average: enough for half of them.
        seats=chosen.seats or candidates,
        before_s=size.before_s * stretch,
        open_s=size.open_s * stretch,
        hold_ttl_s=size.hold_ttl_s,
        checkout_grace_s=size.checkout_grace_s,
        expiry_slack_s=size.expiry_slack_s,
        claim_grace_s=size.claim_grace_s,
        rate_per_s=chosen.rate or max(20.0, round(candidates / (0.4 * size.open_s * stretch))),
        folder=chosen.folder
        or chosen.results / f"{dt.datetime.now(dt.UTC):%Y-%m-%dT%H%M%SZ}-{exam}",
        crowd=chosen.crowd,
        goals=tuple(chosen.goal),
        metrics=tuple(f"{url.rstrip('/')}/metrics" for url in admin_urls),
    )


def key_from_environment(name: str) -> str:
    """Return a key from the environment; KeyError with a sentence when it is not there."""
    try:
        return os.environ[name]
    except KeyError:
        raise KeyError(f"{name} is not set; see `{_command()} --help`") from None


def _command() -> str:
    """Return how this run was started: as the installed command, or as a module."""
    installed = "quota-rehearse"
    return installed if Path(sys.argv[0]).name == installed else "python -m loadtest.rush"


def _fixed_s(size: Size) -> float:
    """Seconds a run takes beside the time before and after the opening."""
    starting_and_checking_s = 15.0
    return size.hold_ttl_s + size.checkout_grace_s + size.expiry_slack_s + starting_and_checking_s


def _crowd(text: str) -> Crowd:
    try:
        return read_crowd(Path(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _goal(text: str) -> Goal:
    try:
        return read_goal(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _own_exam(text: str) -> str:
    """Return the id of an exam that a rehearsal may make: no real exam is called so."""
    name = text.removeprefix(REHEARSAL_PREFIX)
    if name in {"", text} or IDENTIFIER.fullmatch(text) is None:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no name for a rehearsal: {REHEARSAL_PREFIX} and more, at most 32 "
            "characters in all"
        )
    return text


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(f"{text} is not at least 1")
    return number
