"""What the steps of the state machine share: the stores it drives, and how they are asked."""

import asyncio
from collections.abc import Coroutine
from typing import Any, ClassVar, TypeVar

from hypothesis.stateful import RuleBasedStateMachine, rule

from quota_service.app.opening import Service
from quota_service.domain.exam import Quota
from quota_service.domain.payment import PaymentEvent, PaymentStatus
from quota_service.registration.confirm import confirm
from quota_service.registration.order_events import order_events
from quota_service.seats.keys import Shard
from tests.support.promises_model import Held, Model
from tests.support.told_events import check_events
from tests.support.use_cases import dying

Result = TypeVar("Result")


class Driver(RuleBasedStateMachine):
    """A state machine over real stores, with one exam of its own and the model of it."""

    service: ClassVar[Service]
    beside: ClassVar[Service]
    """Another process: it imports, and the first one reads no definition until it has to."""
    runner: ClassVar[asyncio.Runner]
    model: Model
    shard: Shard

    def run(self, protocol: Coroutine[Any, Any, Result]) -> Result:
        return self.runner.run(protocol)

    @property
    def stores(self) -> Any:
        return self.service.stores

    @rule()
    def number_events(self) -> None:
        """What is not drained yet is told later, behind what comes before it."""
        self.run(order_events(self.stores.maintenance, 1000))

    def teardown(self) -> None:
        """Check what was told of all that has happened."""
        if hasattr(self, "model"):
            self.run(check_events(self.service, self.model.exam))

    def dying(self, part: str, line: str) -> Any:
        """Return a part of the stores whose use cases die at a marked line."""
        return dying(getattr(self.stores, part), line)

    async def drained_states(self) -> dict[str, str]:
        """What the drained journal says of every reservation of the exam."""
        async with self.stores.ledger.connection() as connection:
            rows = await connection.fetch(
                "SELECT id, state FROM reservations WHERE exam = $1", self.model.exam
            )
            return {row["id"]: row["state"] for row in rows}

    async def refunds_in_postgres(self) -> dict[str, str]:
        """The refunds of the exam by candidate, each with its money due."""
        async with self.stores.ledger.connection() as connection:
            rows = await connection.fetch(
                "SELECT r.candidate, r.reservation FROM refunds r JOIN bookings b USING"
                " (reservation) JOIN refunds_due d ON d.event = b.event WHERE r.exam = $1",
                self.model.exam,
            )
            return {row["candidate"]: row["reservation"] for row in rows}

    async def confirmed_in_postgres(self) -> dict[Quota, int]:
        async with self.stores.ledger.connection() as connection:
            confirmed: dict[Quota, int] = await self.stores.exams.confirmed(
                connection, self.model.exam
            )
            return confirmed

    def event(
        self,
        event: str,
        held: Held,
        amount_is_right: bool,
        status: PaymentStatus = PaymentStatus.CAPTURED,
        reference: str = "",
    ) -> PaymentEvent:
        amount = held.amount + (0 if amount_is_right else 1)
        reference = reference or f"reference of {event}"
        told = f"{held.id} {status} {amount} {reference}"
        return PaymentEvent(event, held.id, status, amount, "CNY", 0, reference, told)

    async def report(self, *paid: Any, **members: Any) -> tuple[str, str | None]:
        result = await confirm(self.stores.payments, self.event(*paid, **members))
        assert result.reservation == paid[1].id
        return result.outcome, result.reason
