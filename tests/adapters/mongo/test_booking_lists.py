"""Appointments by the page, the sweeps' lists and the relay's outbox."""

from __future__ import annotations

import asyncio
from datetime import datetime

import pytest

from adapters.mongo.repositories import Repositories
from models.booking import AppointmentQuery, AppointmentState, EventType, PlaceBooking, WaitingFor
from models.cursor import encode_cursor
from models.identity import Clinics, OwnProvider, Scope, Subject, System, Tenant
from models.payments import PaymentState
from tests.adapters.mongo.builders import (
    DAY,
    a_command,
    a_confirmation,
    a_step,
    an_advance,
    an_intake,
    minutes,
    new,
    soon,
)

State = AppointmentState
SWEEP = System("tests")


async def inserted(stores: Repositories, at: float = 0, **changes: object) -> PlaceBooking:
    command = a_command(at, 30, **changes)
    await stores.appointments.insert(Tenant(command.tenant_id), a_step(command), None)
    return command


async def pages(stores: Repositories, scope: Scope, query: AppointmentQuery) -> list[list[str]]:
    """The ids on each page."""
    result: list[list[str]] = []
    cursor: str | None = None
    while True:
        page = await stores.appointments.page(scope, query, cursor)
        result.append([one.id for one in page.items])
        cursor = page.next_cursor
        if cursor is None:
            return result


async def test_each_scope_pages_through_its_own_newest_first(stores: Repositories) -> None:
    tenant, patient = new("ten"), new("usr")
    whose = [
        {"tenant_id": tenant, "clinic_id": clinic, "provider_id": provider, "subject_id": subject}
        for clinic in ("cli_1", "cli_2")
        for provider in ("prv_1", "prv_2")
        for subject in (patient, new("usr"))
    ]
    made = [await inserted(stores, 30 * (number // 2), **owner) for number, owner in enumerate(whose)]
    await inserted(stores, subject_id=new("usr"), tenant_id=new("ten"))
    made.sort(key=lambda one: (one.start, one.appointment_id), reverse=True)

    def ids(**owner: str) -> list[str]:
        return [
            one.appointment_id for one in made if all(getattr(one, field) == value for field, value in owner.items())
        ]

    scopes: list[tuple[Scope, list[str]]] = [
        (Tenant(tenant), ids()),
        (Clinics(tenant, frozenset({"cli_1"})), ids(clinic_id="cli_1")),
        (Clinics(tenant, frozenset({"cli_1", "cli_2"})), ids()),
        (Clinics(tenant, frozenset()), []),
        (OwnProvider(tenant, "prv_2"), ids(provider_id="prv_2")),
        (Subject(patient), ids(subject_id=patient)),
    ]
    for scope, expected in scopes:
        for limit in (1, 2, 3, 100):
            listed = await pages(stores, scope, AppointmentQuery(limit=limit))
            assert [one for page in listed for one in page] == expected
            assert all(len(page) == limit for page in listed[:-1])
    both = AppointmentQuery(provider_id="prv_1", subject_id=patient)
    assert await pages(stores, Tenant(tenant), both) == [ids(provider_id="prv_1", subject_id=patient)]
    foreign = AppointmentQuery(provider_id="prv_1")
    assert await pages(stores, OwnProvider(tenant, "prv_2"), foreign) == [[]], "a filter never widens the scope"


async def test_filters_narrow_the_list(stores: Repositories) -> None:
    tenant = Tenant(new("ten"))
    made = [await inserted(stores, 60 * hour, tenant_id=tenant.tenant_id) for hour in range(5)]
    assert (await stores.appointments.advance(tenant, a_confirmation(made[2]))).applied
    ids = [one.appointment_id for one in made]
    assert await pages(stores, tenant, AppointmentQuery(state=State.CONFIRMED)) == [[ids[2]]]
    window = AppointmentQuery(start_from=DAY + minutes(60), start_to=DAY + minutes(240), limit=2)
    assert await pages(stores, tenant, window) == [[ids[3], ids[2]], [ids[1]]]


@pytest.mark.parametrize("cursor", ["", "nonsense", encode_cursor("name", "id"), encode_cursor(DAY)])
async def test_a_foreign_cursor_is_refused(stores: Repositories, cursor: str) -> None:
    with pytest.raises(ValueError, match="cursor"):
        await stores.appointments.page(Tenant("ten_a"), AppointmentQuery(), cursor)


async def test_a_page_opens_what_can_be_opened(stores: Repositories) -> None:
    tenant = Tenant(new("ten"))
    commands = [a_command(60 * number, tenant_id=tenant.tenant_id, practitioner_id=new("prc")) for number in range(3)]
    for number, command in enumerate(commands[:2]):
        assert await stores.claims.tentative(tenant, command, an_intake(f"words {number}"), soon())
        _, sealed = await stores.claims.hold(tenant, a_step(command))
        await stores.appointments.insert(tenant, a_step(command), sealed)
    await stores.appointments.insert(tenant, a_step(commands[2]), None)
    page = await stores.appointments.page(tenant, AppointmentQuery(), None)
    assert [one.intake and one.intake.reason for one in page.items] == [None, "words 1", "words 0"]


# The sweeps' lists


async def closed(stores: Repositories, at: datetime, order: str | None, **changes: object) -> PlaceBooking:
    command = await inserted(stores)
    if order is not None:
        await stores.appointments.record_order(SWEEP, command.appointment_id, order, at)
    step = an_advance(command, EventType.EXPIRED, State.EXPIRED, at=at, **changes)
    assert (await stores.appointments.advance(SWEEP, step)).applied
    return command


async def test_unsettled_lists_what_ended_with_an_order_and_without_money(stores: Repositories) -> None:
    since, until = DAY + minutes(10_000), DAY + minutes(20_000)
    wanted = [await closed(stores, since + minutes(number // 2), new("order")) for number in range(6)]
    wanted.append(await closed(stores, since + minutes(9), new("order"), payment_state=PaymentState.VOIDED))
    await closed(stores, since, None)
    await closed(stores, until, new("order"))
    await closed(stores, since - minutes(1), new("order"))
    money = {"payment_state": PaymentState.CAPTURED, "captured_added": 1, "payment_id": "pay_1"}
    await closed(stores, since, new("order"), **money)
    wanted.sort(key=lambda one: one.appointment_id)
    found: list[str] = []
    after = ""
    while batch := await stores.appointments.unsettled(SWEEP, since, until, after, 2):
        assert len(batch) <= 2
        after = batch[-1].id
        found += [one.id for one in batch]
    assert sorted(found) == [one.appointment_id for one in wanted]


async def test_overdue_lists_what_should_have_happened(stores: Repositories) -> None:
    tenant = Tenant(new("ten"))
    now = DAY - minutes(100_000)
    made = []
    for lateness in (5, 4, 3, -1):
        command = a_command(tenant_id=tenant.tenant_id)
        awaited = WaitingFor(event="payment", until=now - minutes(lateness))
        await stores.appointments.insert(tenant, a_step(command, waiting_for=awaited), None)
        made.append(command.appointment_id)
    ended = await inserted(stores, tenant_id=tenant.tenant_id)
    assert (await stores.appointments.advance(tenant, an_advance(ended, EventType.EXPIRED, State.EXPIRED))).applied
    first = await stores.appointments.overdue(tenant, now, "", 2)
    rest = await stores.appointments.overdue(tenant, now, first[-1].id, 2)
    assert [one.id for one in [*first, *rest]] == sorted(made[:3])


# The outbox


async def test_events_come_oldest_first_and_go_when_they_are_drained(stores: Repositories) -> None:
    await stores.appointments.drained(await stores.appointments.events(10_000))
    assert await stores.appointments.events(10) == []
    early, late = a_command(), a_command()
    for command, at in ((late, DAY), (early, DAY - minutes(60))):
        await stores.appointments.insert(SWEEP, a_step(command, at=at), None)
    step = a_confirmation(early, at=DAY + minutes(60))
    assert (await stores.appointments.advance(SWEEP, step)).applied
    events = await stores.appointments.events(10)
    assert [(one.appointment_id, one.version) for one in events] == [
        (early.appointment_id, 1),
        (late.appointment_id, 1),
        (early.appointment_id, 2),
    ]
    last = events[-1]
    assert (last.id, last.type, last.actor, last.at) == (step.event_id, step.event, step.actor, step.at)
    assert (last.tenant_id, last.subject_id) == (early.tenant_id, early.subject_id)
    assert (last.state, last.payment_state) == (State.CONFIRMED, PaymentState.CAPTURED)
    assert await stores.appointments.events(2) == events[:2]
    for _ in range(2):
        await stores.appointments.drained(events[:2])
    assert await stores.appointments.events(10) == [last]
    await stores.appointments.drained([])
    await stores.appointments.drained([last])
    assert await stores.appointments.events(10) == []
    appointment = await stores.appointments.find(SWEEP, early.appointment_id)
    assert appointment is not None
    assert (appointment.version, len(appointment.history)) == (2, 2), "draining is no step of its life"


async def test_steps_during_the_draining_are_not_lost(stores: Repositories) -> None:
    commands = [await inserted(stores) for _ in range(20)]
    seen: list[str] = []

    async def drain() -> None:
        while events := await stores.appointments.events(7):
            seen.extend(one.id for one in events)
            await stores.appointments.drained(events)

    steps = [a_confirmation(command) for command in commands]
    await asyncio.gather(drain(), *(stores.appointments.advance(SWEEP, step) for step in steps))
    await drain()
    assert {step.event_id for step in steps} <= set(seen)
    assert len(seen) == len(set(seen)), "one relay sees each once"
