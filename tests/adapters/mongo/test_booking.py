"""Appointments: each step, its repetition and its refusal."""

from __future__ import annotations

import asyncio

import pytest

from adapters.mongo.repositories import Repositories
from models.booking import (
    Actor,
    ActorKind,
    Appointment,
    AppointmentState,
    EventType,
    Intake,
    PatientDetails,
    PlaceBooking,
    WaitingFor,
)
from models.errors import Code, VisitNowError
from models.identity import Subject, Tenant
from models.payments import PaymentState, RefundState
from models.providers import PaymentMode
from tests.adapters.mongo.builders import (
    DAY,
    a_command,
    a_confirmation,
    a_refund_entry,
    a_service,
    a_step,
    an_advance,
    minutes,
    new,
    soon,
)

TENANT = Tenant("ten_a")
AT = DAY - minutes(60)
State = AppointmentState


async def inserted(stores: Repositories, **changes: object) -> PlaceBooking:
    command = a_command(0, 30, **changes)
    await stores.appointments.insert(TENANT, a_step(command), None)
    return command


async def confirmed(stores: Repositories, **changes: object) -> PlaceBooking:
    command = await inserted(stores, **changes)
    assert (await stores.appointments.advance(TENANT, a_confirmation(command))).applied
    return command


async def found(stores: Repositories, command: PlaceBooking) -> Appointment:
    appointment = await stores.appointments.find(TENANT, command.appointment_id)
    assert appointment is not None
    return appointment


async def outbox(stores: Repositories, command: PlaceBooking) -> list[tuple[str, int, str, str]]:
    document = await stores.database["appointments"].find_one({"_id": command.appointment_id})
    assert document is not None
    assert isinstance(document["outbox"], list)
    return [(one["type"], one["version"], one["state"], one["payment_state"]) for one in document["outbox"]]


# insert and find


async def test_patients_who_look_at_the_same_time_see_their_own_only(stores: Repositories) -> None:
    booked = [await inserted(stores) for _ in range(12)]
    owners = [Subject(one.subject_id) for one in booked]
    seen = await asyncio.gather(
        *(stores.appointments.find(owner, one.appointment_id) for owner in owners for one in booked),
        *(stores.appointments.find(owner, new("apt")) for owner in owners),
        *(stores.appointments.find(owner, booked[0].appointment_id, open_sealed=False) for owner in owners),
    )
    own = [booked[number // 12].appointment_id if number % 13 == 0 else None for number in range(144)]
    ids = [None if one is None else one.id for one in seen]
    assert ids == [*own, *[None] * 12, booked[0].appointment_id, *[None] * 11]


async def test_what_was_inserted_is_found(stores: Repositories) -> None:
    command = a_command(length=45, capacity=4, has_intake=True)
    born = "1949-08-15"
    patient = PatientDetails.model_validate({"name": "Savitri Devi", "date_of_birth": born, "relation": "mother"})
    intake = Intake(patient=patient, reason="knee")
    assert await stores.claims.tentative(TENANT, command, intake, soon())
    _, sealed = await stores.claims.hold(TENANT, a_step(command))
    step = a_step(command)
    await stores.appointments.insert(TENANT, step, sealed)
    appointment = await found(stores, command)
    same = {"tenant_id", "clinic_id", "provider_id", "practitioner_id", "subject_id", "service", "start", "end"}
    assert appointment.model_dump(include=same) == command.model_dump(include=same)
    assert appointment.claim == command.claim
    assert (appointment.policy, appointment.timezone) == (command.policy, "Asia/Kolkata")
    assert appointment.closes_at == command.closes_at
    assert appointment.intake == intake
    assert (appointment.state, appointment.payment_state) == (State.HELD, PaymentState.PENDING)
    assert (appointment.version, appointment.captured, appointment.refunds) == (1, 0, ())
    assert appointment.created_at == step.at.replace(microsecond=123_000), "to the millisecond"
    assert [(one.event, one.by) for one in appointment.history] == [(EventType.HELD, ActorKind.PATIENT)]
    closed = await stores.appointments.find(TENANT, command.appointment_id, open_sealed=False)
    assert closed is not None
    assert (closed.intake, closed.intake_erased) == (None, False)


async def test_inserting_again_changes_nothing_and_another_body_is_refused(stores: Repositories) -> None:
    command = await confirmed(stores)
    before = await found(stores, command)
    await stores.appointments.insert(TENANT, a_step(command), None)
    assert await found(stores, command) == before
    other = command.model_copy(update={"body_hash": "other"})
    with pytest.raises(VisitNowError) as refused:
        await stores.appointments.insert(TENANT, a_step(other), None)
    assert refused.value.code is Code.IDEMPOTENCY_KEY_REUSED


@pytest.mark.parametrize(
    ("payment", "fee", "expected"),
    [(PaymentMode.FREE, 0, "not_required"), (PaymentMode.AT_CLINIC, 30_000, "due_at_clinic")],
)
async def test_without_online_payment_it_begins_confirmed(
    stores: Repositories, payment: PaymentMode, fee: int, expected: str
) -> None:
    command = await inserted(stores, service=a_service(fee, payment))
    appointment = await found(stores, command)
    assert (appointment.state, appointment.payment_state) == (State.CONFIRMED, expected)
    assert await outbox(stores, command) == [("appointment.confirmed", 1, "confirmed", expected)]


async def test_what_is_not_there_is_not_found(stores: Repositories) -> None:
    assert await stores.appointments.find(TENANT, new("apt")) is None
    assert await stores.appointments.by_order(TENANT, new("order")) is None
    steps = (
        stores.appointments.advance(TENANT, a_confirmation(a_command())),
        stores.appointments.record_order(TENANT, new("apt"), "order_1", AT),
        stores.appointments.reserve_refund(TENANT, new("apt"), a_refund_entry(), AT),
        stores.appointments.settle_refund(TENANT, new("apt"), "rfd_1", RefundState.PROCESSED, AT),
        stores.appointments.note_cancellation(TENANT, new("apt"), "no time"),
    )
    for step in steps:
        with pytest.raises(VisitNowError) as refused:
            await step
        assert refused.value.code is Code.NOT_FOUND


# record_order


async def test_an_order_is_noted_once(stores: Repositories) -> None:
    command = await inserted(stores)
    order = new("order")
    await stores.appointments.record_order(TENANT, command.appointment_id, order, AT)
    await stores.appointments.record_order(TENANT, command.appointment_id, order, AT)
    appointment = await found(stores, command)
    assert (appointment.order_id, appointment.version, len(appointment.history)) == (order, 2, 2)
    assert await outbox(stores, command) == [
        ("appointment.held", 1, "held", "pending"),
        ("appointment.order_ready", 2, "held", "pending"),
    ]
    with pytest.raises(VisitNowError) as refused:
        await stores.appointments.record_order(TENANT, command.appointment_id, new("order"), AT)
    assert refused.value.code is Code.STATE_CONFLICT
    by_order = await stores.appointments.by_order(TENANT, order)
    assert by_order is not None
    assert by_order.id == command.appointment_id


# advance


async def test_a_step_changes_everything_at_once_and_only_once(stores: Repositories) -> None:
    command = await inserted(stores)
    step = a_confirmation(command)
    first = await stores.appointments.advance(TENANT, step)
    assert (first.applied, first.state, first.payment_state) == (True, State.CONFIRMED, PaymentState.CAPTURED)
    appointment = await found(stores, command)
    assert (appointment.payment_id, appointment.captured) == (step.payment_id, 50_000)
    assert (appointment.waiting_for, appointment.version) == (step.waiting_for, 2)
    assert appointment.updated_at == step.at
    assert appointment.history[-1].event is EventType.CONFIRMED
    assert await stores.appointments.advance(TENANT, step) == first
    assert await found(stores, command) == appointment


async def test_a_step_from_another_state_is_a_conflict_that_changes_nothing(stores: Repositories) -> None:
    command = await confirmed(stores)
    before = await found(stores, command)
    for to, sources in (
        (State.EXPIRED, frozenset({State.HELD})),
        (State.EXPIRED, frozenset(State)),
        (State.COMPLETED, frozenset(State)),
        (State.CONFIRMED, frozenset(State)),
    ):
        answer = await stores.appointments.advance(TENANT, an_advance(command, EventType.EXPIRED, to, sources=sources))
        assert (answer.applied, answer.state) == (False, State.CONFIRMED)
    assert await found(stores, command) == before


async def test_a_payment_state_moves_only_along_its_table(stores: Repositories) -> None:
    command = await confirmed(stores)
    for state in (PaymentState.VOIDED, PaymentState.PENDING, PaymentState.PAID_AT_CLINIC):
        step = an_advance(command, EventType.PAYMENT_VOIDED, State.CANCELLED, payment_state=state)
        answer = await stores.appointments.advance(TENANT, step)
        assert (answer.applied, answer.payment_state) == (False, PaymentState.CAPTURED)
    assert (await found(stores, command)).state is State.CONFIRMED


async def test_an_authorization_that_lapsed_may_still_be_captured_by_the_bank(stores: Repositories) -> None:
    command = await inserted(stores)
    voided = an_advance(command, EventType.EXPIRED, State.EXPIRED, payment_state=PaymentState.VOIDED)
    assert (await stores.appointments.advance(TENANT, voided)).applied
    late = an_advance(
        command,
        EventType.PAYMENT_LATE,
        payment_state=PaymentState.CAPTURED,
        payment_id="pay_late",
        captured_added=50_000,
    )
    answer = await stores.appointments.advance(TENANT, late)
    assert (answer.applied, answer.state, answer.payment_state) == (True, State.EXPIRED, PaymentState.CAPTURED)
    assert (await found(stores, command)).captured == 50_000


async def test_money_that_comes_twice_adds_up_and_leaves_the_first_payment_named(stores: Repositories) -> None:
    command = await confirmed(stores)
    first = (await found(stores, command)).payment_id
    entry = a_refund_entry(50_000)
    assert await stores.appointments.reserve_refund(TENANT, command.appointment_id, entry, AT)
    assert (await found(stores, command)).payment_state is PaymentState.REFUNDED
    stray = an_advance(
        command, EventType.PAYMENT_LATE, payment_state=PaymentState.CAPTURED, payment_id="pay_2", captured_added=50_000
    )
    answer = await stores.appointments.advance(TENANT, stray)
    assert (answer.applied, answer.payment_state) == (True, PaymentState.PARTIALLY_REFUNDED)
    appointment = await found(stores, command)
    assert (appointment.captured, appointment.payment_id) == (100_000, first)


async def test_late_money_reported_many_times_is_counted_once(stores: Repositories) -> None:
    command = await confirmed(stores)
    stray = an_advance(
        command, EventType.PAYMENT_LATE, payment_state=PaymentState.CAPTURED, payment_id="pay_2", captured_added=50_000
    )
    answers = await asyncio.gather(*(stores.appointments.advance(TENANT, stray) for _ in range(10)))
    assert all(answer.applied for answer in answers)
    assert (await found(stores, command)).captured == 100_000


async def test_without_an_awaited_event_none_is_awaited_any_more(stores: Repositories) -> None:
    command = await confirmed(stores)
    closed = an_advance(command, EventType.CLOSED)
    assert (await stores.appointments.advance(TENANT, closed)).applied
    assert (await found(stores, command)).waiting_for is None
    awaited = WaitingFor(event="visit", until=DAY)
    again = an_advance(command, EventType.CLOSED, waiting_for=awaited)
    assert (await stores.appointments.advance(TENANT, again)).applied
    assert (await found(stores, command)).waiting_for == awaited


async def test_of_many_who_end_it_one_does(stores: Repositories) -> None:
    command = await inserted(stores)
    steps = [
        an_advance(command, EventType.CANCELLED, State.CANCELLED),
        an_advance(command, EventType.EXPIRED, State.EXPIRED),
        a_confirmation(command),
    ] * 10
    unique = [step.model_copy(update={"event_id": new("evt")}) for step in steps]
    answers = await asyncio.gather(*(stores.appointments.advance(TENANT, step) for step in unique))
    # A confirmed one may still be cancelled; nothing comes after an end.
    appointment = await found(stores, command)
    assert sum(answer.applied for answer in answers) == appointment.version - 1 <= 2
    assert len(await outbox(stores, command)) == appointment.version


async def test_the_same_step_many_times_at_once_happens_once(stores: Repositories) -> None:
    command = await inserted(stores)
    step = a_confirmation(command)
    answers = await asyncio.gather(*(stores.appointments.advance(TENANT, step) for _ in range(30)))
    assert all(answer.applied for answer in answers)
    assert (await found(stores, command)).captured == 50_000


async def test_text_that_looks_like_an_expression_stays_text(stores: Repositories) -> None:
    command = await inserted(stores)
    awaited = WaitingFor(event="$state", until=DAY)
    step = an_advance(command, EventType.CLOSED, waiting_for=awaited, actor=Actor(kind=ActorKind.CLINIC, id="usr_1"))
    assert (await stores.appointments.advance(TENANT, step)).applied
    appointment = await found(stores, command)
    assert appointment.waiting_for == awaited
    assert appointment.history[-1].by is ActorKind.CLINIC


# refunds


async def test_refunds_never_exceed_what_was_captured(stores: Repositories) -> None:
    command = await confirmed(stores)
    entries = [a_refund_entry(7_000) for _ in range(20)]
    done = await asyncio.gather(
        *(stores.appointments.reserve_refund(TENANT, command.appointment_id, entry, AT) for entry in entries * 3)
    )
    assert sum(done[:20]) == 7
    assert done[:20] == done[20:40] == done[40:], "each answer again on a retry"
    appointment = await found(stores, command)
    assert (appointment.refund_reserved, len(appointment.refunds)) == (49_000, 7)
    assert appointment.payment_state is PaymentState.PARTIALLY_REFUNDED
    rest = a_refund_entry(1_000)
    assert await stores.appointments.reserve_refund(TENANT, command.appointment_id, rest, AT)
    assert (await found(stores, command)).payment_state is PaymentState.REFUNDED
    for amount in (1, 0, -5_000):
        entry = a_refund_entry(amount)
        assert not await stores.appointments.reserve_refund(TENANT, command.appointment_id, entry, AT)


async def test_nothing_is_promised_before_money_came(stores: Repositories) -> None:
    command = await inserted(stores)
    assert not await stores.appointments.reserve_refund(TENANT, command.appointment_id, a_refund_entry(1), AT)


async def test_a_promise_tells_who_gave_it_and_keeps_no_note(stores: Repositories) -> None:
    command = await confirmed(stores)
    entry = a_refund_entry(note="an unkind word")
    staff = Actor(kind=ActorKind.CLINIC, id="usr_staff")
    assert await stores.appointments.reserve_refund(TENANT, command.appointment_id, entry, AT, staff)
    document = await stores.database["appointments"].find_one({"_id": command.appointment_id})
    assert document is not None
    assert "unkind" not in str(document)
    events = await stores.appointments.events(10_000)
    assert [one.actor for one in events if one.id == f"{entry.id}:requested"] == [staff]


async def test_a_refund_moves_forward_only(stores: Repositories) -> None:
    command = await confirmed(stores)
    entry = a_refund_entry(20_000)
    assert await stores.appointments.reserve_refund(TENANT, command.appointment_id, entry, AT)

    async def settle(state: RefundState) -> tuple[RefundState, PaymentState, int, int]:
        await stores.appointments.settle_refund(TENANT, command.appointment_id, entry.id, state, AT)
        one = await found(stores, command)
        return one.refunds[0].state, one.payment_state, one.refund_reserved, one.version

    partly = PaymentState.PARTIALLY_REFUNDED
    assert await settle(RefundState.UNKNOWN) == (RefundState.UNKNOWN, partly, 20_000, 4)
    assert await settle(RefundState.PENDING) == (RefundState.PENDING, partly, 20_000, 5)
    assert await settle(RefundState.PROCESSED) == (RefundState.PROCESSED, partly, 20_000, 6)
    for late in RefundState:
        assert await settle(late) == (RefundState.PROCESSED, partly, 20_000, 6)
    assert [event for event, *_ in await outbox(stores, command)][2:] == [
        EventType.REFUND_REQUESTED,
        EventType.REFUND_UNKNOWN,
        EventType.REFUND_PROCESSED,
    ]


async def test_a_failed_refund_gives_its_reservation_back(stores: Repositories) -> None:
    command = await confirmed(stores)
    kept, failed = a_refund_entry(20_000), a_refund_entry(30_000)
    for entry in (kept, failed):
        assert await stores.appointments.reserve_refund(TENANT, command.appointment_id, entry, AT)
    assert (await found(stores, command)).payment_state is PaymentState.REFUNDED
    for _ in range(2):
        await stores.appointments.settle_refund(TENANT, command.appointment_id, failed.id, RefundState.FAILED, AT)
    appointment = await found(stores, command)
    assert (appointment.refund_reserved, appointment.payment_state) == (20_000, PaymentState.PARTIALLY_REFUNDED)
    assert [one.state for one in appointment.refunds] == [RefundState.PENDING, RefundState.FAILED]
    await stores.appointments.settle_refund(TENANT, command.appointment_id, kept.id, RefundState.FAILED, AT)
    assert (await found(stores, command)).payment_state is PaymentState.CAPTURED
    with pytest.raises(VisitNowError):
        await stores.appointments.settle_refund(TENANT, command.appointment_id, "rfd_x", RefundState.FAILED, AT)


# sealed words


async def test_the_words_of_a_cancellation_are_sealed_and_only_kept_in_time(stores: Repositories) -> None:
    canary = new("canary")
    command = await inserted(stores)
    await stores.appointments.note_cancellation(Subject(command.subject_id), command.appointment_id, canary)
    document = await stores.database["appointments"].find_one({"_id": command.appointment_id})
    assert document is not None
    assert canary not in str(document)
    assert isinstance(document["sealed"], dict)
    assert await stores.vault.open([document["sealed"]["cancellation"]]) == [{"reason": canary}]
    over = await inserted(stores)
    assert (await stores.appointments.advance(TENANT, an_advance(over, EventType.EXPIRED, State.EXPIRED))).applied
    await stores.appointments.note_cancellation(TENANT, over.appointment_id, canary)
    document = await stores.database["appointments"].find_one({"_id": over.appointment_id})
    assert document is not None
    assert "sealed" not in document
