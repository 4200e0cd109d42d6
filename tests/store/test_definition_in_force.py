"""Redis has the definition in force that Postgres has, whatever happens to an import."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import orjson
import pytest

from quota_service.app.opening import Service
from quota_service.definitions.reading import parse_exam
from quota_service.domain.errors import DefinitionRefused, NotReady, StaleDefinition
from quota_service.domain.exam import Exam
from quota_service.registration.audit import audit, repair
from quota_service.registration.import_exam import import_exam
from quota_service.registration.recover_shard import lost_shards, recover_if_lost
from quota_service.workers.capacity import CapacityWorker
from tests.support.exams import SEATS, exam_definition
from tests.support.lost_shards import another_run, lose_everything, recover_shards
from tests.support.redis_clients import redis_of
from tests.support.seats import SeatsUnderTest
from tests.support.use_cases import DiedError, dying, hold

DEFINITION = exam_definition()
"""Made once, so that its times stay the same from import to import."""
KEY = "{exam-1:0}:definition"


def postponed(**changes: Any) -> Exam:
    """Return the test exam with an opening a minute later, and other members."""
    window = {**DEFINITION["registration"], "opens_at": "2023-01-01T00:01:00.000Z"}
    return parse_exam({**DEFINITION, "registration": window, **changes})


@pytest.fixture
async def imported(service: Service) -> Service:
    """A service that has imported exactly the definition of this module."""
    await import_exam(service.stores.maintenance, parse_exam(DEFINITION))
    return service


async def in_force(service: Service) -> dict[str, str]:
    found: dict[str, str] = await redis_of(service).hgetall(KEY)
    return found


async def stored(service: Service) -> Mapping[str, str]:
    """Return what Redis should have in force, read from Postgres."""
    (row,) = await service.stores.ledger.fetch("select_exams", [], [])
    exam = parse_exam(orjson.loads(row["definition"]))
    return {
        "revision": str(row["revision"]),
        "opens_at_ms": str(exam.registration.opens_at_ms),
        "closes_at_ms": str(exam.registration.closes_at_ms),
        **{f"starts_at_ms/{subject}": str(ms) for subject, ms in exam.starts_at_ms.items()},
    }


async def check(service: Service) -> None:
    wanted = await stored(service)
    assert {name: (await in_force(service)).get(name) for name in wanted} == wanted


async def test_a_new_exam_has_its_definition_in_force(imported: Service) -> None:
    await check(imported)


async def test_a_change_is_in_force_under_another_revision_once_it_is_imported(
    imported: Service,
) -> None:
    before = await in_force(imported)

    await import_exam(imported.stores.maintenance, postponed())

    after = await in_force(imported)
    assert int(after["revision"]) > int(before["revision"])
    assert after["opens_at_ms"] == str(postponed().registration.opens_at_ms)
    assert imported.stores.registry.find("exam-1").revision == int(after["revision"])
    await check(imported)


async def test_the_same_definition_again_keeps_its_revision(imported: Service) -> None:
    before = await in_force(imported)

    await import_exam(imported.stores.maintenance, parse_exam(DEFINITION))

    assert await in_force(imported) == before


async def test_a_refused_change_leaves_the_definition_in_force(
    imported: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last seat goes between the look and the step in Redis."""
    before = await in_force(imported)
    without = {**SEATS, "jinan": {**SEATS["jinan"], "service": 0}}
    define = type(imported.stores.seats).define

    async def somebody_comes_first(*args: Any) -> Any:
        monkeypatch.undo()
        shard = imported.stores.registry.shard("exam-1")
        await redis_of(imported).hincrby(shard.key("remaining"), "jinan/service", -1)
        await redis_of(imported).hincrby(shard.key("held"), "jinan/service", 1)
        return await define(*args)

    monkeypatch.setattr(type(imported.stores.seats), "define", somebody_comes_first)
    with pytest.raises(DefinitionRefused):
        await import_exam(imported.stores.maintenance, postponed(seats=without))

    assert await in_force(imported) == before
    await check(imported)


@pytest.mark.parametrize("line", ["before redis", "before commit", "after commit"])
@pytest.mark.parametrize("by", ["a worker", "the next import", "nobody"])
async def test_an_import_that_died_anywhere_is_ended_as_postgres_has_it(
    imported: Service, line: str, by: str
) -> None:
    with pytest.raises(DiedError):
        await import_exam(dying(imported.stores, f"import: {line}").maintenance, postponed())
    match by:
        case "a worker":
            await CapacityWorker(imported.stores).run_once()
        case "the next import":
            await import_exam(
                imported.stores.maintenance, postponed(title={"zh": "又", "en": "again"})
            )
        case _:
            is_clean = line != "before commit"
            found = await audit(imported.stores.maintenance, "exam-1", in_full=False)
            assert found.is_clean is is_clean
            assert [d.place for d in found.differences] == ["definition"] * (not is_clean)
            assert len(await repair(imported.stores.maintenance, found)) == (not is_clean)

    await check(imported)
    assert (await audit(imported.stores.maintenance, "exam-1")).is_clean


async def test_a_revision_of_an_import_that_died_is_not_given_again(imported: Service) -> None:
    with pytest.raises(DiedError):
        await import_exam(dying(imported.stores, "import: before commit").maintenance, postponed())
    dead = await in_force(imported)

    await import_exam(imported.stores.maintenance, postponed(title={"zh": "又", "en": "again"}))

    assert int((await in_force(imported))["revision"]) > int(dead["revision"])


@pytest.mark.parametrize("lose", [lose_everything, another_run])
async def test_a_recovered_shard_has_the_definition_in_force_before_it_opens(
    imported: Service, lose: Any
) -> None:
    await lose(imported)
    await redis_of(imported).delete(KEY)

    with pytest.raises(DiedError):
        await recover_and_die(imported)
    closed = await in_force(imported)
    with pytest.raises(NotReady):
        await hold(imported, "candidate-1")
    assert await recover_shards(imported) == 1

    assert closed == await stored(imported)
    await check(imported)


async def recover_and_die(service: Service) -> None:
    """Recover the lost shard by a process that dies just before it opens it."""
    stores = dying(service.stores, "recover: defined")
    for used in await lost_shards(stores.maintenance, stores.registry.used_shards()):
        await recover_if_lost(stores.maintenance, used.shard.exam)


async def test_whoever_has_not_heard_of_a_definition_does_not_put_another_in_its_place(
    seats: SeatsUnderTest,
) -> None:
    first, second = (dataclasses.replace(seats.exam, revision=revision) for revision in (5, 6))
    await seats.store.define(seats.shard, first, "0")

    with pytest.raises(StaleDefinition):
        await seats.store.define(seats.shard, second, "0")

    assert (await seats.store.definition(seats.shard))["revision"] == "5"
