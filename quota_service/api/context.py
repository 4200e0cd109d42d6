"""What handlers work with, under one typed key of the aiohttp application."""

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import web

from quota_service.api.auth import KeyRing
from quota_service.api.refusals import RefusalLog
from quota_service.api.rendered import RenderedAvailability
from quota_service.api.tokens import TokenSecrets
from quota_service.domain.exam import Exam
from quota_service.http.concurrency import ConcurrencyLimiter
from quota_service.http.cors import Cors
from quota_service.http.etags import RenderedOnce
from quota_service.http.fair_queue import FairQueue
from quota_service.observability.health import Health
from quota_service.registration.availability import AvailabilityCache
from quota_service.registration.exam_load import ExamLoads
from quota_service.registration.in_flight import InFlight
from quota_service.registration.stores import Stores
from quota_service.settings import Settings
from quota_service.waiting_room.document import PublicDocument

if TYPE_CHECKING:  # the modules of resources import this one
    from quota_service.api.events import EventFeed
    from quota_service.api.streams import Streams


@dataclass(frozen=True, slots=True)
class ApiContext:
    """The parts of the service that handlers may touch."""

    settings: Settings
    stores: Stores
    availability: AvailabilityCache
    keys: KeyRing
    tokens: TokenSecrets
    in_flight: InFlight
    health: Health
    cors: Cors
    payment_secrets: tuple[bytes, ...]
    rendered: RenderedAvailability
    rendered_rooms: RenderedOnce[PublicDocument]
    rendered_exams: RenderedOnce[Exam]
    exports: asyncio.Semaphore
    streams: "Streams"
    events: "EventFeed"
    queue: FairQueue
    limiter: ConcurrencyLimiter
    refusals: RefusalLog
    loads: ExamLoads


CONTEXT: web.AppKey[ApiContext] = web.AppKey("context", ApiContext)
