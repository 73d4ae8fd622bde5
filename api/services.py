"""What the routes work with: every wired object of the process, in one typed place."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Final

from fastapi import Depends, Request

from adapters.redis.feed import FeedListener
from adapters.redis.limits import RateLimiter
from adapters.redis.tickets import Tickets
from adapters.settings import Settings
from adapters.tokens import TokenVerifier
from api.after_visit import AfterVisitPages, AfterVisits
from api.applying import Applicants
from api.audit import AuditLog
from api.background import Background
from api.clinics import ClinicHosts
from api.codec import CodecDesk, SignInPage
from api.consents import Consenting
from api.consulting import Consulting
from api.day_list import DayLists
from api.deletions import Forgetting
from api.exports import Exporting
from api.filing import Filing
from api.free_times import FreeTimes
from api.holds import Holding
from api.link_pages import LinkPages
from api.links import VisitLinks
from api.metrics import Metrics
from api.own_account import OwnAccounts
from api.phone_sign_in import PhoneSignIn
from api.presenter import Presenter
from api.profiles import Profiles
from api.publishing import Publisher
from api.receiving import Receiving
from api.reviews import Reviewing
from api.rights import RightsDesk
from api.search import Searching
from api.sessions import Sessions
from api.sign_in import SignIn
from api.staff import Staff
from api.staff_tasks import TaskList
from api.streams import Streams
from api.templates import TemplateDesk
from api.walk_ins import WalkIns
from models.cache import Recently
from models.compliance_ports import AuditReader
from models.errors import UnavailableError
from models.identity_ports import Users
from models.notice_ports import Messenger, Notices, Notifications
from models.onboarding_ports import Applications
from models.ports import Appointments, Directory, Payments, Tenancy, WebhookInbox
from models.stops import Stops
from workflows.gateway import DurableNotifier, WorkflowGateway

WORD_SECONDS: Final = 30.0


@dataclass(frozen=True)
class Services:
    """Everything that a route may use."""

    settings: Settings
    metrics: Metrics
    verifier: TokenVerifier
    codec_desk: CodecDesk
    codec_page: SignInPage
    gateway: WorkflowGateway
    directory: Directory
    appointments: Appointments
    payments: Payments
    tenancy: Tenancy
    applications: Applications
    applicants: Applicants
    inbox: WebhookInbox
    messenger: Messenger
    notifier: DurableNotifier
    stops: Stops
    notices: Notices
    templates: TemplateDesk
    notifications: Notifications
    audit: AuditLog
    trail: AuditReader
    users: Users
    sessions: Sessions
    sign_in: SignIn
    phone_sign_in: PhoneSignIn
    own_accounts: OwnAccounts
    profiles: Profiles
    consenting: Consenting
    reviewing: Reviewing
    rights: RightsDesk
    exporting: Exporting
    deletions: Forgetting
    holding: Holding
    staff: Staff
    walk_ins: WalkIns
    task_list: TaskList
    hosts: ClinicHosts
    presenter: Presenter
    publisher: Publisher
    consulting: Consulting
    filing: Filing
    receiving: Receiving
    free_times: FreeTimes
    searching: Searching
    links: VisitLinks
    after_visits: AfterVisits
    after_visit_pages: AfterVisitPages
    link_pages: LinkPages
    listener: FeedListener
    streams: Streams
    day_lists: DayLists
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
