"""Commands and records with which the tests fill a database; every id is new."""

from __future__ import annotations

import itertools
import secrets
from datetime import UTC, datetime, timedelta

from models.booking import (
    SYSTEM,
    Actor,
    ActorKind,
    Advance,
    AppointmentState,
    Event,
    EventType,
    HoldSlot,
    Intake,
    PlaceBooking,
    RefundEntry,
    ServiceSnapshot,
    WaitingFor,
)
from models.compliance import AuditAction, AuditEntry
from models.messaging import Channel, Message, Template
from models.money import Money
from models.notices import Notice
from models.payments import Capture, PaymentState, RefundReason, RefundRecord, RefundState
from models.policy import TenantPolicy
from models.providers import Clinic, Location, PaymentMode, Provider, Registration, Service, VisitMode
from models.seals import SignedSeal, StoredEntry, next_seal
from models.templates import OwnTemplate, Words

DAY = datetime(2031, 3, 3, 4, 30, tzinfo=UTC)
"""10:00 in Kolkata on a Monday."""

_NUMBERS = itertools.count(1)
_RUN = secrets.token_hex(4)


def new(prefix: str) -> str:
    """An id that nobody else has."""
    return f"{prefix}_{_RUN}{next(_NUMBERS)}"


def minutes(count: float) -> timedelta:
    return timedelta(minutes=count)


def soon(seconds: float = 60) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


def past(seconds: float = 60) -> datetime:
    return datetime.now(UTC) - timedelta(seconds=seconds)


def a_service(fee: int = 50_000, payment: PaymentMode = PaymentMode.ONLINE) -> ServiceSnapshot:
    return ServiceSnapshot(
        id="svc_consultation",
        name="Consultation",
        duration_minutes=30,
        buffer_before_minutes=0,
        buffer_after_minutes=0,
        fee=Money(amount=fee),
        mode=VisitMode.IN_PERSON,
        payment=payment,
    )


def a_command(at: float = 0, length: float = 30, **changes: object) -> PlaceBooking:
    """Book a visit of `length` minutes, `at` minutes after `DAY`."""
    start, end = DAY + minutes(at), DAY + minutes(at + length)
    fields: dict[str, object] = {
        "appointment_id": new("apt"),
        "tenant_id": "ten_a",
        "clinic_id": "cli_a",
        "provider_id": "prv_a",
        "practitioner_id": "prc_a",
        "subject_id": new("usr"),
        "actor": Actor(kind=ActorKind.PATIENT, id="usr_patient"),
        "body_hash": "hash",
        "service": a_service(),
        "start": start,
        "end": end,
        "claim_start": start,
        "claim_end": end,
        "timezone": "Asia/Kolkata",
        "policy": TenantPolicy(),
        "policy_version": 1,
    }
    return PlaceBooking.model_validate({**fields, **changes})


def a_step(command: PlaceBooking, expires_at: datetime | None = None, **changes: object) -> HoldSlot:
    """The first step of a booking; it is held for a minute unless it needs no payment."""
    fields: dict[str, object] = {
        "command": command,
        "at": datetime(2031, 3, 1, 6, 0, 0, 123_456, tzinfo=UTC),
        "deadline": soon(),
        "expires_at": expires_at or (soon() if command.needs_payment else None),
        "waiting_for": WaitingFor(event="payment", until=soon()),
    }
    return HoldSlot.model_validate({**fields, **changes})


def an_advance(
    command: PlaceBooking, event: EventType, to: AppointmentState | None = None, **changes: object
) -> Advance:
    fields: dict[str, object] = {
        "tenant_id": command.tenant_id,
        "appointment_id": command.appointment_id,
        "event": event,
        "event_id": new("evt"),
        "at": datetime(2031, 3, 1, 6, 5, tzinfo=UTC),
        "to": to,
    }
    return Advance.model_validate({**fields, **changes})


def a_confirmation(command: PlaceBooking, **changes: object) -> Advance:
    """The step that confirms a booking with the money taken."""
    paid: dict[str, object] = {
        "payment_state": PaymentState.CAPTURED,
        "payment_id": new("pay"),
        "captured_added": command.service.fee.amount,
        "waiting_for": WaitingFor(event="visit", until=command.closes_at),
    }
    return an_advance(command, EventType.CONFIRMED, AppointmentState.CONFIRMED, **paid, **changes)


def an_event(command: PlaceBooking, kind: EventType, **changes: object) -> Event:
    """What the relay tells of a free visit that is confirmed."""
    fields: dict[str, object] = {
        "id": new("evt"),
        "type": kind,
        "at": DAY,
        "actor": SYSTEM,
        **command.model_dump(include={"tenant_id", "appointment_id", "clinic_id", "subject_id"}),
        "state": AppointmentState.CONFIRMED,
        "payment_state": PaymentState.NOT_REQUIRED,
        "version": 1,
    }
    return Event.model_validate({**fields, **changes})


def an_intake(reason: str = "chest pain since Tuesday") -> Intake:
    return Intake(reason=reason)


def a_refund_entry(amount: int = 10_000, **changes: object) -> RefundEntry:
    fields: dict[str, object] = {
        "id": new("rfd"),
        "amount": amount,
        "state": RefundState.PENDING,
        "reason": RefundReason.GOODWILL,
        "payment_id": "pay_1",
    }
    return RefundEntry.model_validate({**fields, **changes})


def a_refund(**changes: object) -> RefundRecord:
    fields: dict[str, object] = {
        "id": new("rfd"),
        "tenant_id": "ten_a",
        "appointment_id": new("apt"),
        "subject_id": new("usr"),
        "payment_id": new("pay"),
        "amount": 10_000,
        "reason": RefundReason.GOODWILL,
    }
    return RefundRecord.model_validate({**fields, **changes})


def a_capture(**changes: object) -> Capture:
    fields: dict[str, object] = {
        "tenant_id": "ten_a",
        "appointment_id": new("apt"),
        "subject_id": new("usr"),
        "order_id": new("order"),
        "payment_id": new("pay"),
        "amount": 50_000,
        "platform_fee": 2_000,
        "method": "upi",
    }
    return Capture.model_validate({**fields, **changes})


def a_clinic(**changes: object) -> Clinic:
    number = next(_NUMBERS)
    fields: dict[str, object] = {
        "id": new("cli"),
        "tenant_id": "ten_a",
        "slug": f"clinic-{_RUN}-{number}",
        "name": "Arogya Clinic",
        "timezone": "Asia/Kolkata",
        "address": "12 100 Feet Road",
        "city": "Bengaluru",
        "location": Location(latitude=12.97, longitude=77.64),
    }
    return Clinic.model_validate({**fields, **changes})


def a_provider(clinic: Clinic, **changes: object) -> Provider:
    fields: dict[str, object] = {
        "id": new("prv"),
        "tenant_id": clinic.tenant_id,
        "clinic_id": clinic.id,
        "practitioner_id": new("prc"),
        "name": "Dr. Ananya Rao",
        "gender": "female",
        "specialties": ("Cardiology",),
        "languages": ("en", "kn"),
        "registration": Registration(council="Karnataka Medical Council", number="KMC 1", year=2009),
        "services": (Service(id="svc_1", name="Consultation", duration_minutes=30, fee=Money(amount=50_000)),),
    }
    return Provider.model_validate({**fields, **changes})


def an_entry(**changes: object) -> AuditEntry:
    fields: dict[str, object] = {
        "id": new("aud"),
        "tenant_id": "ten_a",
        "at": DAY,
        "actor": "usr_staff",
        "actor_kind": "clinic",
        "action": AuditAction.RECORD_READ,
        "target": "apt_1",
        "subject_id": "usr_patient",
    }
    return AuditEntry.model_validate({**fields, **changes})


def a_seal(tenant_id: str) -> SignedSeal:
    """The first of a chain, over one entry."""
    entry = StoredEntry(new("aud"), 1, b"entry")
    return SignedSeal(seal=next_seal(None, tenant_id, [entry], DAY), signature="none")


def a_message(**change: object) -> Message:
    """A code to a phone, good for ten minutes."""
    fields = {
        "id": new("msg"),
        "tenant_id": new("ten"),
        "subject_id": new("usr"),
        "channel": Channel.SMS,
        "to": "+919812345678",
        "template": Template.OTP,
        "params": {"code": "246810", "minutes": "5"},
        "expires_at": DAY + minutes(10),
        **change,
    }
    return Message.model_validate(fields)


def a_notice(**change: object) -> Notice:
    """The word that a visit is confirmed."""
    fields = {
        "tenant_id": new("ten"),
        "appointment_id": new("apt"),
        "recipient_id": new("usr"),
        "template": Template.APPOINTMENT_CONFIRMED,
        "occurrence": new("evt"),
        "expires_at": DAY + minutes(600),
        **change,
    }
    return Notice.model_validate(fields)


def a_template(**change: object) -> OwnTemplate:
    """A tenant's own words for a confirmation."""
    words = Words(short="ok {{ registration }}", subject="ok", text="ok {{ registration }}")
    fields = {
        "tenant_id": new("ten"),
        "key": Template.APPOINTMENT_CONFIRMED,
        "language": "en",
        "version": 1,
        "words": words,
        "changed_by": new("usr"),
        "changed_at": DAY,
        **change,
    }
    return OwnTemplate.model_validate(fields)
