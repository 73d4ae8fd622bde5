"""One world with a bit of everything, and every method of every repository called on it."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from adapters.mongo.repositories import Repositories
from models.availability import Availability
from models.booking import AppointmentQuery, AppointmentState, EventType, Intake, PlaceBooking
from models.compliance import AuditQuery
from models.credentials import OTP_KEPT
from models.day_list_ports import DayQuery, DoctorsTokens
from models.deletions import Deletion
from models.exports import Export
from models.identity import Public, Scope, Subject, System
from models.messaging import Message, MessageState, Template, Word
from models.notices import Ending, NoticeState
from models.payments import (
    LedgerTransaction,
    RefundRecord,
    RefundState,
    WebhookEvent,
    capture_transaction,
    refund_transaction,
)
from models.providers import Clinic, Practitioner, Provider, TenantRecord
from models.publishing import Leave, LeaveState, LeaveTally
from models.reminders import Fate, Outcome, Reminder
from models.reviews import Rating, Review
from models.rights import RightsRequest
from models.seals import Batch
from models.search import SearchQuery
from models.staff_tasks import StaffTask
from models.tenancy import Domain, TenantSettings
from tests.adapters.mongo import (
    absence_calls,
    deletion_calls,
    erasure_calls,
    export_calls,
    follow_up_calls,
    people,
    review_calls,
    rights_calls,
)
from tests.adapters.mongo.builders import (
    DAY,
    a_capture,
    a_clinic,
    a_command,
    a_confirmation,
    a_message,
    a_notice,
    a_provider,
    a_refund,
    a_refund_entry,
    a_seal,
    a_step,
    a_template,
    an_advance,
    an_entry,
    an_intake,
    minutes,
    new,
    soon,
)
from tests.adapters.mongo.onboarding_calls import an_application, of_the_platform, on_applications, on_practices
from tests.adapters.mongo.people import People, now
from tests.adapters.mongo.visit_calls import Visit, a_visit, of_visits

Call = Callable[[Scope], Awaitable[object]]
WORLD = System("the tests' world")
_VERSIONS = itertools.count(1)
NOTHING = Intake()


@dataclass(frozen=True)
class World:
    """What one tenant, clinic, provider and patient have."""

    clinic: Clinic
    provider: Provider
    people: People
    claimed: PlaceBooking
    seated: PlaceBooking
    appointment: PlaceBooking
    ended: PlaceBooking
    order: str
    refund: RefundRecord
    refund_id: str
    gateway_refund: str
    event: WebhookEvent
    leave: Leave
    application: str
    message: Message
    entry: str
    visit: Visit
    review: Review
    task: StaffTask
    right: RightsRequest
    export: Export
    deletion: Deletion

    @property
    def transaction(self) -> LedgerTransaction:
        return refund_transaction(self.refund, DAY)


async def build(stores: Repositories) -> World:
    """Fill the database through the repositories themselves."""
    clinic = a_clinic(tenant_id=new("ten"))
    provider = a_provider(clinic)
    directory = stores.directory
    await directory.put_tenant(WORLD, TenantRecord(id=clinic.tenant_id, slug=clinic.slug, name="Arogya"))
    await directory.put_clinic(WORLD, clinic)
    await directory.put_provider(WORLD, provider)
    await directory.put_availability(WORLD, provider, Availability())
    owner: dict[str, object] = {
        "tenant_id": clinic.tenant_id,
        "clinic_id": clinic.id,
        "provider_id": provider.id,
        "practitioner_id": provider.practitioner_id,
        "subject_id": new("usr"),
    }
    claimed, appointment, ended = (a_command(60 * number, 30, **owner) for number in range(3))
    seated = a_command(300, 30, **owner, capacity=3)
    for command in (claimed, seated):
        assert await stores.claims.tentative(WORLD, command, an_intake(), soon())
    order, entry = new("order"), a_refund_entry()
    for command in (appointment, ended):
        await stores.appointments.insert(WORLD, a_step(command), None)
        await stores.appointments.record_order(WORLD, command.appointment_id, order + command.appointment_id[-3:], DAY)
    assert (await stores.appointments.advance(WORLD, a_confirmation(appointment))).applied
    assert await stores.appointments.reserve_refund(WORLD, appointment.appointment_id, entry, DAY)
    expired = an_advance(ended, EventType.EXPIRED, AppointmentState.EXPIRED)
    assert (await stores.appointments.advance(WORLD, expired)).applied
    refund = a_refund(
        tenant_id=clinic.tenant_id,
        appointment_id=appointment.appointment_id,
        subject_id=owner["subject_id"],
        gateway_refund_id=new("rfnd"),
    )
    await stores.payments.open_refund(WORLD, refund, "a note", DAY)
    event = WebhookEvent(id=new("evt"), type="refund.processed", raw_sha256="00", created_at=DAY)
    await stores.inbox.store(event)
    noted = an_entry(tenant_id=clinic.tenant_id, subject_id=owner["subject_id"])
    await stores.audit.append([noted])
    await stores.seals.add(WORLD, a_seal(clinic.tenant_id), Batch((noted.id,), b"0" * 32))
    message = a_message(tenant_id=clinic.tenant_id)
    await stores.notifications.keep(WORLD, message, DAY)
    return World(
        clinic=clinic,
        provider=provider,
        people=await people.build(stores, clinic.tenant_id),
        claimed=claimed,
        seated=seated,
        appointment=appointment,
        ended=ended,
        order=order + appointment.appointment_id[-3:],
        refund=refund,
        refund_id=entry.id,
        gateway_refund=refund.gateway_refund_id or "",
        event=event,
        leave=await _a_leave(stores, provider),
        application=await an_application(stores),
        message=message,
        entry=noted.id,
        visit=await a_visit(stores, appointment),
        review=await review_calls.build(stores, ended),
        task=await follow_up_calls.build(stores, appointment),
        right=await rights_calls.build(stores, ended),
        export=await export_calls.build(stores, appointment),
        deletion=await deletion_calls.build(stores, ended),
    )


async def _a_leave(stores: Repositories, provider: Provider) -> Leave:
    """A leave of an hour, its time blocked."""
    leave = Leave(
        id=new("lve"),
        tenant_id=provider.tenant_id,
        clinic_id=provider.clinic_id,
        provider_id=provider.id,
        practitioner_id=provider.practitioner_id,
        start=DAY + minutes(2000),
        end=DAY + minutes(2060),
        body_hash="0" * 64,
        created_at=DAY,
    )
    await stores.leaves.insert(WORLD, leave, "a cold")
    assert await stores.claims.block(WORLD, leave.id, provider, leave.start, leave.end)
    return leave


def on_records(stores: Repositories, world: World) -> dict[str, Call]:
    """Methods on what belongs to a tenant, clinic, provider and patient."""
    appointment = world.appointment.appointment_id
    return {
        **_on_claims(stores, world),
        **_on_appointments(stores, world, appointment),
        **_on_money(stores, world),
        **_on_tenants(stores, world),
        **_on_publications(stores, world),
        **people.on_records(stores, world.people),
        **on_applications(stores, world.application),
        **on_practices(stores, world.clinic, world.provider),
        **_on_messages(stores, world),
        **_on_days(stores, world),
        **of_visits(stores, world.visit),
        **_on_reminders(stores, world),
        **review_calls.on_records(stores, world.review),
        **follow_up_calls.on_records(stores, world.appointment, world.task),
        **rights_calls.on_records(stores, world.right),
        **erasure_calls.on_records(stores, world.clinic.tenant_id, world.people.account),
        **export_calls.on_records(stores, world.export),
        **deletion_calls.on_records(stores, world.deletion),
        "audit.page": lambda scope: _items(stores.audit.page(scope, AuditQuery(action="record.read"), None)),
        **_on_seals(stores, world),
        "audit.looks": lambda scope: _items(stores.audit.looks(scope, world.appointment.subject_id, 5, None)),
        **absence_calls.on_records(stores, world.leave, world.provider, world.appointment),
    }


def _on_reminders(stores: Repositories, world: World) -> dict[str, Call]:
    reminders, command = stores.reminders, world.appointment
    one = Reminder(start=command.start, lead_seconds=60, due_at=command.start - minutes(1))
    told = Outcome(reminder=one, fate=Fate.TOLD, at=DAY)
    return {
        "reminders.planned": lambda scope: reminders.planned(scope, command.appointment_id),
        "reminders.record": lambda scope: reminders.record(scope, command.appointment_id, [told]),
        "reminders.note_attendance": lambda scope: reminders.note_attendance(
            scope, command.appointment_id, command.start, DAY, command.actor
        ),
    }


def _on_publications(stores: Repositories, world: World) -> dict[str, Call]:
    publications, leaves, provider = stores.publications, stores.leaves, world.provider
    another = world.leave.model_copy(update={"id": new("lve")})
    return {
        "publications.find": lambda scope: publications.find(scope, provider.id),
        "publications.set_services": lambda scope: publications.set_services(scope, provider, provider.services, 1),
        "publications.set_availability": lambda scope: publications.set_availability(
            scope, provider, Availability(min_notice_minutes=0), 1
        ),
        "leaves.insert": lambda scope: leaves.insert(scope, another, "ill"),
        "leaves.find": lambda scope: leaves.find(scope, world.leave.id),
        "leaves.page": lambda scope: _items(leaves.page(scope, provider, 5, None)),
        "leaves.advance": lambda scope: leaves.advance(scope, world.leave, LeaveState.TAKEN, LeaveTally()),
    }


def _on_days(stores: Repositories, world: World) -> dict[str, Call]:
    appointments, tokens, provider, appointment = stores.appointments, stores.tokens, world.provider, world.appointment
    start = appointment.start - minutes(600)
    whole = DayQuery(provider.tenant_id, provider.clinic_id, None, start, start + minutes(1440))
    whose = DoctorsTokens(provider.tenant_id, provider.clinic_id, provider.id, DAY.date())
    return {
        "appointments.of_day": lambda scope: appointments.of_day(scope, whole),
        "appointments.of_day (one doctor's)": lambda scope: appointments.of_day(
            scope, whole._replace(provider_id=provider.id)
        ),
        "appointments.intakes": lambda scope: appointments.intakes(scope, [appointment.appointment_id]),
        "tokens.give": lambda scope: tokens.give(scope, whose, [new("apt")]),
        "tokens.of_day": lambda scope: tokens.of_day(scope, provider.clinic_id, [provider.id], DAY.date()),
    }


def _on_seals(stores: Repositories, world: World) -> dict[str, Call]:
    seals, tenant, until = stores.seals, world.clinic.tenant_id, 2**63
    return {
        "seals.tenants": seals.tenants,
        "seals.last": lambda scope: seals.last(scope, tenant),
        "seals.unsealed": lambda scope: seals.unsealed(scope, tenant, 0, until, 5),
        "seals.page": lambda scope: seals.page(scope, tenant, 0, 5),
        "seals.ids": lambda scope: seals.ids(scope, tenant, 1),
        "seals.between": lambda scope: seals.between(scope, tenant, 0, until),
        "seals.unstamped": lambda scope: seals.unstamped(scope, tenant),
        "seals.entry": lambda scope: seals.entry(scope, world.entry),
        "seals.covering": lambda scope: seals.covering(scope, tenant, 1),
    }


def _on_messages(stores: Repositories, world: World) -> dict[str, Call]:
    notifications, message = stores.notifications, world.message
    notice = a_notice(tenant_id=world.clinic.tenant_id)
    sent = Word(state=MessageState.SENT, provider_id=new("SM"))
    return {
        "notifications.keep": lambda scope: notifications.keep(
            scope, message.model_copy(update={"id": new("msg")}), DAY
        ),
        "notifications.state": lambda scope: notifications.state(scope, message.id),
        "notifications.standing": lambda scope: notifications.standing(scope, message.id),
        "notifications.begin": lambda scope: notifications.begin(scope, message.id, DAY),
        "notifications.not_taken": lambda scope: notifications.not_taken(scope, message.id, DAY),
        "notifications.settle": lambda scope: notifications.settle(scope, message.id, sent, DAY),
        "notifications.of_provider": lambda scope: notifications.of_provider(scope, f"SM{message.id}"),
        "notices.confirmed_at": lambda scope: stores.notices.confirmed_at(scope, notice.appointment_id),
        "notices.open": lambda scope: stores.notices.open(scope, notice, DAY),
        "notices.find": lambda scope: stores.notices.find(scope, notice.id),
        "notices.of_appointment": lambda scope: stores.notices.of_appointment(scope, notice.appointment_id, None),
        "notifications.tries": lambda scope: notifications.tries(scope, [notice.id]),
        "templates.newest": lambda scope: stores.templates.newest(
            scope, world.clinic.tenant_id, Template.APPOINTMENT_CONFIRMED, "en"
        ),
        "templates.all_newest": lambda scope: stores.templates.all_newest(scope, world.clinic.tenant_id),
        "templates.add": lambda scope: stores.templates.add(
            scope, a_template(tenant_id=world.clinic.tenant_id, version=next(_VERSIONS))
        ),
        "notices.close": lambda scope: stores.notices.close(
            scope, notice.id, Ending(state=NoticeState.SKIPPED, reason="expired"), DAY
        ),
    }


def _on_claims(stores: Repositories, world: World) -> dict[str, Call]:
    claims, claimed, seated = stores.claims, world.claimed, world.seated
    fresh = world.claimed.model_copy(update={"appointment_id": new("apt"), "practitioner_id": new("prc")})
    sitting = seated.model_copy(update={"appointment_id": new("apt")})
    later, another_day = _at(claimed, 700), _at(seated, 1500)
    alone = _at(sitting, 760).model_copy(update={"capacity": None})
    return {
        "claims.tentative": lambda scope: claims.tentative(scope, fresh, an_intake(), soon()),
        "claims.tentative (a seat)": lambda scope: claims.tentative(scope, sitting, an_intake(), soon()),
        "claims.hold": lambda scope: claims.hold(scope, a_step(claimed)),
        "claims.hold (a seat)": lambda scope: claims.hold(scope, a_step(seated)),
        "claims.book": lambda scope: claims.book(scope, claimed.claim),
        "claims.book (a seat)": lambda scope: claims.book(scope, seated.claim),
        "claims.block": lambda scope: claims.block(
            scope, new("lve"), world.provider, DAY + minutes(600), DAY + minutes(660)
        ),
        "claims.blocks": lambda scope: claims.blocks(scope, world.leave.id),
        "claims.unblock": lambda scope: claims.unblock(scope, world.leave.id, world.provider),
        "claims.move": lambda scope: claims.move(scope, claimed.claim, later),
        "claims.move (a seat)": lambda scope: claims.move(scope, seated.claim, another_day),
        "claims.move (off a seat)": lambda scope: claims.move(scope, seated.claim, alone),
        "claims.drop_tentative": lambda scope: claims.drop_tentative(scope, claimed.claim),
        "claims.drop_tentative (a seat)": lambda scope: claims.drop_tentative(scope, seated.claim),
        "claims.release": lambda scope: claims.release(scope, claimed.claim),
        "claims.release (a seat)": lambda scope: claims.release(scope, seated.claim),
    }


def _at(command: PlaceBooking, minute: int) -> PlaceBooking:
    """The same booking, so many minutes after the day has begun."""
    start = DAY + minutes(minute)
    times = {"start": start, "end": start + (command.end - command.start)}
    claimed = {"claim_start": start, "claim_end": start + (command.claim_end - command.claim_start)}
    return command.model_copy(update={**times, **claimed})


def _on_appointments(stores: Repositories, world: World, appointment: str) -> dict[str, Call]:
    appointments, far = stores.appointments, DAY + minutes(500_000)
    fresh = world.appointment.model_copy(update={"appointment_id": new("apt")})
    cancelled = an_advance(world.appointment, EventType.CANCELLED, AppointmentState.CANCELLED)
    return {
        "appointments.insert": lambda scope: appointments.insert(scope, a_step(fresh), None),
        "appointments.record_order": lambda scope: appointments.record_order(scope, appointment, world.order, DAY),
        "appointments.reserve_refund": lambda scope: appointments.reserve_refund(
            scope, appointment, a_refund_entry(), DAY
        ),
        "appointments.settle_refund": lambda scope: appointments.settle_refund(
            scope, appointment, world.refund_id, RefundState.PROCESSED, DAY
        ),
        "appointments.note_cancellation": lambda scope: appointments.note_cancellation(scope, appointment, "no time"),
        "appointments.note_override": lambda scope: appointments.note_override(scope, appointment, "an emergency"),
        "appointments.advance": lambda scope: appointments.advance(scope, cancelled),
        "appointments.find": lambda scope: appointments.find(scope, appointment),
        "appointments.by_order": lambda scope: appointments.by_order(scope, world.order),
        "appointments.page": lambda scope: _items(appointments.page(scope, AppointmentQuery(start_to=far), None)),
        "appointments.upcoming": lambda scope: appointments.upcoming(scope, world.provider, DAY, far),
        "appointments.unsettled": lambda scope: appointments.unsettled(scope, DAY - minutes(500_000), far, "", 10),
        "appointments.overdue": lambda scope: appointments.overdue(scope, far, "", 10),
    }


async def _items(page: Awaitable[object]) -> object:
    return getattr(await page, "items", None)


def _on_money(stores: Repositories, world: World) -> dict[str, Call]:
    payments, refund, far = stores.payments, world.refund, DAY + minutes(500_000)
    capture = a_capture(tenant_id=refund.tenant_id, appointment_id=refund.appointment_id, subject_id=refund.subject_id)
    another = refund.model_copy(update={"id": new("rfd"), "gateway_refund_id": None})
    return {
        "payments.record_capture": lambda scope: payments.record_capture(
            scope, capture, capture_transaction(capture, DAY)
        ),
        "payments.open_refund": lambda scope: payments.open_refund(scope, another, "words", DAY),
        "payments.refund": lambda scope: payments.refund(scope, refund.id),
        "payments.refunds_of": lambda scope: payments.refunds_of(scope, refund.appointment_id),
        "payments.open_refunds": lambda scope: payments.open_refunds(scope, far, "", 10),
        "payments.by_gateway_refund": lambda scope: payments.by_gateway_refund(scope, world.gateway_refund),
        "payments.settle_refund": lambda scope: payments.settle_refund(
            scope, refund.id, RefundState.PROCESSED, None, world.transaction, DAY
        ),
    }


def _on_tenants(stores: Repositories, world: World) -> dict[str, Call]:
    tenancy, tenant = stores.tenancy, world.clinic.tenant_id

    async def change(scope: Scope) -> object:
        version = (await tenancy.settings(scope, tenant)).version
        return await tenancy.replace_settings(
            scope, tenant, TenantSettings(horizon_days=9), replaces=version, entry=an_entry(tenant_id=tenant)
        )

    return {
        "tenancy.settings": lambda scope: tenancy.settings(scope, tenant),
        "tenancy.replace_settings": change,
        "tenancy.settings_versions": lambda scope: tenancy.settings_versions(scope, tenant, 100, 10),
    }


def of_everybody(stores: Repositories, world: World) -> dict[str, Call]:
    """Methods on what anybody may read, on the directory, and on what serves all tenants."""
    directory, provider, clinic = stores.directory, world.provider, world.clinic
    person = Practitioner(id=provider.practitioner_id, name="Dr. X", gender="other", registration=provider.registration)
    tenant = TenantRecord(id=clinic.tenant_id, slug=clinic.slug, name="Arogya")

    async def drain(_: Scope) -> None:
        await stores.appointments.drained(await stores.appointments.events(5))

    return {
        "outdated.tenants": stores.outdated.tenants,
        "claims.unpaid_holds": lambda _: stores.claims.unpaid_holds(Subject(world.claimed.subject_id)),
        "claims.busy": lambda _: stores.claims.busy(Public(), provider.practitioner_id, DAY, DAY + minutes(600)),
        "appointments.events": lambda _: stores.appointments.events(5),
        "appointments.drained": drain,
        "directory.offering": lambda scope: directory.offering(scope, provider.id),
        "directory.walk": lambda _: directory.walk(WORLD, "", 5),
        "search.page": lambda scope: _items(stores.search.page(scope, SearchQuery(q="ana ra"), 2, None)),
        "search.facets": lambda scope: stores.search.facets(scope, SearchQuery(city=clinic.city)),
        "search.put_profile": lambda _: stores.search.put_profile(WORLD, provider, clinic),
        "search.put_days": lambda _: stores.search.put_days(WORLD, provider.id, [], soon()),
        "search.set_live": lambda _: stores.search.set_live(WORLD, clinic.tenant_id, live=True),
        "search.remove": lambda _: stores.search.remove(WORLD, new("prv")),
        "search.find": lambda scope: stores.search.find(scope, provider.id),
        "search.put_rating": lambda _: stores.search.put_rating(WORLD, provider.id, Rating(count=1, total=4)),
        "search.look_again": lambda _: stores.search.look_again(WORLD, provider.id),
        "search.due": lambda _: stores.search.due(WORLD, soon(), 5),
        "search.of_practitioner": lambda _: stores.search.of_practitioner(WORLD, provider.practitioner_id),
        "directory.profiles": lambda scope: directory.profiles(scope, [provider.id]),
        "directory.clinics": lambda scope: directory.clinics(scope, [clinic.id]),
        "directory.clinic_by_slug": lambda scope: directory.clinic_by_slug(scope, clinic.slug),
        "directory.put_tenant": lambda _: directory.put_tenant(WORLD, tenant),
        "directory.put_clinic": lambda _: directory.put_clinic(WORLD, clinic),
        "directory.put_practitioner": lambda _: directory.put_practitioner(WORLD, person),
        "directory.put_provider": lambda _: directory.put_provider(WORLD, provider),
        "directory.put_availability": lambda _: directory.put_availability(WORLD, provider, Availability()),
        "tenancy.domain": lambda scope: stores.tenancy.domain(scope, f"{clinic.slug}.example"),
        "tenancy.put_domain": lambda _: stores.tenancy.put_domain(
            WORLD, Domain(host=f"{clinic.slug}.example", tenant_id=clinic.tenant_id, clinic_id=clinic.id), an_entry()
        ),
        "tenancy.entries": lambda _: stores.tenancy.entries(5),
        "tenancy.carried": lambda _: stores.tenancy.carried([an_entry(tenant_id=clinic.tenant_id)]),
        "inbox.store": lambda _: stores.inbox.store(world.event),
        "inbox.waiting": lambda _: stores.inbox.waiting(soon(), 5),
        "inbox.passed_on": lambda _: stores.inbox.passed_on(world.event.id),
        "audit.append": lambda _: stores.audit.append([an_entry()]),
        "stops.stopped": lambda _: stores.stops.stopped("+1", "+9198"),
        "stops.note": lambda _: stores.stops.note("+1", "+9198", stopped=True, reply_id=new("SM"), at=DAY),
        "seals.add": lambda _: stores.seals.add(WORLD, a_seal(new("ten")), Batch(("aud_1",), b"0" * 32)),
        "seals.settled": lambda _: stores.seals.settled(WORLD, 20),
        "seals.count": lambda _: stores.seals.count(WORLD, new("ten"), 0),
        "leases.acquire": lambda _: stores.leases.acquire("tests", "me", 60),
        "leases.release": lambda _: stores.leases.release("tests", "me"),
        "upkeep.unfinished_leaves": lambda scope: stores.upkeep.unfinished_leaves(scope, soon(), 5),
        "upkeep.unsent": lambda scope: stores.upkeep.unsent(scope, soon(), 5),
        "upkeep.unheard_reviews": lambda scope: stores.upkeep.unheard_reviews(scope, soon(), 5),
        "upkeep.unheard_requests": lambda scope: stores.upkeep.unheard_requests(scope, soon(), 5),
        "upkeep.heard": lambda scope: stores.upkeep.heard(scope, review_calls.unheard(world.review)),
        "upkeep.heard (a request)": lambda scope: stores.upkeep.heard(scope, rights_calls.unheard(world.right)),
        "upkeep.forget_words": lambda scope: stores.upkeep.forget_words(scope, DAY),
        "upkeep.forget_strangers": lambda scope: stores.upkeep.forget_strangers(scope, now() + 2 * OTP_KEPT, 5),
        **people.of_everybody(stores),
        **deletion_calls.of_everybody(stores),
        **review_calls.of_everybody(stores, provider.id),
        **of_the_platform(stores, clinic, provider),
    }
