"""Money that nobody is owed: a second capture of one order, another amount, another currency.

The stand-in gateway never lets such payments come about, the real one might. So here the product's own workflows,
activities and stores run over a gateway that a test writes the payments of.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest_asyncio
from pydantic import SecretStr
from temporalio.worker import Worker

from activities.booking import BookingActivities
from activities.payments import PaymentActivities
from adapters.connections import connect_temporal, mongo_addresses
from adapters.mongo.repositories import Repositories
from adapters.settings import Settings
from models.booking import Appointment, AppointmentState, Intake
from models.errors import GatewayError
from models.identity import Principal, Role, System
from models.money import Money
from models.payments import (
    GatewayPaymentStatus,
    NewOrder,
    Order,
    PaymentFact,
    PaymentState,
    RefundFact,
    RefundRecord,
    RefundState,
)
from sandbox.servers.stack import Addresses
from sandbox.servers.temporal import ensure_namespace
from tests.booking.support import somebody
from tests.clinics import Offer, catalogue, employee, offer
from tests.stack import LONG, _prepare, eventually
from workers.main import BOOKING_WORKFLOWS, _steps
from workers.runner import workflow_runner
from workflows.gateway import Placement, Stores, WorkflowGateway
from workflows.policies import BOOKING_QUEUE, GATEWAY_QUEUE

TEST = System("tests")
STEADY, SWIFT = offer("steady", "visit"), offer("swift", "visit")
FEE = 60_000
S = AppointmentState
CAPTURED, AUTHORIZED = GatewayPaymentStatus.CAPTURED, GatewayPaymentStatus.AUTHORIZED


@dataclass
class Bank:
    """A payment gateway of which a test decides what was paid; implements `models.ports.PaymentGateway`."""

    orders: dict[str, Order] = field(default_factory=dict)
    payments: dict[str, PaymentFact] = field(default_factory=dict)
    refunds: dict[str, RefundFact] = field(default_factory=dict)

    def paid(self, order_id: str, status: GatewayPaymentStatus, amount: int = FEE, currency: str = "INR") -> str:
        """A payment comes about; its id."""
        payment_id = f"pay_{secrets.token_hex(7)}"
        self.payments[payment_id] = PaymentFact(
            payment_id=payment_id,
            order_id=order_id,
            amount=amount,
            currency=currency,
            status=status,
            captured=status is CAPTURED,
        )
        return payment_id

    def takes(self, payment_id: str) -> None:
        """The money of an authorized payment is taken, without anybody here having asked for it."""
        self.payments[payment_id] = self.payments[payment_id].model_copy(update={"status": CAPTURED, "captured": True})

    def sent_back(self, payment_id: str) -> list[int]:
        """What went back of a payment."""
        return [one.amount for one in self.refunds.values() if one.payment_id == payment_id]

    async def create_order(self, order: NewOrder) -> Order:
        made = Order(
            id=f"order_{order.receipt[4:18]}",
            amount=order.amount.amount,
            currency=order.amount.currency,
            receipt=order.receipt,
            status="created",
        )
        return self.orders.setdefault(made.id, made)

    async def payments_of(self, order_id: str) -> list[PaymentFact]:
        return [one for one in self.payments.values() if one.order_id == order_id]

    async def payment(self, payment_id: str) -> PaymentFact:
        return self.payments[payment_id]

    async def capture(self, payment_id: str, amount: Money) -> PaymentFact:
        known = self.payments[payment_id]
        if (known.amount, known.currency) != (amount.amount, amount.currency):
            raise GatewayError(400, "BAD_REQUEST_ERROR", "", "another amount than was authorized")
        self.takes(payment_id)
        return self.payments[payment_id]

    async def refund(self, refund: RefundRecord) -> RefundFact:
        if refund.id not in self.refunds:
            left = self.payments[refund.payment_id].amount - sum(self.sent_back(refund.payment_id))
            if not self.payments[refund.payment_id].captured or refund.amount > left:
                raise GatewayError(400, "BAD_REQUEST_ERROR", "", "more than was captured")
            self.refunds[refund.id] = RefundFact(
                refund_id=f"rfnd_{secrets.token_hex(7)}",
                payment_id=refund.payment_id,
                amount=refund.amount,
                state=RefundState.PROCESSED,
            )
        return self.refunds[refund.id]

    async def refund_status(self, payment_id: str, gateway_refund_id: str) -> RefundFact:
        return next(
            one for one in self.refunds.values() if (one.payment_id, one.refund_id) == (payment_id, gateway_refund_id)
        )


class House:
    """The product without its processes, over the bank."""

    def __init__(self, stores: Repositories, gateway: WorkflowGateway, bank: Bank) -> None:
        self.bank = bank
        self.gateway = gateway
        self._stores = stores
        self._minutes = itertools.count(15, 30)

    async def held(self, wanted: Offer) -> Appointment:
        """A booking that waits for its payment."""
        account = somebody()
        who = Principal(
            subject=account.id, tenant_id=account.tenant_id, roles=frozenset({Role.PATIENT}), session_id="tests"
        )
        midnight = datetime.now(UTC).replace(hour=18, minute=30, second=0, microsecond=0) + timedelta(days=3)
        placement = Placement(
            principal=who,
            idempotency_key="once",
            provider_id=wanted.provider_id,
            service_id=wanted.service_id,
            start=midnight + timedelta(minutes=next(self._minutes)),
            intake=Intake(),
            body_hash="hash",
        )
        appointment, created = await self.gateway.place(placement)
        assert (created, appointment.state) == (True, AppointmentState.HELD)
        return appointment

    async def cancel(self, appointment: Appointment) -> Appointment:
        who = Principal(
            subject=appointment.subject_id, tenant_id="platform", roles=frozenset({Role.PATIENT}), session_id="tests"
        )
        cancelled, _ = await self.gateway.cancel(who, appointment.id, "made up")
        return cancelled

    async def say(self, appointment: Appointment, to: AppointmentState) -> Appointment:
        """The clinic says how far the visit is."""
        staff = employee("steady", Role.STAFF).principal("tests")
        return await self.gateway.visits.attend(staff, appointment.id, to)

    async def tell(self, appointment: Appointment) -> None:
        """A webhook says that there is something to look at."""
        await self.gateway.report_payment(appointment.id, order_of(appointment), None)

    async def look(self, appointment: Appointment) -> Appointment:
        found = await self._stores.appointments.find(TEST, appointment.id)
        assert found is not None
        return found

    async def until(self, appointment: Appointment, good: Callable[[Appointment], bool]) -> Appointment:
        def look() -> Awaitable[Appointment]:
            return self.look(appointment)

        return await eventually(look, good)

    async def settled(self, appointment: Appointment, refunds: int) -> Appointment:
        """The appointment once so many refunds have been carried out."""
        processed = [RefundState.PROCESSED] * refunds
        return await self.until(appointment, lambda seen: [one.state for one in seen.refunds] == processed)


def order_of(appointment: Appointment) -> str:
    assert appointment.order_id is not None
    return appointment.order_id


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def house(servers: Addresses, module_database_name: str) -> AsyncIterator[House]:
    name = f"{module_database_name}_strays"
    settings = Settings(
        database=name,
        vault_database=f"{name}_vault",
        mongodb_url=SecretStr(servers.mongodb_url(name)),
        audit_mongodb_url=SecretStr(servers.audit_mongodb_url(name)),
        vault_mongodb_url=SecretStr(servers.vault_mongodb_url(f"{name}_vault")),
        temporal_address=servers.temporal_address,
        temporal_namespace=name.replace("_", "-"),
    )
    await asyncio.to_thread(ensure_namespace, servers.temporal_address, settings.temporal_namespace)
    await _prepare(settings, servers.owner_mongodb_url(name), catalogue(LONG))
    stores = Repositories.connect(mongo_addresses(settings), on_time_changed=_nobody)
    client = await connect_temporal(settings)
    bank = Bank()
    payments = PaymentActivities(bank, stores.payments, stores.appointments)
    steps = [*_steps(BookingActivities(stores.claims, stores.appointments)), *_steps(payments)]
    gateway = WorkflowGateway(
        client,
        Stores(
            stores.directory,
            stores.claims,
            stores.appointments,
            stores.payments,
            stores.inbox,
            stores.applications,
            stores.tenancy,
        ),
        id_secret=settings.id_secret,
        ui_url=settings.temporal_ui_url,
    )
    async with AsyncExitStack() as stack:
        stack.push_async_callback(stores.close)
        runner = workflow_runner()
        workflows = list(BOOKING_WORKFLOWS)
        for queue in (BOOKING_QUEUE, GATEWAY_QUEUE):
            served = workflows if queue == BOOKING_QUEUE else []
            worker = Worker(client, task_queue=queue, workflows=served, activities=steps, workflow_runner=runner)
            await stack.enter_async_context(worker)
        yield House(stores, gateway, bank)


async def _nobody(practitioner_id: str) -> None:
    """Nobody listens for free times here."""


async def test_a_second_capture_of_a_confirmed_visit_goes_back(house: House) -> None:
    held = await house.held(STEADY)
    first = house.bank.paid(order_of(held), AUTHORIZED)
    await house.tell(held)
    confirmed = await house.until(held, lambda seen: seen.state is AppointmentState.CONFIRMED)
    assert confirmed.payment_id == first
    second = house.bank.paid(order_of(held), CAPTURED)
    await house.tell(held)
    seen = await house.settled(held, 1)
    assert (seen.state, seen.payment_id, seen.captured, seen.refund_reserved) == (
        AppointmentState.CONFIRMED,
        first,
        2 * FEE,
        FEE,
    )
    assert seen.waiting_for is not None
    assert (house.bank.sent_back(first), house.bank.sent_back(second)) == ([], [FEE])
    # Told again and again, it goes back once; the visit's own money goes back by cancelling.
    for _ in range(3):
        await house.tell(held)
    assert (await house.cancel(held)).state is AppointmentState.CANCELLED
    seen = await house.settled(held, 2)
    assert seen.payment_state is PaymentState.REFUNDED
    assert (house.bank.sent_back(first), house.bank.sent_back(second)) == ([FEE], [FEE])


async def test_a_second_capture_goes_back_also_when_the_patient_is_there(house: House) -> None:
    held = await house.held(STEADY)
    first = house.bank.paid(order_of(held), AUTHORIZED)
    await house.tell(held)
    await house.until(held, lambda seen: seen.state is AppointmentState.CONFIRMED)
    strays = []
    for number, to in enumerate((S.CHECKED_IN, S.NO_SHOW, S.CHECKED_IN, S.IN_CONSULTATION, S.COMPLETED), start=1):
        assert (await house.say(held, to)).state is to
        strays.append(house.bank.paid(order_of(held), CAPTURED))
        await house.tell(held)
        seen = await house.settled(held, number)
        assert (seen.state, seen.captured - seen.refund_reserved) == (to, FEE)
    assert house.bank.sent_back(first) == []
    assert [house.bank.sent_back(one) for one in strays] == [[FEE]] * 5


async def test_of_two_captures_before_anybody_looked_one_goes_back(house: House) -> None:
    held = await house.held(STEADY)
    payments = [house.bank.paid(order_of(held), CAPTURED) for _ in range(2)]
    await house.tell(held)
    seen = await house.settled(held, 1)
    assert (seen.state, seen.captured) == (AppointmentState.CONFIRMED, 2 * FEE)
    assert sorted(house.bank.sent_back(one) for one in payments) == [[], [FEE]]


async def test_another_amount_never_confirms_and_goes_back(house: House) -> None:
    held = await house.held(SWIFT)
    wrong = [house.bank.paid(order_of(held), CAPTURED, amount) for amount in (100, FEE - 1, FEE + 1)]
    await house.tell(held)
    seen = await house.until(held, lambda one: one.state is not AppointmentState.HELD)
    assert seen.state is AppointmentState.EXPIRED
    seen = await house.settled(held, 3)
    assert (seen.state, seen.payment_state) == (AppointmentState.EXPIRED, PaymentState.REFUNDED)
    assert [house.bank.sent_back(one) for one in wrong] == [[100], [FEE - 1], [FEE + 1]]


async def test_another_amount_beside_the_right_one_goes_back(house: House) -> None:
    held = await house.held(STEADY)
    wrong = house.bank.paid(order_of(held), CAPTURED, FEE // 2)
    right = house.bank.paid(order_of(held), AUTHORIZED)
    await house.tell(held)
    seen = await house.settled(held, 1)
    assert (seen.state, seen.payment_id) == (AppointmentState.CONFIRMED, right)
    assert (house.bank.sent_back(wrong), house.bank.sent_back(right)) == ([FEE // 2], [])


async def test_another_currency_never_confirms(house: House) -> None:
    held = await house.held(SWIFT)
    paid = house.bank.paid(order_of(held), AUTHORIZED, currency="USD")
    await house.tell(held)
    seen = await house.until(held, lambda one: one.state is not AppointmentState.HELD)
    assert (seen.state, seen.payment_state) == (AppointmentState.EXPIRED, PaymentState.PENDING)
    assert not house.bank.payments[paid].captured


async def test_two_captures_of_a_booking_that_is_cancelled_go_back(house: House) -> None:
    held = await house.held(STEADY)
    payments = [house.bank.paid(order_of(held), CAPTURED) for _ in range(2)]
    assert (await house.cancel(held)).state is AppointmentState.CANCELLED
    seen = await house.settled(held, 2)
    assert (seen.state, seen.payment_state) == (AppointmentState.CANCELLED, PaymentState.REFUNDED)
    assert [house.bank.sent_back(one) for one in payments] == [[FEE], [FEE]]


async def test_somebody_else_s_order_is_not_ours_to_look_at(house: House) -> None:
    """A guardian that is started for an order and another appointment does nothing."""
    mine, other = await house.held(STEADY), await house.held(STEADY)
    await house.cancel(mine)
    house.bank.paid(order_of(other), CAPTURED)
    await house.gateway.report_payment(mine.id, order_of(other), None)
    await house.tell(other)
    seen = await house.until(other, lambda one: one.state is AppointmentState.CONFIRMED)
    assert seen.refunds == ()
    assert (await house.look(mine)).refunds == ()


async def test_what_was_left_to_lapse_and_is_captured_after_all_goes_back(house: House) -> None:
    held = await house.held(SWIFT)
    await house.until(held, lambda seen: seen.state is AppointmentState.EXPIRED)
    late = house.bank.paid(order_of(held), AUTHORIZED)
    await house.tell(held)
    seen = await house.until(held, lambda one: one.payment_state is PaymentState.VOIDED)
    assert (seen.captured, house.bank.payments[late].captured) == (0, False)
    house.bank.takes(late)
    await house.tell(held)
    seen = await house.settled(held, 1)
    assert (seen.state, seen.payment_state) == (AppointmentState.EXPIRED, PaymentState.REFUNDED)
    assert house.bank.sent_back(late) == [FEE]
