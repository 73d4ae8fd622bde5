"""The worker process: wires adapters to activities and serves task queues until it is told to stop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import timedelta
from enum import StrEnum
from functools import partial
from typing import Any, Final, NamedTuple

import structlog
from temporalio.client import Client
from temporalio.worker import Worker

from activities.absence import AbsenceActivities, Books
from activities.availability import AvailabilityActivities
from activities.booking import BookingActivities
from activities.certificates import Certificates
from activities.compliance import AuditActivities
from activities.deletions import DeletionActivities, Household
from activities.deletions import Sources as DeletionSources
from activities.documents import AbandonedFiles
from activities.erasure import ErasureActivities
from activities.exports import ExportActivities, ExportUpkeep
from activities.follow_up import FollowUpActivities, FollowUpSources
from activities.messaging import MessagingActivities
from activities.notices import NoticeActivities, Sources
from activities.onboarding import OnboardingActivities
from activities.operations import OperationsActivities
from activities.payments import PaymentActivities
from activities.practices import PracticeActivities
from activities.reminders import ReminderActivities
from activities.retention import Ages, RetentionActivities
from activities.rights import RightsActivities
from activities.upkeep import UpkeepActivities
from adapters.carriers import CarrierByChannel, carriers, senders_of
from adapters.connections import connect_temporal, mongo_addresses, razorpay_gateway
from adapters.erasure import erasers
from adapters.erasure_log import StoredErasureLog
from adapters.export.fhir import Sources as VisitSources
from adapters.export.maker import PackedExports, plan
from adapters.export.objects import ObjectExports
from adapters.files import ObjectFiles
from adapters.invites import MailedInvites
from adapters.mongo.changes import ChangeWake
from adapters.mongo.repositories import Repositories
from adapters.objects import Objects
from adapters.razorpay import RazorpayGateway
from adapters.redis.client import RedisClient
from adapters.redis.client import connect as connect_redis
from adapters.redis.feed import FeedListener, RedisFeed
from adapters.redis.pages import Pages
from adapters.redis.sessions import SessionCache
from adapters.seal_heads import StoredSealHeads
from adapters.session_ends import EndedSessions
from adapters.settings import Settings
from adapters.temporal.client import metrics_runtime
from adapters.texts import FileTexts
from adapters.tokens import PurposeTokens, Statement, Statements
from models.deletions import deletion_link
from models.errors import UnavailableError
from models.notice_facts import Site
from models.ports import Follower
from workers.faults import FaultInterceptor, Faults
from workers.followers import EventNotices
from workers.projector import Projector
from workers.relay import Relay
from workers.runner import workflow_runner
from workflows.absence import AbsenceWorkflow
from workflows.availability import LeaveWorkflow
from workflows.booking import BookingWorkflow
from workflows.commander import Commander
from workflows.compliance import AuditSealingWorkflow
from workflows.deletions import DeletionWorkflow
from workflows.exports import ExportWorkflow
from workflows.exports_gateway import ExportsGateway
from workflows.follow_up import FollowUpWorkflow
from workflows.following_up import FollowUps
from workflows.messaging import MessageWorkflow
from workflows.messenger import DurableMessenger
from workflows.notifier import DurableNotifier
from workflows.notifying import NotifyWorkflow
from workflows.onboarding import OnboardingWorkflow
from workflows.open_work import RunningWork
from workflows.operations import ReconciliationWorkflow
from workflows.payments import LatePaymentWorkflow, RefundWorkflow
from workflows.policies import BOOKING_QUEUE, BULK_QUEUE, GATEWAY_QUEUE, NOTIFY_QUEUE
from workflows.reminders import ReminderWorkflow
from workflows.reminding import ReminderFollower
from workflows.reporter import Reporter
from workflows.retention import RetentionWorkflow
from workflows.rights import RightsWorkflow
from workflows.upkeep import UpkeepWorkflow

CACHED_WORKFLOWS = 500
"""Open bookings wait for days; those not in the cache are replayed from their short histories."""

BOOKING_WORKFLOWS: Final[tuple[type, ...]] = (
    BookingWorkflow,
    RefundWorkflow,
    LatePaymentWorkflow,
    LeaveWorkflow,
    OnboardingWorkflow,
)
NOTIFY_WORKFLOWS: Final[tuple[type, ...]] = (
    MessageWorkflow,
    NotifyWorkflow,
    ReminderWorkflow,
    FollowUpWorkflow,
    RightsWorkflow,
)
BULK_WORKFLOWS: Final[tuple[type, ...]] = (
    AbsenceWorkflow,
    ReconciliationWorkflow,
    UpkeepWorkflow,
    AuditSealingWorkflow,
    ExportWorkflow,
    RetentionWorkflow,
    DeletionWorkflow,
)

SHUTDOWN = timedelta(seconds=5)

log = structlog.get_logger()


class Family(StrEnum):
    """A kind of work that scales by itself."""

    BOOKING = "booking"
    GATEWAY = "gateway"
    NOTIFY = "notify"
    BULK = "bulk"
    RELAY = "relay"


async def run_worker(
    settings: Settings,
    families: Sequence[Family],
    faults: Faults | None,
    stop: asyncio.Event,
    metrics: str | None = None,
) -> None:
    """Serve until `stop` is set, then let running steps end. Raises what ended a worker before its time.

    `metrics` is the `host:port` where the workflow library's own figures are served to Prometheus.
    """
    async with _everything(settings, metrics) as wired:
        tasks = [
            asyncio.create_task(_serve(worker, stop), name=worker.task_queue)
            for worker in _workers(settings, wired, families, faults)
        ]
        if Family.RELAY in families:
            tasks.append(asyncio.create_task(_relay(wired, _followers(wired), stop), name="relay"))
            tasks.append(asyncio.create_task(_project(settings, wired.stores, stop), name="projector"))
        log.info("worker ready", queues=[task.get_name() for task in tasks])
        try:
            await asyncio.gather(*tasks)
        finally:
            stop.set()
            await asyncio.gather(*tasks, return_exceptions=True)


class Wired(NamedTuple):
    """What was connected."""

    client: Client
    stores: Repositories
    gateway: RazorpayGateway
    carrier: CarrierByChannel
    feed: RedisFeed
    redis: RedisClient


@asynccontextmanager
async def _everything(settings: Settings, metrics: str | None) -> AsyncIterator[Wired]:
    async with AsyncExitStack() as stack:
        redis = connect_redis(settings.redis_url.get_secret_value())
        stack.push_async_callback(redis.aclose)
        feed = RedisFeed(redis, settings.database)
        word = TimeWord(feed)
        stores = Repositories.connect(
            mongo_addresses(settings),
            on_time_changed=word.changed,
            on_published=word.published,
            appname="visitnow-worker",
        )
        stack.push_async_callback(stores.close)
        gateway = razorpay_gateway(settings)
        stack.callback(gateway.close)
        runtime = metrics_runtime(metrics) if metrics else None
        carrier = stack.enter_context(carriers(settings))
        yield Wired(await connect_temporal(settings, runtime=runtime), stores, gateway, carrier, feed, redis)


class TimeWord:
    """Tells the feed of changed times and profiles; nobody waits for that, and a lost word loses only time."""

    def __init__(self, feed: RedisFeed) -> None:
        """The feed to tell."""
        self._feed = feed
        self._telling: set[asyncio.Task[None]] = set()

    async def changed(self, practitioner_id: str) -> None:
        """Tell it soon that a practitioner's claims have changed."""
        self._start(self._feed.time_changed(practitioner_id))

    async def published(self, provider_id: str, practitioner_id: str) -> None:
        """Tell it soon that a profile, its hours or its leave have changed."""
        self._start(self._feed.published(provider_id, practitioner_id))

    def _start(self, telling: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(_told(telling))
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)


async def _told(telling: Coroutine[None, None, None]) -> None:
    try:
        await telling
    except UnavailableError as error:
        log.warning("feed away", error_type=type(error).__name__)


def _workers(settings: Settings, wired: Wired, families: Sequence[Family], faults: Faults | None) -> list[Worker]:
    client, stores, gateway = wired.client, wired.stores, wired.gateway
    booking = BookingActivities(stores.claims, stores.appointments)
    availability = AvailabilityActivities(stores.leaves, stores.publications, stores.claims, stores.appointments)
    payments = PaymentActivities(gateway, stores.payments, stores.appointments)
    messenger = DurableMessenger(client, stores.notifications)
    onboarding = OnboardingActivities(
        stores.applications,
        stores.practices,
        stores.publications,
        messenger,
        secret=settings.id_secret,
        public_url=settings.public_url,
        reviewers=settings.reviewers_email,
    )
    invites = MailedInvites(stores.invites, messenger, PurposeTokens(settings.token_keys), settings.public_url)
    practices = PracticeActivities(stores.applications, stores.practices, invites)
    reporter = Reporter(client)
    operations = OperationsActivities(stores.inbox, stores.appointments, stores.payments, gateway, reporter)
    abandoned = AbandonedFiles(stores.documents, stores.uploads, ObjectFiles(settings.storage_url))
    maker = _maker(settings, stores)
    upkeep = UpkeepActivities(
        stores.upkeep, reporter, abandoned, ExportUpkeep(stores.exports, maker, ExportsGateway(client))
    )
    notices = _notices(settings, wired)
    messaging = MessagingActivities(
        stores.notifications,
        FileTexts(),
        wired.carrier,
        stores.stops,
        senders=senders_of(settings),
        leaves=stores.deletions.standing,
        still=notices.still,
    )
    reminders = ReminderActivities(stores.reminders, stores.users, stores.notices, stores.offers)
    audit = AuditActivities(stores.seals, StoredSealHeads(settings.storage_url), Statements(settings.token_keys))
    rights = RightsActivities(
        stores.rights, stores.users, messenger, public_url=settings.public_url, officers=settings.reviewers_email
    )
    exports = ExportActivities(
        stores.exports,
        maker,
        stores.deletions,
        stores.users,
        messenger,
        stores.audit,
        public_url=settings.public_url,
        officers=settings.reviewers_email,
    )
    # Steps on a person's waiting path run within the booking worker first, the gateway's included.
    served: dict[Family, tuple[str, list[type], list[Callable[..., Any]]]] = {
        Family.BOOKING: (
            BOOKING_QUEUE,
            list(BOOKING_WORKFLOWS),
            [*_steps(booking), *_steps(payments), *_steps(availability), *_steps(onboarding), *_steps(practices)],
        ),
        Family.GATEWAY: (GATEWAY_QUEUE, [], _steps(payments)),
        Family.NOTIFY: (
            NOTIFY_QUEUE,
            list(NOTIFY_WORKFLOWS),
            [
                *_steps(messaging),
                *_steps(notices),
                *_steps(reminders),
                *_steps(_follow_ups(stores)),
                *_steps(rights),
            ],
        ),
        Family.BULK: (
            BULK_QUEUE,
            list(BULK_WORKFLOWS),
            [
                *_steps(operations),
                *_steps(upkeep),
                *_steps(audit),
                *_steps(_absence(wired)),
                *_steps(_erasure(settings, wired)),
                *_steps(exports),
                *_steps(_retention(settings, wired)),
                *_steps(_deletions(settings, wired, messenger)),
            ],
        ),
    }
    interceptors = [FaultInterceptor(faults)] if faults else []
    runner = workflow_runner()
    return [
        Worker(
            client,
            task_queue=queue,
            workflows=workflows,
            activities=activities,
            workflow_runner=runner,
            interceptors=interceptors,
            max_cached_workflows=CACHED_WORKFLOWS if workflows else 0,
            graceful_shutdown_timeout=SHUTDOWN,
        )
        for family, (queue, workflows, activities) in served.items()
        if family in families
    ]


def _absence(wired: Wired) -> AbsenceActivities:
    stores, client = wired.stores, wired.client
    books = Books(stores.leaves, stores.leaves, stores.publications, stores.appointments, stores.offers)
    return AbsenceActivities(books, Commander(client), DurableNotifier(client))


def _erasure(settings: Settings, wired: Wired) -> ErasureActivities:
    every = erasers(settings, wired.stores, wired.redis, wired.client, wired.carrier.redactor)
    return ErasureActivities(every, wired.stores.deletions)


def certificates(settings: Settings, stores: Repositories) -> Certificates:
    """What signs for erasures, and writes them down where no restored backup undoes them."""
    statements = Statements(settings.token_keys)
    return Certificates(
        stores.deletions,
        stores.holds,
        StoredErasureLog(settings.storage_url, statements),
        partial(statements.sign, Statement.DELETION),
        issuer=settings.public_url,
        backups=timedelta(days=settings.backup_vault_days),
        data_backups=timedelta(days=settings.backup_days),
    )


def _retention(settings: Settings, wired: Wired) -> RetentionActivities:
    stores = wired.stores
    return RetentionActivities(
        Ages(stores.outdated, stores.tenancy),
        stores.outdated,
        Objects(settings.storage_url),
        stores.vault,
        stores.holds,
        certificates(settings, stores),
        redactor=wired.carrier.redactor,
    )


def _deletions(settings: Settings, wired: Wired, messenger: DurableMessenger) -> DeletionActivities:
    stores, client = wired.stores, wired.client
    sessions = EndedSessions(stores.sessions, SessionCache(wired.redis, settings.database))
    return DeletionActivities(
        DeletionSources(
            stores.deletions,
            stores.users,
            sessions,
            stores.subject_visits,
            stores.holds,
            stores.tenancy,
            Household(stores.dependants, stores.appointments, stores.consents),
            stores.exports,
        ),
        Commander(client),
        RunningWork(client),
        messenger,
        certificates(settings, stores),
        link=partial(deletion_link, settings.public_url, settings.id_secret),
    )


def _notices(settings: Settings, wired: Wired) -> NoticeActivities:
    stores = wired.stores
    return NoticeActivities(
        stores.notices,
        stores.notifications,
        Sources(
            stores.appointments,
            stores.directory,
            stores.tenancy,
            stores.users,
            stores.consents,
            stores.templates,
            stores.offers,
        ),
        FileTexts(),
        configured=wired.carrier.channels,
        site=Site(settings.public_url, settings.id_secret),
    )


def _follow_ups(stores: Repositories) -> FollowUpActivities:
    return FollowUpActivities(
        FollowUpSources(stores.follow_ups, stores.consultations, stores.reviews, stores.consents, stores.users),
        stores.staff_tasks,
    )


def _maker(settings: Settings, stores: Repositories) -> PackedExports:
    visits = VisitSources(stores.appointments, stores.consultations, stores.documents, stores.directory, stores.users)
    made_from = plan(stores.holdings, ObjectFiles(settings.storage_url), visits, stores.deletions)
    return PackedExports(stores.exports, ObjectExports(settings.storage_url), made_from)


def _steps(activities: object) -> list[Callable[..., Any]]:
    """The bound steps of an activities class, in the order of their names."""
    members = (getattr(activities, name) for name in dir(activities) if not name.startswith("_"))
    return [member for member in members if hasattr(member, "__temporal_activity_definition")]


async def _serve(worker: Worker, stop: asyncio.Event) -> None:
    """Run one worker until `stop`; a worker that fails by itself raises here."""
    running = asyncio.create_task(worker.run())
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not running.done():
        await worker.shutdown()
    await running


def _followers(wired: Wired) -> tuple[Follower, ...]:
    """Whose work begins where an appointment changes."""
    return (ReminderFollower(wired.client), EventNotices(DurableNotifier(wired.client)), FollowUps(wired.client))


async def _relay(wired: Wired, followers: Sequence[Follower], stop: asyncio.Event) -> None:
    stores = wired.stores
    async with ChangeWake.on(stores) as wake:
        relay = Relay(
            stores.appointments,
            stores.applications,
            stores.audit,
            wired.feed,
            stores.leases,
            wake,
            outboxes=(stores.tenancy, stores.deletions),
            followers=followers,
        )
        await _until(stop, relay.run())


async def _project(settings: Settings, stores: Repositories, stop: asyncio.Event) -> None:
    url = settings.redis_url.get_secret_value()
    redis = connect_redis(url)
    pages = Pages(redis, settings.database)

    async def changed() -> None:
        try:
            await pages.drop_all()
        except UnavailableError as error:
            log.warning("search pages away", error_type=type(error).__name__)

    projector = Projector(stores.search, stores.directory, stores.claims, stores.reviews, stores.leases, changed)
    listener = FeedListener(url, settings.database, projector.time_changed, projector.published)
    listening = asyncio.create_task(listener.run())
    try:
        await _until(stop, projector.run())
    finally:
        listening.cancel()
        with suppress(asyncio.CancelledError):
            await listening
        await redis.aclose()


async def _until(stop: asyncio.Event, work: Coroutine[None, None, None]) -> None:
    """Let it run until `stop`; it never ends by itself, so what it raises ends the process."""
    running = asyncio.create_task(work)
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if running.done():
        await running
        return
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
