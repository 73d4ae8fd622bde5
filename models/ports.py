"""What the inside asks of the outside. Adapters implement these; activities and the API get them by constructor.

Every method of a store takes the scope whose documents it may touch, and every method here may raise
`UnavailableError` when the outside does not answer in time. Writes are idempotent.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Generic, NamedTuple, Protocol, TypeVar

from models.availability import Busy
from models.booking import (
    SYSTEM,
    Actor,
    Advance,
    Advanced,
    Appointment,
    AppointmentQuery,
    ClaimRef,
    Event,
    HoldSlot,
    Intake,
    PlaceBooking,
    RefundEntry,
)
from models.compliance import AuditEntry
from models.consents import Purpose
from models.identity import Invitation, Scope
from models.money import Money
from models.payments import (
    Capture,
    LedgerTransaction,
    NewOrder,
    Order,
    PaymentFact,
    RefundFact,
    RefundRecord,
    RefundState,
    WebhookEvent,
)
from models.providers import Clinic, Offering, Provider
from models.publishing import Booked
from models.search import Facet, Found, SearchQuery
from models.tenancy import Domain, SettingsVersion, TenantSettings

T = TypeVar("T")


class Page(NamedTuple, Generic[T]):
    """One page of a list and where the next begins."""

    items: Sequence[T]
    next_cursor: str | None


class Claims(Protocol):
    """The practitioner's time: one document per claim under a unique index of five-minute cells."""

    async def tentative(self, scope: Scope, command: PlaceBooking, intake: Intake, expires_at: datetime) -> bool:
        """Take the time for a moment, the sealed intake with it; False where somebody else has it."""
        ...

    async def hold(self, scope: Scope, step: HoldSlot) -> tuple[bool, bytes | None]:
        """Take the tentative claim over (or make it) until `expires_at`; with the sealed intake of this very body.

        A claim without `expires_at` is booked at once. The first member is False where somebody else has the time.
        """
        ...

    async def book(self, scope: Scope, claim: ClaimRef) -> bool:
        """Make the hold a booking; False where it was lost. True again on a retry."""
        ...

    async def move(self, scope: Scope, claim: ClaimRef, command: PlaceBooking) -> bool:
        """Take the command's time for the booking that has the claim's; False where somebody else has it.

        A time of one's own becomes another in one step; where either is a seat, the old one is still to be released.
        True again on a retry.
        """
        ...

    async def release(self, scope: Scope, claim: ClaimRef) -> None:
        """Give the time back."""
        ...

    async def drop_tentative(self, scope: Scope, claim: ClaimRef) -> None:
        """Give a tentative claim back that no workflow has taken over."""
        ...

    async def unpaid_holds(self, scope: Scope) -> int:
        """How many live holds (tentative ones included) this subject has."""
        ...

    async def busy(self, scope: Scope, practitioner_id: str, start: datetime, end: datetime) -> list[Busy]:
        """Live claims that overlap [start, end), at whichever clinic, without telling whose they are."""
        ...

    async def block(self, scope: Scope, leave_id: str, provider: Provider, start: datetime, end: datetime) -> bool:
        """Take free time for a leave, at most twelve hours; False where it is not free."""
        ...

    async def unblock(self, scope: Scope, leave_id: str, provider: Provider) -> None:
        """Give the time back that was blocked for a leave."""
        ...

    async def blocks(self, scope: Scope, leave_id: str) -> int:
        """How many claims block the time of a leave."""
        ...


class Appointments(Protocol):
    """The appointments' documents."""

    async def insert(self, scope: Scope, step: HoldSlot, sealed_intake: bytes | None) -> None:
        """Write the appointment once, in its first state, with its first event."""
        ...

    async def record_order(self, scope: Scope, appointment_id: str, order_id: str, at: datetime) -> None:
        """Note the gateway's order, once."""
        ...

    async def advance(self, scope: Scope, step: Advance) -> Advanced:
        """Change state, payment state and events in one conditional update. Raises `not_found`."""
        ...

    async def reserve_refund(
        self, scope: Scope, appointment_id: str, entry: RefundEntry, at: datetime, actor: Actor = SYSTEM
    ) -> bool:
        """Promise money back, never more than was captured; True again on a retry.

        False where it would be more, or where the refund's id stands for another amount.
        """
        ...

    async def settle_refund(
        self, scope: Scope, appointment_id: str, refund_id: str, state: RefundState, at: datetime
    ) -> None:
        """Note what became of a refund, forward only; a failed one gives its reservation back."""
        ...

    async def note_cancellation(self, scope: Scope, appointment_id: str, reason: str) -> None:
        """Keep the words given with a cancellation, sealed; only while the appointment can be cancelled."""
        ...

    async def note_override(self, scope: Scope, appointment_id: str, reason: str) -> None:
        """Keep the words given for a time outside the published ones, sealed; the last ones count."""
        ...

    async def find(self, scope: Scope, appointment_id: str, *, open_sealed: bool = True) -> Appointment | None:
        """One appointment; its sealed parts opened where asked for."""
        ...

    async def by_order(self, scope: Scope, order_id: str) -> Appointment | None:
        """The appointment that a gateway order was made for, its sealed parts left closed; None for a foreign order."""
        ...

    async def page(self, scope: Scope, query: AppointmentQuery, cursor: str | None) -> Page[Appointment]:
        """Appointments by start, newest first. Raises `ValueError` for a foreign cursor."""
        ...

    async def unsettled(
        self, scope: Scope, since: datetime, until: datetime, after: str, limit: int
    ) -> list[Appointment]:
        """Expired and cancelled appointments with an order but no captured money, closed in [since, until).

        In the order in which they were closed; `after` is the id of the last one, empty at first.
        """
        ...

    async def overdue(self, scope: Scope, before: datetime, after: str, limit: int) -> list[Appointment]:
        """Appointments whose awaited event is overdue since before that instant, by id."""
        ...

    async def upcoming(self, scope: Scope, provider: Provider, start: datetime, end: datetime | None) -> list[Booked]:
        """A provider's open appointments whose claimed time overlaps [start, end), by start; None: without an end."""
        ...

    async def events(self, limit: int) -> list[Event]:
        """The oldest events that the relay has not drained (its own scope: all tenants)."""
        ...

    async def drained(self, events: Sequence[Event]) -> None:
        """Take relayed events out of their outboxes."""
        ...


class Directory(Protocol):
    """Published profiles and what decides whether they can be booked."""

    async def offering(self, scope: Scope, provider_id: str) -> Offering | None:
        """A live provider with clinic, availability and tenant policy."""
        ...

    async def profiles(self, scope: Scope, provider_ids: Sequence[str]) -> dict[str, Provider]:
        """Profiles by id, live or not, for showing appointments."""
        ...

    async def clinics(self, scope: Scope, clinic_ids: Sequence[str]) -> dict[str, Clinic]:
        """Clinics by id."""
        ...

    async def clinic_by_slug(self, scope: Scope, slug: str) -> Clinic | None:
        """The clinic of that subdomain."""
        ...


class Tenancy(Protocol):
    """Tenants' settings and hosts."""

    async def settings(self, scope: Scope, tenant_id: str) -> SettingsVersion:
        """The settings as they are. Raises `not_found`."""
        ...

    async def replace_settings(
        self, scope: Scope, tenant_id: str, settings: TenantSettings, *, replaces: int, entry: AuditEntry
    ) -> SettingsVersion:
        """The next version, in place of that one, which is kept; `entry` says who does so when.

        The entry is kept with the change, for the relay to carry. Raises `stale` and `not_found`.
        """
        ...

    async def settings_versions(self, scope: Scope, tenant_id: str, before: int, limit: int) -> list[SettingsVersion]:
        """Versions that were replaced, older than that one, newest first."""
        ...

    async def domain(self, scope: Scope, host: str) -> Domain | None:
        """A host of a clinic's own; the public sees verified ones only."""
        ...


class AuditOutbox(Protocol):
    """Entries that were kept with the changes that they tell of, until they are in the audit."""

    async def entries(self, limit: int) -> list[AuditEntry]:
        """Those that wait, oldest first."""
        ...

    async def carried(self, entries: Sequence[AuditEntry]) -> None:
        """They are in the audit."""
        ...


class Search(Protocol):
    """The projection that searches read."""

    async def find(self, scope: Scope, provider_id: str) -> Found | None:
        """What is known of one provider who can be found."""
        ...

    async def page(self, scope: Scope, query: SearchQuery, limit: int, cursor: str | None) -> Page[Found]:
        """Results in the order asked for. Raises `ValueError` for another search's cursor."""
        ...

    async def facets(self, scope: Scope, query: SearchQuery) -> dict[str, list[Facet]]:
        """Each property's values with their counts over all results."""
        ...


class PaymentGateway(Protocol):
    """Razorpay, or what speaks like it. Raises `GatewayError` where it refuses, `UnavailableError` where unknown."""

    async def create_order(self, order: NewOrder) -> Order:
        """Make an order, or find the one that already has this receipt."""
        ...

    async def payments_of(self, order_id: str) -> list[PaymentFact]:
        """Every payment that was tried on an order."""
        ...

    async def payment(self, payment_id: str) -> PaymentFact:
        """One payment."""
        ...

    async def capture(self, payment_id: str, amount: Money) -> PaymentFact:
        """Take authorized money; the payment as it stands where it was captured before."""
        ...

    async def refund(self, refund: RefundRecord) -> RefundFact:
        """Send money back, once per refund id (X-Refund-Idempotency)."""
        ...

    async def refund_status(self, payment_id: str, gateway_refund_id: str) -> RefundFact:
        """One refund."""
        ...


class Payments(Protocol):
    """Captured payments, refunds and the ledger."""

    async def record_capture(self, scope: Scope, capture: Capture, transaction: LedgerTransaction) -> None:
        """Write the payment and its ledger transaction, each once."""
        ...

    async def open_refund(self, scope: Scope, refund: RefundRecord, note: str | None, at: datetime) -> None:
        """Write a refund once; the note is sealed."""
        ...

    async def refund(self, scope: Scope, refund_id: str) -> RefundRecord | None:
        """One refund."""
        ...

    async def settle_refund(
        self,
        scope: Scope,
        refund_id: str,
        state: RefundState,
        gateway_refund_id: str | None,
        transaction: LedgerTransaction | None,
        at: datetime,
    ) -> RefundRecord:
        """Move a refund forward and post its transaction, each once; the record as it stands."""
        ...

    async def refunds_of(self, scope: Scope, appointment_id: str) -> list[tuple[RefundRecord, str | None]]:
        """An appointment's refunds with their opened notes, oldest first."""
        ...

    async def open_refunds(self, scope: Scope, before: datetime, after: str, limit: int) -> list[RefundRecord]:
        """Refunds that were neither processed nor failed, untouched since before that instant, by id."""
        ...

    async def by_gateway_refund(self, scope: Scope, gateway_refund_id: str) -> RefundRecord | None:
        """The refund that the gateway calls by that id."""
        ...


class WebhookInbox(Protocol):
    """What the gateway told us, kept until it was passed on."""

    async def store(self, event: WebhookEvent) -> bool:
        """Keep it once; False where it was here before."""
        ...

    async def passed_on(self, event_id: str) -> None:
        """It has reached the workflow that it concerns (or concerns none)."""
        ...

    async def waiting(self, before: datetime, limit: int) -> list[WebhookEvent]:
        """Events stored before that instant and not passed on, oldest first."""
        ...


class Consents(Protocol):
    """What people have agreed to."""

    async def allows(self, scope: Scope, subject_id: str, purpose: Purpose) -> bool:
        """Whether somebody's data may be used for that now; what was never asked is as `models.consents` assumes."""
        ...


class Follower(Protocol):
    """Somebody whose work begins where an appointment changes; the relay tells them."""

    async def follow(self, event: Event) -> None:
        """Take note of it, at least once and in any order; look at the appointment itself for how it stands."""
        ...


class Invites(Protocol):
    """Invitations to join a tenant; the link goes by e-mail."""

    async def issue(self, scope: Scope, invitation: Invitation) -> None:
        """Keep an invitation and send its link, once per id."""
        ...


class AuditTrail(Protocol):
    """The insert-only audit."""

    async def append(self, entries: Sequence[AuditEntry]) -> None:
        """Write entries; those already written are left as they are."""
        ...


class Feed(Protocol):
    """A passing word to whoever watches; losing one loses nothing but time."""

    async def appointment_changed(self, appointment_id: str, version: int) -> None:
        """An appointment has a new version."""
        ...

    async def day_changed(self, clinic_id: str) -> None:
        """One of a clinic's visits has changed."""
        ...

    async def time_changed(self, practitioner_id: str) -> None:
        """A practitioner's claims have changed."""
        ...


class WorkflowStarter(Protocol):
    """How a sweep reaches workflows; implemented over the Temporal client by the workers."""

    async def report_payment(self, appointment_id: str, order_id: str, payment_id: str | None) -> None:
        """Tell the booking, or the order's guardian where the booking is over, that there is something to look at."""
        ...

    async def report_refund(self, refund: RefundRecord) -> None:
        """Tell a refund's workflow to look again, starting it where it is gone."""
        ...


class Leases(Protocol):
    """Who of several processes does a thing that one at a time should do."""

    async def acquire(self, name: str, owner: str, seconds: float) -> bool:
        """Take or renew a lease by the server's clock; False while somebody else has it."""
        ...

    async def release(self, name: str, owner: str) -> None:
        """Give a lease back, if it is ours."""
        ...


class Wake(Protocol):
    """A hint that there may be something to do."""

    async def changed(self, seconds: float) -> None:
        """Return when something has changed, or after that many seconds."""
        ...
