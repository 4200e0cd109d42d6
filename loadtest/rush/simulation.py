"""Runs the rush in one process of locust against a service that runs already, and judges it.

`python -m loadtest.rush` starts it, with the keys in the environment; locust makes the process
cooperative at its import (gevent), which is why nothing that runs the service lives here.
"""

import dataclasses
import functools
import random
import sys
import time
from collections.abc import Callable, Mapping

import gevent
from locust import log as locust_log
from locust.env import Environment
from locust.runners import MasterRunner, Runner

from loadtest.rush.calls import Caller, shared_client
from loadtest.rush.checks import (
    EXPIRY_LATE_MAX_S,
    MACHINE_LATE_MAX_S,
    check,
    own_refunds_due,
)
from loadtest.rush.collect import CollectError, collect
from loadtest.rush.crowd import CrowdUser, Opening
from loadtest.rush.evidence import Document, Evidence, Shown
from loadtest.rush.exam import (
    VENUES,
    capacities,
    copied,
    definition,
    kept_back,
    more_seats,
    popularity_of,
    seats_of,
    seconds,
)
from loadtest.rush.options import Options, key_from_environment, read_options
from loadtest.rush.own_exam import NotOurExamError, OwnExam
from loadtest.rush.progress import Progress
from loadtest.rush.provider import Provider
from loadtest.rush.report import report
from loadtest.rush.server_metrics import measure
from loadtest.rush.watcher import Watcher
from loadtest.rush.world import World
from quota_service.client.call import Call
from quota_service.client.unsent import UNSENT

WORKERS_WAIT_S = 120.0
EXAM_WAIT_S = 120.0
CANDIDATES_END_S = 90.0
KNOWN_EVERYWHERE_S = 2.0
"""How long after its import an exam is known to every API process, which read each second."""

_POLL_S = 0.2
_REPORT_LAG_S = 7.0
"""Two of locust's reporting intervals: what a worker has noted is with the master by then."""


def main() -> int:
    """Run one part of a rush; the exit status is 1 when a promise broke."""
    options = read_options()
    if options.host is None:
        raise SystemExit("the simulation needs --host; `python -m loadtest.rush` makes one")
    # Below an error it warns of every fast start of users, which a spike is.
    locust_log.setup_logging("ERROR", None)
    environment = Environment(user_classes=[CrowdUser], host=options.host, stop_timeout=1)
    simulation = Simulation(options, options.host, environment)
    if options.role == "worker":
        return simulation.run_worker()
    return simulation.run()


class Simulation:
    """The parts of one process, and the order they run in."""

    def __init__(self, options: Options, host: str, environment: Environment) -> None:
        self._options = options
        self._environment = environment
        self._evidence = Evidence()
        client = shared_client(host, options.connections_max, options.request_timeout_s)

        def caller(key: str = "") -> Caller:
            key = key_from_environment(key) if key else ""
            return Caller(environment, self._evidence, client, key)

        self._public, self._frontend = caller(), caller("QUOTA_FRONTEND_KEY")
        self._ops = caller("QUOTA_OPS_KEY") if options.role != "worker" else self._public
        secret = key_from_environment("QUOTA_PAYMENT_SECRET")
        self._provider = Provider(self._public, secret, self._evidence, options.seed)
        self._pending_elsewhere: dict[str, int] = {}
        self._faults = self._provider.faults
        environment.events.user_error.add_listener(self._user_broke)

    def run(self) -> int:
        """Make the exam, run the crowd, await quiet, check and report; return the exit status."""
        options = self._options
        seats, define = self._exam_to_make()
        runner = self._runner()
        opens_at_s = time.time() + KNOWN_EVERYWHERE_S + options.before_s
        early_seats = kept_back(seats, options.kept_back_share)
        early = define(options, opens_at_s, early_seats)
        whole = define(options, opens_at_s, seats)
        more = more_seats(seats, early_seats)
        release_at_s = opens_at_s + options.open_s * options.release_after_share
        own_exam = OwnExam(options.exam, self._ops, gevent.sleep)
        try:
            own_exam.make(early)
            if more:
                own_exam.plan_release(release_at_s, more)
        except NotOurExamError as error:
            raise SystemExit(str(error)) from error
        world = self._world()
        options = self._options
        print(f"{options.candidates} candidates, {_total(whole)} seats at {options.host}")
        print(f"exam {options.exam} opens in {options.before_s:.0f} s", flush=True)
        watcher = Watcher(options, self._ops, self._evidence, _total(whole))
        watcher.has_list = world.has_list
        watching = gevent.spawn(watcher.run)
        telling = gevent.spawn(Progress(self._evidence, opens_at_s).run)
        measuring = gevent.spawn(measure, options.metrics, self._evidence)
        gevent.sleep(KNOWN_EVERYWHERE_S)
        self._environment.shape_class = Opening(options, opens_at_s, runner)
        runner.start_shape()
        world.sleep_until(world.ends_at_s)
        self._await_end(world)
        watcher.stop()
        watching.get()
        gevent.killall([measuring, telling])
        if self._faults:
            print(f"the simulation itself broke: {self._faults[0]}", file=sys.stderr)
            return 1
        try:
            exam = whole if watcher.has_released else early
            facts = collect(options, exam, self._frontend, self._ops, self._evidence)
        except CollectError as error:
            print(f"P8 broken: {error}", file=sys.stderr)
            return 1
        finally:
            runner.quit()
        verdicts = check(self._evidence, facts)
        due = [row["id"] for row in own_refunds_due(self._evidence, facts)]
        status = report(
            options,
            self._evidence,
            facts,
            verdicts,
            opens_at_s=opens_at_s,
            service_version=self._version(),
        )
        print(own_exam.end(early, due) or f"{options.exam} is archived", flush=True)
        return status

    def _exam_to_make(self) -> tuple[dict[str, dict[str, int]], Callable[..., Document]]:
        """Return the seats of the exam and what makes its definition; SystemExit without one."""
        if self._options.like is None:
            return seats_of(self._options.seats), definition
        like = self._options.like
        exam = self._public.send("look at exam", UNSENT.get_exam(like))
        availability = self._public.send("availability", UNSENT.get_availability(like))
        for answer in (exam, availability):
            if not answer.is_ok:
                raise SystemExit(
                    f"--like {like}: its exam is answered {answer.status} {answer.slug}"
                )
        return capacities(availability.document), functools.partial(copied, exam.document)

    def _version(self) -> str:
        """Return the version that the service says it has."""
        answer = self._public.send("collect", UNSENT.get_openapi())
        return str(answer.document["info"]["version"]) if answer.is_ok else "unknown"

    def run_worker(self) -> int:
        """Be the crowd, or a part of it, until the master says that it is over."""
        runner = self._environment.create_worker_runner(
            self._options.master_host, self._options.master_port
        )
        world = self._world()

        def tell(client_id: str, data: Document) -> None:  # noqa: ARG001  locust's signature
            data["rush"] = {
                "notes": self._evidence.take_wire(),
                "pending": world.in_flight + self._provider.pending,
                "faults": self._faults[:],
            }
            self._faults.clear()

        self._environment.events.report_to_master.add_listener(tell)
        runner.greenlet.join()
        return 0

    def _user_broke(self, exception: Exception, **_told: object) -> None:
        self._faults.append(f"candidate: {exception!r}")

    def _runner(self) -> Runner:
        """Return the runner of this role; a master has its workers when it is returned."""
        if self._options.role == "local":
            return self._environment.create_local_runner()
        runner: MasterRunner = self._environment.create_master_runner(
            "*", self._options.master_port
        )

        def hear(client_id: str, data: Document) -> None:
            told = data.get("rush")
            if told:
                self._evidence.add_wire(told["notes"])
                self._pending_elsewhere[client_id] = told["pending"]
                self._faults.extend(told["faults"])

        self._environment.events.worker_report.add_listener(hear)
        deadline_s = time.time() + WORKERS_WAIT_S
        while len(runner.clients.ready) < self._options.locust_workers:
            if time.time() > deadline_s:
                raise SystemExit(f"no {self._options.locust_workers} workers came to the master")
            gevent.sleep(_POLL_S)
        return runner

    def _world(self) -> World:
        """Return the world around the exam, as soon as the service has it."""
        exam = self._awaited("look at exam", UNSENT.get_exam(self._options.exam))
        # A copy has a waiting room if the exam has one.
        has_room = exam.get("waiting_room") is not None
        self._options = dataclasses.replace(self._options, has_room=has_room)
        sessions: dict[str, list[str]] = {}
        for subject in exam["subjects"]:
            sessions.setdefault(subject["session"], []).append(subject["id"])
        popularity: Mapping[str, float] = VENUES
        if self._options.like is not None:
            looking = UNSENT.get_availability(self._options.exam)
            popularity = popularity_of(capacities(self._awaited("availability", looking)))
        draw = random.Random(f"{self._options.seed}:world")  # noqa: S311  not for secrets
        world = World(
            options=self._options,
            exam=exam,
            evidence=self._evidence,
            frontend=self._frontend,
            public=self._public,
            draw=draw,
            sessions=sessions,
            popularity=popularity,
        )
        CrowdUser.parts.set((world, self._provider))
        return world

    def _awaited(self, step: str, call: Call) -> Document:
        """Ask until it is answered: the exam may not be known yet. SystemExit when it never is."""
        deadline_s = time.time() + EXAM_WAIT_S
        while not (answer := self._public.send(step, call)).is_ok:
            if time.time() > deadline_s:
                raise SystemExit(
                    f"{call.method} {call.path} is answered {answer.status} {answer.slug}"
                )
            gevent.sleep(_POLL_S)
        return answer.document

    def _await_end(self, world: World) -> None:
        """Wait until all have gone home, all callbacks are answered and unpaid holds have ended."""
        deadline_s = time.time() + CANDIDATES_END_S + self._options.callbacks_end_s
        is_distributed = self._options.role == "master"
        gevent.sleep(_REPORT_LAG_S if is_distributed else 0.0)
        while time.time() < deadline_s:
            if not (world.in_flight + self._provider.pending + self._elsewhere):
                break
            gevent.sleep(_POLL_S)
        gevent.sleep(_REPORT_LAG_S if is_distributed else 0.0)
        world.sleep_until(quiet_at_s(self._evidence, self._options.expiry_slack_s))

    @property
    def _elsewhere(self) -> int:
        return sum(self._pending_elsewhere.values())


def quiet_at_s(evidence: Evidence, slack_s: float) -> float:
    """Return when every hold whose deadline was shown must have ended by itself."""
    last_s = max((seconds(shown.deadline) for shown in evidence.of(Shown)), default=0.0)
    return last_s + slack_s + EXPIRY_LATE_MAX_S + MACHINE_LATE_MAX_S


def _total(exam: Document) -> int:
    return sum(count for by_subject in exam["seats"].values() for count in by_subject.values())


if __name__ == "__main__":
    sys.exit(main())
