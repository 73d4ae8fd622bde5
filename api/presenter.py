"""How an appointment is shown: its document, the names around it and what this caller may do."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Final, Generic, TypeVar

from adapters.settings import Settings
from api.schemas.booking import (
    AppointmentView,
    HistoryView,
    PatientView,
    PaymentView,
    ServiceRef,
)
from api.schemas.payments import RefundView
from api.schemas.providers import ClinicView, ProviderRef
from models.booking import Appointment, Intake, RefundEntry
from models.booking_view import actions, cancel_terms, payment_offer
from models.day_list_ports import Names
from models.identity import Principal, Role, System
from models.ids import reference
from models.money import Money
from models.ports import Directory

NAMES: Final = System("an appointment names its provider and clinic, whoever may see it")
COMING: Final = System("a clinic knows the names of those who come to it")
ONESELF: Final = "self"
FRESH_SECONDS: Final = 5.0
_MAX_ENTRIES: Final = 4096

V = TypeVar("V")


class Batch(Generic[V]):
    """Values by id, read together and kept for `FRESH_SECONDS`."""

    def __init__(self, read: Callable[[Sequence[str]], Awaitable[dict[str, V]]]) -> None:
        """`read` gives those that exist."""
        self._read = read
        self._kept: dict[str, tuple[float, V]] = {}

    async def of(self, ids: Iterable[str]) -> dict[str, V]:
        """Those that exist, with one read for all that are not fresh."""
        now = time.monotonic()
        wanted = set(ids)
        found = {}
        for one in wanted:
            kept = self._kept.get(one)
            if kept is not None and kept[0] > now:
                found[one] = kept[1]
        missing = sorted(wanted - found.keys())
        if missing:
            if len(self._kept) + len(missing) > _MAX_ENTRIES:
                self._kept.clear()
            for name, value in (await self._read(missing)).items():
                self._kept[name] = (now + FRESH_SECONDS, value)
                found[name] = value
        return found


class Presenter:
    """Makes representations; `now` is the server's time in them."""

    def __init__(self, directory: Directory, names: Names, settings: Settings) -> None:
        """Names come from the directory and the accounts; the settings say where one pays."""
        self._names = names
        self._providers = Batch(lambda ids: directory.profiles(NAMES, ids))
        self._clinics = Batch(lambda ids: directory.clinics(NAMES, ids))
        self._key_id = settings.razorpay_key_id
        self._sandbox = settings.razorpay_base_url if settings.razorpay_is_sandbox else None
        self._public_url = settings.public_url

    async def one(self, appointment: Appointment, viewer: Principal) -> AppointmentView:
        """One appointment as this viewer may see it now."""
        return (await self.several([appointment], viewer))[0]

    async def several(self, appointments: Sequence[Appointment], viewer: Principal) -> list[AppointmentView]:
        """Appointments in their order; the names come with one read for all of them."""
        providers = await self._providers.of(one.provider_id for one in appointments)
        clinics = await self._clinics.of(one.clinic_id for one in appointments)
        owners = await self._owners(appointments, viewer)
        now = datetime.now(UTC)
        views = []
        for one in appointments:
            provider, clinic = ProviderRef.of(providers[one.provider_id]), ClinicView.of(clinics[one.clinic_id])
            view = self._view(one, viewer, provider, clinic, now)
            if view.patient is None and one.id in owners:
                view.patient = PatientView(name=owners[one.id], date_of_birth=None, relation=ONESELF)
            views.append(view)
        return views

    async def _owners(self, appointments: Sequence[Appointment], viewer: Principal) -> dict[str, str]:
        """Who comes to a clinic where the account's owner booked for nobody else; patients know who they are."""
        if Role.PATIENT in viewer.roles:
            return {}
        themselves = [one for one in appointments if not one.intake_erased and _for_nobody_else(one.intake)]
        if not themselves:
            return {}
        names = await self._names.names(COMING, sorted({one.subject_id for one in themselves}))
        return {one.id: names[one.subject_id] for one in themselves if one.subject_id in names}

    def _view(
        self, appointment: Appointment, viewer: Principal, provider: ProviderRef, clinic: ClinicView, now: datetime
    ) -> AppointmentView:
        intake = appointment.intake
        patient = intake.patient if intake is not None else None
        return AppointmentView(
            id=appointment.id,
            reference=reference(appointment.id),
            state=appointment.state,
            payment_state=appointment.payment_state,
            provider=provider,
            clinic=clinic,
            service=_service(appointment),
            start=appointment.start,
            end=appointment.end,
            timezone=appointment.timezone,
            version=appointment.version,
            payment=self._payment(appointment),
            policy=cancel_terms(appointment, viewer, now),
            refunds=[_refund(one) for one in appointment.refunds],
            actions=list(actions(appointment, viewer, now)),
            waiting_for=appointment.waiting_for,
            patient=PatientView(**patient.model_dump()) if patient is not None else None,
            reason=intake.reason if intake is not None else None,
            history=[
                HistoryView(state=step.state, at=step.at, by=step.by, event=step.event, start=step.start)
                for step in appointment.history
            ],
            server_time=now,
        )

    def _payment(self, appointment: Appointment) -> PaymentView | None:
        offer = payment_offer(appointment)
        if offer is None:
            return None
        return PaymentView(
            status=offer.status,
            order_id=offer.order_id,
            key_id=self._key_id,
            amount=offer.amount,
            deadline=offer.deadline,
            checkout_url=self._checkout(appointment.id, offer.order_id),
        )

    def _checkout(self, appointment_id: str, order_id: str | None) -> str | None:
        """The stand-in gateway serves a page of its own; the real one's Checkout opens within ours."""
        if order_id is None:
            return None
        if self._sandbox is not None:
            return f"{self._sandbox}/checkout/{order_id}"
        return f"{self._public_url}/appointments/{appointment_id}/pay"


def _service(appointment: Appointment) -> ServiceRef:
    service = appointment.service
    return ServiceRef(
        id=service.id,
        name=service.name,
        duration_minutes=service.duration_minutes,
        fee=service.fee,
        mode=service.mode,
        payment=service.payment,
    )


def _refund(entry: RefundEntry) -> RefundView:
    return RefundView(id=entry.id, amount=Money(amount=entry.amount), state=entry.state, reason=entry.reason)


def _for_nobody_else(intake: Intake | None) -> bool:
    return intake is None or intake.patient is None
