"""Money that moved after a backup: what the payment gateway knows and the restored database does not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from activities.payments import OpenRefund, PaymentActivities, SettleRefund
from adapters.connections import mongo_addresses, razorpay_gateway
from adapters.mongo.repositories import Repositories
from adapters.razorpay import RazorpayGateway
from adapters.settings import Settings
from models.booking import STANDING, Appointment
from models.errors import GatewayError, UnavailableError
from models.identity import System
from models.payments import (
    GatewayPaymentStatus,
    PaymentFact,
    RefundFact,
    RefundReason,
    RefundRecord,
    RefundState,
    reason_behind,
)

_AFTERWARDS: Final = System("refunds that were made after a backup are booked again")
_CLOCKS: Final = timedelta(seconds=5)
"""How far the gateway's clock may be behind ours."""
_MONEY: Final = frozenset({GatewayPaymentStatus.AUTHORIZED, GatewayPaymentStatus.CAPTURED})
_CANCELLED: Final = frozenset({RefundReason.CANCELLED_BY_PATIENT, RefundReason.CANCELLED_BY_CLINIC})


class MovedMoney(NamedTuple):
    """How many refunds were booked again, and what a person has to look at, one sentence each."""

    refunds: int
    for_a_person: tuple[str, ...]


async def moved_money(settings: Settings, since: datetime) -> MovedMoney:
    """Book the refunds that were made since then, and find the money that came since then for nobody we know.

    A refund that the books do not know could be promised a second time. Payments on orders of before are found by the
    reconciliation. A gateway that does not answer holds nobody's restore up: then that is what a person is told.
    """
    gateway = razorpay_gateway(settings)
    stores = Repositories.connect(mongo_addresses(settings), on_time_changed=_nobody, appname="visitnow-moved-money")
    books, refunds, people = _Books(gateway, stores), 0, list[str]()
    try:
        async for refund in _refunds(gateway, since - _CLOCKS):
            booked, sentence = await books.enter(refund)
            refunds += booked
            people += [sentence] if sentence else []
        people += [one async for one in _unknown_payments(gateway, stores, since - _CLOCKS)]
    except (UnavailableError, GatewayError):
        people.append(f"the payment gateway did not say what moved since {since:%Y-%m-%d %H:%M:%S} UTC: look there")
    finally:
        await stores.close()
        gateway.close()
    return MovedMoney(refunds, tuple(people))


class _Books:
    """The books of a database that was restored, while nobody else writes to them."""

    def __init__(self, gateway: RazorpayGateway, stores: Repositories) -> None:
        self._steps = PaymentActivities(gateway, stores.payments, stores.appointments)
        self._stores = stores

    async def enter(self, fact: RefundFact) -> tuple[bool, str]:
        """Whether it was booked, and what a person is to be told of it, if anything."""
        if fact.state is RefundState.FAILED:
            return False, ""
        if fact.receipt and await self._stores.payments.refund(_AFTERWARDS, fact.receipt) is not None:
            return False, ""
        found = await self._appointment(fact)
        if found is None or fact.receipt is None or found.captured - found.refund_reserved < fact.amount:
            return False, (
                f"{fact.amount} paise of {fact.payment_id} went back by {fact.refund_id} for "
                f"{fact.appointment_id or 'no appointment'}, and the database does not have that money"
            )
        refund = RefundRecord(
            id=fact.receipt,
            tenant_id=found.tenant_id,
            appointment_id=found.id,
            subject_id=found.subject_id,
            payment_id=fact.payment_id,
            amount=fact.amount,
            reason=reason_behind(fact.receipt, found.id, fact.payment_id),
        )
        now = datetime.now(UTC)
        await self._steps.open_refund(OpenRefund(refund=refund, at=now))
        await self._steps.settle_refund(
            SettleRefund(refund=refund, state=fact.state, gateway_refund_id=fact.refund_id, at=now)
        )
        if found.state in STANDING and refund.reason in _CANCELLED:
            what = f"{found.id} is {found.state} again"
            return True, f"{what}: it was cancelled after the backup, and its money went back"
        return True, ""

    async def _appointment(self, fact: RefundFact) -> Appointment | None:
        if fact.appointment_id is None:
            return None
        return await self._stores.appointments.find(_AFTERWARDS, fact.appointment_id, open_sealed=False)


async def _refunds(gateway: RazorpayGateway, since: datetime) -> AsyncIterator[RefundFact]:
    skip = 0
    while page := await gateway.refunds_since(since, skip):
        skip += len(page)
        for one in page:
            yield one


async def _unknown_payments(gateway: RazorpayGateway, stores: Repositories, since: datetime) -> AsyncIterator[str]:
    """What was paid on orders that were opened since then for appointments that the database does not have."""
    skip = 0
    while orders := await gateway.orders_since(since, skip):
        skip += len(orders)
        for order in orders:
            if await stores.appointments.find(_AFTERWARDS, order.receipt, open_sealed=False) is not None:
                continue
            for fact in await gateway.payments_of(order.id):
                if fact.status in _MONEY:
                    yield _paid(fact, order.receipt)


def _paid(fact: PaymentFact, appointment: str) -> str:
    what = f"{fact.amount} paise are {fact.status} by {fact.payment_id}"
    return f"{what} for {appointment or 'no appointment'}, which the database does not have"


async def _nobody(practitioner_id: str) -> None:
    """Booking a refund changes nobody's time."""
