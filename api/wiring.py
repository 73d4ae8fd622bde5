"""Connects this process to its servers and puts its services together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import NamedTuple

from temporalio.client import Client

from adapters.connections import connect_temporal, mongo_addresses
from adapters.export.objects import ObjectExports
from adapters.files import ObjectFiles
from adapters.mongo.repositories import Repositories
from adapters.passwords import Passwords
from adapters.redis.client import RedisClient, unavailable
from adapters.redis.client import connect as connect_redis
from adapters.redis.feed import FeedListener, RedisFeed
from adapters.redis.limits import RateLimiter
from adapters.redis.pages import Pages
from adapters.redis.tickets import Tickets
from adapters.scanning import SignatureScanner
from adapters.settings import Settings
from adapters.storage import EncryptedStore
from adapters.temporal.codec import EncryptionCodec
from adapters.texts import FileTexts
from adapters.tokens import PurposeTokens, Statements, TokenVerifier
from api.after_visit import AfterVisitPages, AfterVisits, VisitSources
from api.applying import Applicants
from api.background import Background
from api.clinics import ClinicHosts
from api.codec import Accounts, CodecDesk, SignInPage
from api.consulting import Consulting
from api.day_list import DayLists
from api.deletions import Forgetting
from api.exports import Doors, Exporting
from api.filing import Filing
from api.free_times import FreeTimes
from api.holds import Holding
from api.link_pages import LinkPages
from api.links import LinkSources, VisitLinks
from api.metrics import Metrics
from api.people import Doing, People
from api.presenter import Presenter
from api.publishing import Publisher
from api.receiving import Receiving
from api.reviews import Reviewing
from api.rights import RightsDesk
from api.search import Searching
from api.services import Services
from api.staff_tasks import TaskList
from api.streams import Streams
from api.templates import TemplateDesk
from api.walk_ins import WalkIns
from workflows.gateway import (
    AbsenceGateway,
    DurableMessenger,
    DurableNotifier,
    ExportsGateway,
    Stores,
    WorkflowGateway,
)

DRAIN_SECONDS = 5.0
"""How long work that goes on after its answer may take when the process ends; a sweep does what is left."""


class TimeWord:
    """What happens when this process changes a practitioner's claims: forget here at once, tell the others soon."""

    def __init__(self, feed: RedisFeed, pages: Pages, background: Background) -> None:
        """What keeps something is set once it exists; nothing can be forgotten before."""
        self._pages = pages
        self._feed = feed
        self._background = background
        self.free_times: FreeTimes | None = None
        self.gateway: WorkflowGateway | None = None
        self.searching: Searching | None = None

    def heard(self, practitioner_id: str) -> None:
        """Another process, or this one, has changed them."""
        if self.free_times is not None:
            self.free_times.time_changed(practitioner_id)

    async def changed(self, practitioner_id: str) -> None:
        """We have changed them; a person waits for the answer, so Redis is not waited for."""
        self.heard(practitioner_id)
        self._background.start(self._feed.time_changed(practitioner_id))

    def heard_publication(self, provider_id: str, practitioner_id: str) -> None:
        """Another process, or this one, has changed a profile, its hours or its leave."""
        if self.free_times is not None:
            self.free_times.published(provider_id, practitioner_id)
        if self.gateway is not None:
            self.gateway.published(provider_id)
        if self.searching is not None:
            self.searching.changed()

    async def published(self, provider_id: str, practitioner_id: str) -> None:
        """We have changed it; as with claims, Redis is not waited for."""
        self.heard_publication(provider_id, practitioner_id)
        self._background.start(self._tell(provider_id, practitioner_id))
        if self.gateway is not None:
            # A practice that is not live yet waits for its first hours.
            self._background.start(self.gateway.onboarding.published(provider_id))

    async def _tell(self, provider_id: str, practitioner_id: str) -> None:
        # In this order: whoever hears of it and asks again must not be given a page of before.
        await self._pages.drop_all()
        await self._feed.published(provider_id, practitioner_id)


@asynccontextmanager
async def wired(settings: Settings, metrics: Metrics) -> AsyncIterator[Services]:
    """The services of one process, connected. Raises `UnavailableError` where Temporal cannot be reached."""
    async with AsyncExitStack() as stack:
        background = Background()
        redis = connect_redis(settings.redis_url.get_secret_value())
        stack.push_async_callback(redis.aclose)
        pages = Pages(redis, settings.database)
        word = TimeWord(RedisFeed(redis, settings.database), pages, background)
        stores = Repositories.connect(
            mongo_addresses(settings),
            on_time_changed=word.changed,
            on_published=word.published,
            appname="visitnow-api",
        )
        stack.push_async_callback(stores.close)
        stack.push_async_callback(background.finish, DRAIN_SECONDS)
        listener = FeedListener(
            settings.redis_url.get_secret_value(), settings.database, word.heard, word.heard_publication
        )
        await stack.enter_async_context(_running(listener))
        client = await connect_temporal(settings)
        passwords = Passwords()
        stack.callback(passwords.close)
        await passwords.prepare()
        connected = _Connected(settings, stores, client, redis, listener, pages)
        services = _services(connected, metrics, background, passwords)
        word.free_times, word.gateway, word.searching = services.free_times, services.gateway, services.searching
        yield services


class _Connected(NamedTuple):
    """What was connected from which settings."""

    settings: Settings
    stores: Repositories
    client: Client
    redis: RedisClient
    listener: FeedListener
    pages: Pages


def _gateway(connected: _Connected) -> WorkflowGateway:
    stores, settings = connected.stores, connected.settings
    ports = Stores(
        stores.directory,
        stores.claims,
        stores.appointments,
        stores.payments,
        stores.inbox,
        stores.applications,
        stores.tenancy,
    )
    return WorkflowGateway(connected.client, ports, id_secret=settings.id_secret, ui_url=settings.temporal_ui_url)


def _checks(connected: _Connected, gateway: WorkflowGateway) -> dict[str, Callable[[], Awaitable[bool]]]:
    """What has to answer for this process to be ready."""

    async def mongodb_answers() -> bool:
        await connected.stores.ping()
        return True

    async def redis_answers() -> bool:
        with unavailable():
            return bool(await connected.redis.ping())

    return {"mongodb": mongodb_answers, "temporal": gateway.healthy, "redis": redis_answers}


def _services(connected: _Connected, metrics: Metrics, background: Background, passwords: Passwords) -> Services:
    settings, stores, client, redis, listener, pages = connected
    gateway = _gateway(connected)
    absence = AbsenceGateway(client, gateway.visits, stores.offers, stores.leaves)
    presenter = Presenter(stores.directory, stores.users, settings)
    free_times = FreeTimes(
        stores.directory, stores.claims, listener, lambda source: metrics.slot_lists.labels(source).inc()
    )
    messenger = DurableMessenger(client, stores.notifications)
    files = ObjectFiles(settings.storage_url)
    people = People.of(Doing(settings, stores, redis, passwords, messenger, background))
    tokens = PurposeTokens(settings.token_keys)
    filing = Filing(stores.documents, files, SignatureScanner(), tokens, secret=settings.id_secret)
    reviewing = Reviewing(stores.reviews, stores.directory, people.audit, gateway.follow_ups)
    return Services(
        settings=settings,
        metrics=metrics,
        verifier=TokenVerifier(settings.token_keys),
        codec_desk=CodecDesk(
            EncryptionCodec(settings.payload_keys),
            Accounts(people.sign_in, people.sessions, stores.users, PurposeTokens(settings.token_keys)),
            people.audit,
            settings,
        ),
        codec_page=SignInPage(settings.temporal_ui_url),
        gateway=gateway,
        directory=stores.directory,
        appointments=stores.appointments,
        payments=stores.payments,
        tenancy=stores.tenancy,
        applications=stores.applications,
        applicants=Applicants(
            stores.applications,
            stores.practices,
            messenger,
            gateway,
            EncryptedStore(settings.storage_url, stores.vault),
            SignatureScanner(),
            secret=settings.id_secret,
            public_url=settings.public_url,
        ),
        inbox=stores.inbox,
        messenger=messenger,
        notifier=DurableNotifier(client),
        stops=stores.stops,
        notices=stores.notices,
        templates=TemplateDesk(stores.templates, FileTexts()),
        notifications=stores.notifications,
        hosts=ClinicHosts(stores.directory, stores.tenancy, settings.public_url, development=settings.is_development),
        audit=people.audit,
        trail=stores.audit,
        users=stores.users,
        sessions=people.sessions,
        sign_in=people.sign_in,
        phone_sign_in=people.phone_sign_in,
        own_accounts=people.own_accounts,
        profiles=people.profiles,
        consenting=people.consenting,
        reviewing=reviewing,
        rights=RightsDesk(stores.rights, stores.appointments, gateway.rights, people.audit, key=settings.id_secret),
        exporting=Exporting(
            stores.exports,
            ObjectExports(settings.storage_url),
            Doors(ExportsGateway(client), gateway.rights),
            PurposeTokens(settings.token_keys),
            people.audit,
            key=settings.id_secret,
            public_url=settings.public_url,
        ),
        deletions=Forgetting(
            stores.deletions,
            (stores.users, stores.dependants),
            people.phone_sign_in,
            people.sessions,
            Statements(settings.token_keys),
            gateway.deletions,
            key=settings.id_secret,
        ),
        holding=Holding(
            stores.holds, stores.dependants, stores.deletions, gateway.deletions, people.audit, key=settings.id_secret
        ),
        staff=people.staff,
        walk_ins=WalkIns(stores.users, stores.dependants, stores.consents, key=settings.id_secret),
        task_list=TaskList(stores.staff_tasks, stores.directory, people.audit),
        presenter=presenter,
        publisher=Publisher(stores.publications, stores.appointments, stores.leaves, stores.claims, gateway, absence),
        consulting=Consulting(stores.consultations, stores.directory, stores.users),
        free_times=free_times,
        after_visits=AfterVisits(
            VisitSources(
                stores.appointments, stores.consultations, stores.directory, stores.users, stores.deletions.standing
            ),
            reviewing,
            filing=filing,
            audit=people.audit,
            secret=settings.id_secret,
        ),
        after_visit_pages=AfterVisitPages(),
        links=VisitLinks(
            LinkSources(stores.appointments, stores.reminders, stores.users, stores.deletions.standing),
            gateway,
            presenter,
            absence=absence,
            free_times=free_times,
            secret=settings.id_secret,
        ),
        filing=filing,
        receiving=Receiving(stores.uploads, files),
        link_pages=LinkPages(),
        searching=Searching(stores.search, stores.directory, pages, listener, background.start),
        listener=listener,
        streams=Streams(stores.appointments, presenter, listener, metrics, people.sessions.check),
        day_lists=DayLists(
            stores.appointments, stores.tokens, stores.users, stores.directory, listener, people.sessions.check
        ),
        tickets=Tickets(redis, settings.database),
        limiter=RateLimiter(redis, settings.database),
        checks=_checks(connected, gateway),
        background=background,
    )


@asynccontextmanager
async def _running(listener: FeedListener) -> AsyncIterator[None]:
    """Keep the subscription alive meanwhile; the process serves without it too."""
    task = asyncio.create_task(listener.run(), name="feed")
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
