"""Health of this process: whether its stores answer.

The stores are asked once a second in the background, so that a probe, however often it comes,
costs nothing and is never kept waiting by the store it asks about.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress

from quota_service.domain.errors import QuotaError
from quota_service.observability.metrics import Metrics

log = logging.getLogger(__name__)


class Health:
    """What was found when the stores were last asked.

    A look returns the warnings it finds, in words by the part they are about.
    """

    def __init__(
        self,
        checks: Mapping[str, Callable[[], Awaitable[None]]],
        looks: Sequence[Callable[[], Awaitable[Mapping[str, str]]]],
        read_clock: Callable[[], Awaitable[None]],
        metrics: Metrics,
    ) -> None:
        self._checks = checks
        self._looks = looks
        self._warnings: list[Mapping[str, str]] = [{} for _ in looks]
        self._told: Mapping[str, str] = {}
        self._read_clock = read_clock
        self._up = metrics.stores_up
        self._warned = metrics.warnings
        self._faults: dict[str, str] = dict.fromkeys(checks, "has not been asked yet")
        self.is_draining = False

    @property
    def faults(self) -> Mapping[str, str]:
        """Causes of not being ready, by part; empty when ready."""
        if self.is_draining:
            return {**self._faults, "service": "is shutting down"}
        return dict(self._faults)

    @property
    def warnings(self) -> Mapping[str, str]:
        """Warnings for ops, by part; the service is ready nevertheless."""
        return {part: cause_of for found in self._warnings for part, cause_of in found.items()}

    async def refresh(self) -> None:
        """Ask every part once."""
        for part, check in self._checks.items():
            try:
                await check()
            except Exception as error:  # noqa: BLE001  whatever it is, the part is not vouched for
                cause = str(error) if isinstance(error, QuotaError) else repr(error)
                if part not in self._faults:
                    log.warning("part is unavailable", extra={"part": part, "cause": cause})
                self._faults[part] = cause
            else:
                if self._faults.pop(part, None) is not None:
                    log.info("part is available again", extra={"part": part})
            self._up.labels(store=part).set(part not in self._faults)
        await self._look_for_warnings()
        if "redis" not in self._faults:
            try:
                await self._read_clock()
            except QuotaError as error:
                self._faults["redis"] = str(error)

    async def _look_for_warnings(self) -> None:
        for number, look in enumerate(self._looks):
            with suppress(QuotaError):  # the unavailable store is reported above
                self._warnings[number] = await look()
        # Nothing is awaited from here on, so that concurrent rounds log a change once.
        now, before = self.warnings, self._told
        self._told = now
        for part, cause in now.items():
            self._warned.labels(part=part).set(1)
            if part not in before:
                log.warning("readiness warning", extra={"part": part, "cause": cause})
        for part in before.keys() - now.keys():
            self._warned.labels(part=part).set(0)
            log.info("readiness warning ended", extra={"part": part})
