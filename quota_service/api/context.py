"""What handlers work with, under one typed key of the aiohttp application."""

import asyncio
from dataclasses import dataclass

from aiohttp import web

from quota_service.api.auth import KeyRing
from quota_service.api.rendered import RenderedAvailability, RenderedExams, RenderedRooms
from quota_service.api.streams import Streams
from quota_service.observability.health import Health
from quota_service.overload.gate import Gate
from quota_service.overload.rate_limit import RateLimit
from quota_service.overload.unread import UnreadLimit
from quota_service.registration.availability import AvailabilityBoard
from quota_service.registration.stores import Stores
from quota_service.registration.under_way import UnderWay
from quota_service.settings import Settings


@dataclass(frozen=True, slots=True)
class ApiContext:
    """The parts of the service that handlers may touch."""

    settings: Settings
    stores: Stores
    board: AvailabilityBoard
    keys: KeyRing
    under_way: UnderWay
    health: Health
    payment_secrets: tuple[bytes, ...]
    rendered: RenderedAvailability
    rendered_rooms: RenderedRooms
    rendered_exams: RenderedExams
    exports: asyncio.Semaphore
    streams: Streams
    gate: Gate
    unread: UnreadLimit
    key_rate: RateLimit
    address_rate: RateLimit
    render_rate: RateLimit


CONTEXT: web.AppKey[ApiContext] = web.AppKey("context", ApiContext)
