"""One round: a fault and the workloads it concerns, side by side, each on an exam of its own.

1. import an exam for each workload, and wait until both API processes serve it
2. run the workloads; after a while inject the fault, and heal it
3. ask every API process again and again until it reserves: the seconds to recover
4. stop the workloads, deliver what the provider still has to tell, wait for quiet
5. check each exam from its history and both stores
"""

import asyncio
import dataclasses
import json
import random
import re
import time
from collections import Counter
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any

import aiohttp

from loadtest.bench.errors import BenchError
from tests.faults.checkers import check
from tests.faults.deployment import Deployment
from tests.faults.evidence import MACHINE_MS, Evidence, Violation
from tests.faults.frontend import Frontend
from tests.faults.history import History, read_history
from tests.faults.injection import Fault, Injection
from tests.faults.processes import HarnessError
from tests.faults.seen import Seen, look
from tests.faults.workloads import PROBE_SUBJECT, PROBE_VENUE, Workload
from tests.support.exams import exam_definition
from tests.support.waiting import eventually

RECOVERY_MAX_S = 30.0
"""The promise P8 gives, as the harness reads "within seconds"."""

_IMPORT_LIMIT_S = 30.0
_PROBE_PAUSE_S = 0.05


@dataclass(frozen=True, slots=True)
class Limits:
    """How long the parts of a round may take, in seconds; `machine_s` a busy machine may add."""

    lead_s: float = 1.2
    tail_s: float = 1.0
    recover_s: float = 60.0
    deliver_s: float = 30.0
    quiet_s: float = 40.0
    machine_s: float = MACHINE_MS / 1000


@dataclass(slots=True)
class Cell:
    """One fault under one workload, as the table shows it.

    `lost_how` and `recoveries` count holds and recoveries by what became of them.
    """

    fault: str
    workload: str
    operations: int = 0
    unknowns: int = 0
    violations: list[Violation] = field(default_factory=list)
    holds_lost: int = 0
    lost_how: dict[str, int] = field(default_factory=dict)
    recoveries: dict[str, int] = field(default_factory=dict)
    recovered_s: float | None = None
    outage_s: float = 0.0
    is_spared: bool = False
    seconds: float = 0.0
    history: str = ""

    def as_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


@dataclass(slots=True)
class _Lane:
    """A workload under way."""

    workload: Workload
    frontend: Frontend
    cell: Cell


class Round:
    """Runs one fault under its workloads."""

    def __init__(
        self, deployment: Deployment, fault: Fault, seed: str, results: Path, limits: Limits
    ) -> None:
        self._deployment = deployment
        self._fault = fault
        self._seed = f"{seed}/{fault.name}"
        self._results = results
        self._limits = limits
        self._is_running = True

    async def run(self, number: int, workloads: list[Workload]) -> list[Cell]:
        started = time.monotonic()
        async with self._deployment.session() as session:
            names = [f"f{number}-{workload.name}" for workload in workloads]
            exams = self._deployment.redis.exams(names)
            lanes = [
                self._lane(session, exam, workload)
                for exam, workload in zip(exams, workloads, strict=True)
            ]
            try:
                await self._deployment.redis.make_ready()
                await self._deployment.forget_exams()
                await self._import(session, lanes)
                before = await self._runs(lanes)
                injection = await self._under_load(lanes)
                after = await self._runs(lanes)
                if injection.hit is not None:
                    # The Cluster takes a primary that stands still for one that is lost.
                    injection.hit |= {exam for exam in before if before[exam] != after[exam]}
                await asyncio.gather(*(self._settle(lane, injection) for lane in lanes))
            except Exception as error:  # noqa: BLE001  the rounds after this one must come
                for lane in lanes:
                    told = f"the round broke off: {type(error).__name__}: {error}"
                    lane.cell.violations.append(Violation("harness", told))
            finally:
                self._is_running = False
                for lane in lanes:
                    lane.frontend.history.close()
                await self._deployment.redis.retire_servers()
        for lane in lanes:
            lane.cell.seconds = round(time.monotonic() - started, 1)
        return [lane.cell for lane in lanes]

    def _lane(self, session: aiohttp.ClientSession, exam: str, workload: Workload) -> _Lane:
        name = re.sub(r"\W+", "-", self._fault.name)
        path = self._results / f"{name}-{workload.name}.jsonl"
        frontend = Frontend(
            session=session,
            urls=[api.url for api in self._deployment.apis],
            key=self._deployment.frontend_key,
            exam=exam,
            history=History(path),
            rng=random.Random(f"{self._seed}/{workload.name}"),  # noqa: S311
            is_running=lambda: self._is_running,
        )
        return _Lane(workload, frontend, Cell(self._fault.name, workload.name, history=path.name))

    async def _runs(self, lanes: list[_Lane]) -> dict[str, str]:
        """Return which run of which server has each exam."""
        exams = [lane.frontend.exam for lane in lanes]
        return {exam: await self._deployment.redis.run(exam) for exam in exams}

    async def _import(self, session: aiohttp.ClientSession, lanes: list[_Lane]) -> None:
        headers = {"Authorization": f"Bearer {self._deployment.ops_key}"}
        for lane in lanes:
            workload, exam = lane.workload, lane.frontend.exam
            definition = exam_definition(
                exam,
                seats=workload.seats,
                ttl_s=workload.ttl_s,
                checkout_grace_s=workload.checkout_grace_s,
            )
            definition |= workload.rules
            urls = [f"{api.url}/v1/exams/{exam}" for api in self._deployment.apis]

            async def is_imported(url: str = urls[0], body: Any = definition) -> bool:
                async with session.put(url, json=body, headers=headers) as answer:
                    if answer.status == HTTPStatus.INTERNAL_SERVER_ERROR:
                        raise HarnessError(f"{url} cannot be imported: {await answer.text()}")
                    return answer.status < 300

            async def is_served(urls: list[str] = urls) -> bool:
                for url in urls:
                    async with session.get(f"{url}/availability") as answer:
                        if answer.status != 200:
                            return False
                return True

            await eventually(is_imported, within_s=_IMPORT_LIMIT_S)
            await eventually(is_served, within_s=_IMPORT_LIMIT_S)

    async def _under_load(self, lanes: list[_Lane]) -> Injection:
        seed = self._seed
        load = [asyncio.create_task(lane.workload.run(lane.frontend, seed)) for lane in lanes]
        injection = Injection(
            self._deployment,
            random.Random(seed),  # noqa: S311
            [lane.frontend for lane in lanes],
        )
        failure = ""
        try:
            await asyncio.sleep(self._limits.lead_s)
            try:
                await self._fault.inject(injection)
            except (HarnessError, BenchError, AssertionError) as error:
                failure = f"the fault could not be injected: {error}"
            await self._deployment.make_whole()
            await asyncio.gather(*(self._recover(lane) for lane in lanes))
            await asyncio.sleep(self._limits.tail_s)
        finally:
            self._is_running = False
            _, late = await asyncio.wait(load, timeout=self._limits.recover_s)
            for task in late:
                task.cancel()
            ended = await asyncio.gather(*load, return_exceptions=True)
        for lane, result in zip(lanes, ended, strict=True):
            if isinstance(result, BaseException):
                lane.cell.violations.append(Violation("harness", f"the workload died: {result!r}"))
            if failure:
                lane.cell.violations.append(Violation("harness", failure))
        return injection

    async def _recover(self, lane: _Lane) -> None:
        """Reserve at every API process until each has done it; the slowest one counts."""
        started = time.monotonic()
        frontend = lane.frontend
        deadline = started + self._limits.recover_s
        for api in range(frontend.api_count):
            while True:
                number = frontend.number()
                answer = await frontend.probe(f"probe-{number}", PROBE_SUBJECT, PROBE_VENUE, api)
                if answer.is_ok or time.monotonic() > deadline:
                    break
                await asyncio.sleep(_PROBE_PAUSE_S)
            if not answer.is_ok:
                told = f"api {api} does not reserve: {answer.status} {answer.slug}"
                lane.cell.violations.append(Violation("P8", told))
        lane.cell.recovered_s = round(time.monotonic() - started, 2)
        if lane.cell.recovered_s > RECOVERY_MAX_S + self._limits.machine_s:
            told = f"it took {lane.cell.recovered_s} s to reserve again"
            lane.cell.violations.append(Violation("P8", told))

    async def _settle(self, lane: _Lane, injection: Injection) -> None:
        """Deliver, wait for quiet, look and check."""
        cell = lane.cell
        await lane.frontend.deliver_the_rest(self._limits.deliver_s)
        seen = await look(self._deployment, lane.frontend.exam, self._limits.quiet_s)
        calls = read_history(lane.frontend.history.path)
        is_hit = injection.hit is None or lane.frontend.exam in injection.hit
        evidence = Evidence(
            calls,
            seen,
            may_lose=self._fault.may_lose and is_hit,
            restarts_redis=self._fault.restarts_redis and is_hit,
            is_calm=self._fault.is_calm,
            is_spared=not is_hit,
            poisoned=injection.poisoned.count(lane.frontend.exam),
            has_gap=lane.frontend.exam in injection.fell_back,
            machine_ms=round(self._limits.machine_s * 1000),
        )
        cell.violations += check(evidence)
        if cell.violations:
            self._keep(seen, lane.frontend.history.path)
        cell.operations = len(calls)
        cell.unknowns = sum(call.answer.is_unknown for call in calls)
        cell.outage_s = round(evidence.longest_outage_ms / 1000, 2)
        cell.is_spared = evidence.is_spared
        cell.holds_lost = len(evidence.lost)
        cell.lost_how = dict(Counter(evidence.lost.values()))
        cell.recoveries = dict(Counter(row["way"] or "given up" for row in seen.recoveries))

    def _keep(self, seen: Seen, history: Path) -> None:
        """Keep what the stores had beside the history; the next round empties them."""
        told = json.dumps(dataclasses.asdict(seen), default=str, indent=1)
        history.with_suffix(".seen.json").write_text(told, encoding="utf-8")
