"""Many losses one after the other: to any copy made so far, while recoveries die at their lines.

As in `test_recovery`, what stands at the end is compared with what a rebuild gives.
"""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from quota_service.app.opening import Service
from quota_service.domain.errors import QuotaError
from quota_service.registration.confirm import confirm
from quota_service.registration.import_exam import import_exam
from quota_service.registration.recover_shard import rebuild_shard, recover_if_lost
from quota_service.seats.keys import Shard
from quota_service.settings import Settings
from tests.property.test_recovery import EXAMS, SEATS, History, dumped, number, read, step
from tests.support.examples import examples
from tests.support.exams import make_exam
from tests.support.running_service import running_service
from tests.support.use_cases import DiedError, dying, payment

EXAMPLES = examples(10)
LINES = (
    "recover: fenced",
    "recover: claimed",
    "recover: drained",
    "recover: holds written",
    "recover: bookings written",
    "recover: defined",
    "recover: open in redis",
)

event = st.one_of(
    step,
    step,
    step,
    st.tuples(st.sampled_from(["pay late", "pay late: after attempt"]), number),
    st.just(("copy",)),
    st.tuples(st.just("lose"), st.integers(0, 5), st.sampled_from(["", *LINES])),
)
events = st.lists(event, min_size=10, max_size=60)


class LossyHistory(History):
    """A history in which Redis goes back again and again."""

    @property
    def shard(self) -> Shard:
        """The shard, whether it is open or not."""
        return self.service.stores.registry.used_shard(self.exam).shard

    async def recover(self) -> bool:
        """Recover the shard; return whether there was anything to recover."""
        return await recover_if_lost(self.service.stores.maintenance, self.exam) is not None

    async def recovery_dies(self, line: str) -> None:
        stores = dying(self.service.stores, line)
        with suppress(DiedError, QuotaError):
            await recover_if_lost(stores.maintenance, self.exam)
        await self.service.stores.registry.refresh()

    async def pay_late(self, who: int, line: str) -> None:
        stores = dying(self.service.stores, f"confirm: {line}") if line else self.service.stores
        with suppress(QuotaError, DiedError, KeyError):
            held = self.held[who]
            self.keys += 1
            await confirm(
                stores.payments, payment(held, f"late-{self.keys}-{held.id}", held.amount)
            )


async def live(service: Service, told: list[tuple[Any, ...]]) -> None:
    """Live through a history, and compare what stands at its end with a rebuild."""
    history = LossyHistory(service, f"exam-{next(EXAMS)}-l")
    await import_exam(service.stores.maintenance, make_exam(history.exam, seats=SEATS))
    copies: list[dict[str, tuple[bytes, int]]] = []
    for each in [*told, ("lose", 0, "")]:
        verb, _, line = each[0].partition(": ")
        if verb == "copy":
            copies.append(await dumped(service, history.shard))
        elif verb == "pay late":
            await history.pay_late(each[1], line)
        elif verb == "lose":
            _, ago, dies_at = each
            history.copy = copies[-1 - ago] if ago < len(copies) else {}
            await history.lose()
            if dies_at:
                await history.recovery_dies(dies_at)
                copies.append(await dumped(service, history.shard))
            assert await history.recover() or dies_at
        else:
            await history.take(each)
    recovered = await read(service, history.shard)
    assert await rebuild_shard(service.stores.maintenance, history.exam, "to compare")

    assert recovered == await read(service, history.shard)


@pytest.mark.histories
def test_however_often_redis_goes_back_it_is_brought_level(settings: Settings) -> None:
    with running_service(settings) as (runner, service):

        @hypothesis_settings(
            max_examples=EXAMPLES,
            suppress_health_check=list(HealthCheck),
        )
        @given(events)
        def histories(told: list[tuple[Any, ...]]) -> None:
            runner.run(live(service, told))

        histories()
