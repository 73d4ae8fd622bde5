"""What the story reads of the API's and the sandbox's answers; whatever else they carry is left alone."""

from __future__ import annotations

from datetime import datetime

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from models.booking import AppointmentState
from models.money import Money
from models.payments import PaymentState, RefundState


class View(BaseModel):
    """An answer, of which only some fields matter here."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class ServiceSeen(View):
    """A service of a profile."""

    id: str
    name: str
    fee: Money


class ClinicSeen(View):
    """A clinic."""

    name: str
    timezone: str


class ProviderSeen(View):
    """A provider, in a list or as a profile."""

    id: str
    name: str
    clinic: ClinicSeen
    services: tuple[ServiceSeen, ...] = ()
    rating: float | None = None


class ProvidersSeen(View):
    """A page of providers."""

    items: tuple[ProviderSeen, ...]


class SlotSeen(View):
    """A free time."""

    start: AwareDatetime


class SlotsSeen(View):
    """Free times."""

    items: tuple[SlotSeen, ...]


class PaymentSeen(View):
    """What is to be paid."""

    order_id: str | None
    checkout_url: str | None
    amount: Money


class RefundSeen(View):
    """A refund of an appointment."""

    amount: Money
    state: RefundState


class ProviderNamed(View):
    """Whom an appointment is with."""

    id: str


class AppointmentSeen(View):
    """An appointment."""

    id: str
    reference: str
    state: AppointmentState
    payment_state: PaymentState
    start: datetime
    provider: ProviderNamed
    payment: PaymentSeen | None
    refunds: tuple[RefundSeen, ...]


class SlotTakenSeen(View):
    """The refusal of a time that somebody else has."""

    code: str
    alternatives: tuple[AwareDatetime, ...]


class WaitingSeen(View):
    """What a workflow waits for."""

    until: AwareDatetime


class WorkflowSeen(View):
    """A workflow as operators see it."""

    temporal_ui_url: str
    waiting_for: WaitingSeen | None = None


class SettingsSeen(View):
    """A tenant's settings, all of them, to be handed back with some changed."""

    model_config = ConfigDict(extra="allow", frozen=True)


class ChallengeSeen(View):
    """A code that was sent."""

    challenge_id: str


class ReviewSeen(View):
    """What somebody says of a visit."""

    comment: str | None


class ReviewsSeen(View):
    """Published reviews, newest first."""

    items: tuple[ReviewSeen, ...]


class ProvisionedSeen(View):
    """What was made for a practice that was approved."""

    provider_id: str


class ApplicationSeen(View):
    """A practice's application."""

    id: str
    state: str
    provisioned: ProvisionedSeen | None = None


class TokenSeen(View):
    """What opens something from now on."""

    access_token: str


class AccountSeen(View):
    """An account."""

    id: str


class FileSeen(View):
    """A file of an export, as its manifest says it is."""

    name: str
    sha256: str


class ManifestSeen(View):
    """Every file of an export but the manifest."""

    files: tuple[FileSeen, ...]


class ResourceSeen(View):
    """A resource of FHIR."""

    kind: str = Field(alias="resourceType")


class EntrySeen(View):
    """An entry of a FHIR bundle."""

    resource: ResourceSeen


class BundleSeen(View):
    """A FHIR bundle."""

    entry: tuple[EntrySeen, ...]


class DeletionAskedSeen(View):
    """A wish to be forgotten, and what opens it when the account is gone."""

    id: str
    request_token: str


class DeletionSeen(View):
    """How far somebody is forgotten."""

    state: str


class ReceiptSeen(View):
    """What a store has let go of."""

    store: str
    part: str
    erased: int


class RetainedSeen(View):
    """What a rule keeps for a time."""

    erased_at: AwareDatetime | None


class CertifiedSeen(View):
    """What a certificate of erasure says."""

    subject: str
    receipts: tuple[ReceiptSeen, ...]
    retained: tuple[RetainedSeen, ...]


class CertificateSeen(View):
    """A certificate of erasure, signed."""

    certificate: CertifiedSeen
    signature: str


class KeySeen(View):
    """A public key that signatures are checked against, in base64url."""

    kid: str
    x: str


class KeysSeen(View):
    """All of them."""

    keys: tuple[KeySeen, ...]


class EntryOfAuditSeen(View):
    """An entry of the audit."""

    action: str
    target: str


class AuditSeen(View):
    """A page of the audit."""

    items: tuple[EntryOfAuditSeen, ...]


class MessageSeen(View):
    """A message that was delivered."""

    text: str


class MessagesSeen(View):
    """The messages to somebody, newest first."""

    items: tuple[MessageSeen, ...]


class PaidSeen(View):
    """What the checkout hands back to the browser."""

    payment_id: str
    order_id: str
    signature: str


class OrderEntry(View):
    """An order in the sandbox's ledger; amounts are paise."""

    id: str
    receipt: str
    amount: int
    amount_paid: int
    status: str


class PaymentEntry(View):
    """A payment in the sandbox's ledger; amounts are paise."""

    id: str
    order_id: str
    status: str
    amount: int
    amount_refunded: int


class RefundEntry(View):
    """A refund in the sandbox's ledger; amounts are paise."""

    payment_id: str
    amount: int
    status: str


class Ledger(View):
    """Everything that the gateway knows."""

    orders: tuple[OrderEntry, ...]
    payments: tuple[PaymentEntry, ...]
    refunds: tuple[RefundEntry, ...]


class ProofSeen(View):
    """That somebody has just proved again who they are."""

    step_up_token: str


class ExportSeen(View):
    """How an export stands."""

    id: str
    state: str
    download_url: str | None
    sha256: str | None
