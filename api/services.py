"""What the routes work with: every wired object of the process, in one typed place."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Final

import structlog
from fastapi import Depends, Request

from adapters.mongo.identity import MongoUsers
from adapters.redis.feed import FeedListener
from adapters.redis.limits import RateLimiter
from adapters.redis.tickets import Tickets
from adapters.settings import Settings
from adapters.temporal.codec import EncryptionCodec
from adapters.tokens import TokenVerifier
from api.applying import Applicants
from api.audit import AuditLog
from api.clinics import ClinicHosts
from api.edge import failure
from api.free_times import FreeTimes
from api.metrics import Metrics
from api.presenter import Presenter
from api.publishing import Publisher
from api.search import Searching
from api.sessions import Sessions
from api.sign_in import SignIn
from api.streams import Streams
from models.cache import Recently
from models.errors import UnavailableError
from models.onboarding_ports import Applications
from models.ports import Appointments, Directory, Messenger, Notifications, Payments, Tenancy, WebhookInbox
from workflows.gateway import WorkflowGateway

WORD_SECONDS: Final = 30.0

_log = structlog.get_logger(__name__)


class Background:
    """Work that goes on after its answer has left; the process waits for it before it ends."""

    def __init__(self) -> None:
        """Nothing runs yet."""
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[None, None, None]) -> None:
        """Run it; an outage is logged, since whatever is started here is also found by a sweep."""
        task = asyncio.create_task(_logged(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def finish(self, seconds: float) -> None:
        """Wait for what is running, at most so long."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)


async def _logged(work: Coroutine[None, None, None]) -> None:
    try:
        await work
    except UnavailableError as error:
        _log.warning("background.deferred", **failure(error))


@dataclass(frozen=True)
class Services:
    """Everything that a route may use."""

    settings: Settings
    metrics: Metrics
    verifier: TokenVerifier
    codec: EncryptionCodec
    gateway: WorkflowGateway
    directory: Directory
    appointments: Appointments
    payments: Payments
    tenancy: Tenancy
    applications: Applications
    applicants: Applicants
    inbox: WebhookInbox
    messenger: Messenger
    notifications: Notifications
    audit: AuditLog
    users: MongoUsers
    sessions: Sessions
    sign_in: SignIn
    hosts: ClinicHosts
    presenter: Presenter
    publisher: Publisher
    free_times: FreeTimes
    searching: Searching
    listener: FeedListener
    streams: Streams
    tickets: Tickets
    limiter: RateLimiter
    checks: Mapping[str, Callable[[], Awaitable[bool]]]
    background: Background = field(default_factory=Background)
    words: Recently[str] = field(default_factory=lambda: Recently(WORD_SECONDS))
    """The payments that the gateway has just told us of."""


async def _services(request: Request) -> Services:
    services = request.app.state.services
    if not isinstance(services, Services):
        raise UnavailableError("the application has not started")
    return services


Wired = Annotated[Services, Depends(_services)]
"""The process's services, as a route's argument."""
