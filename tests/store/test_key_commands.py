"""API keys on the command line: when they end, and when they were used last."""

import datetime as dt

import pytest

from quota_service.app.opening import Service
from quota_service.http.errors import Unauthorized
from quota_service.ledger.api_keys import Scope, split_key
from tests.support.command_line import CommandLine

CREATE = ("keys", "create", "portal", "--scope", "frontend")


async def use(service: Service, key: str) -> str:
    return service.keys.authorize(f"Bearer {key}", frozenset({Scope.FRONTEND}), "exam-1").key_id


async def rows(command_line: CommandLine) -> list[list[str]]:
    listed = await command_line("keys", "list")
    return [line.split("\t") for line in listed.printed.splitlines()]


async def test_a_key_shows_when_it_was_used_last_and_is_written_once_for_many_uses(
    service: Service, command_line: CommandLine
) -> None:
    key = (await command_line(*CREATE)).printed.strip()
    await service.keys.refresh()
    ((*_, before),) = await rows(command_line)

    for _ in range(3):
        await use(service, key)
    await service.keys.note_used()
    noted = await last_used(service)
    await use(service, key)
    await service.keys.note_used()

    ((*_, after),) = await rows(command_line)
    assert before == "never used"
    assert noted is not None
    assert after == f"used {noted:%Y-%m-%d %H:%M}"
    assert await last_used(service) == noted


async def last_used(service: Service) -> dt.datetime | None:
    (key,) = await service.key_ledger.all()
    return key.last_used_at


async def test_a_key_that_has_expired_is_refused_from_the_next_look_on(
    service: Service, command_line: CommandLine
) -> None:
    key = (await command_line(*CREATE, "--expires", "30")).printed.strip()
    key_id = (split_key(key) or ("", ""))[0]
    await service.keys.refresh()
    in_force = await use(service, key)

    async with service.stores.ledger.connection() as connection:
        await connection.execute("UPDATE api_keys SET expires_at = now()")
    await service.keys.refresh()

    assert in_force == key_id
    with pytest.raises(Unauthorized):
        await use(service, key)
    ((listed_id, *_, state, _),) = await rows(command_line)
    assert (listed_id, state.split()[0]) == (key_id, "expired")


async def test_a_key_ends_after_days_or_at_a_time(
    service: Service, command_line: CommandLine
) -> None:
    before = dt.datetime.now(dt.UTC)
    await command_line(*CREATE, "--expires", "30")
    await command_line(*CREATE, "--expires", "2999-03-01T18:00")
    await command_line(*CREATE, "--expires", "2999-03-01T18:00+08:00")
    await command_line(*CREATE)

    in_days, at_utc, at_offset, never = [key.expires_at for key in await service.key_ledger.all()]
    assert in_days is not None
    assert in_days - before >= dt.timedelta(days=30)
    assert at_utc == dt.datetime(2999, 3, 1, 18, tzinfo=dt.UTC)
    assert at_offset == dt.datetime(2999, 3, 1, 10, tzinfo=dt.UTC)
    assert never is None


@pytest.mark.parametrize("when", ["soon", "0", "2001-01-01", "9" * 30])
async def test_a_time_that_is_none_or_is_over_is_called_wrong(
    command_line: CommandLine, capsys: pytest.CaptureFixture[str], when: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        await command_line(*CREATE, "--expires", when)

    assert ended.value.code == 2
    assert repr(when) in capsys.readouterr().err
