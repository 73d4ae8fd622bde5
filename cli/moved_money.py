"""Money that moved after a backup: what the payment gateway knows and the restored database does not."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple, TypeVar

from temporalio.exceptions import ApplicationError

from activities.failures import untyped_failures
from activities.payments import OpenRefund, PaymentActivities, SettleRefund
from adapters.connections import mongo_addresses, razorpay_gateway
from adapters.mongo.repositories import Repositories
from adapters.razorpay import RazorpayGateway
from adapters.settings import Settings
from cli.closing import Closer
from models.booking import CANCELLABLE, Appointment
from models.errors import GatewayError, UnavailableError, VisitNowError
from models.identity import System, Tenant
from models.payments import (
    GatewayPaymentStatus,
    Order,
    PaymentFact,
    RefundFact,
    RefundReason,
    RefundRecord,
    RefundState,
    reason_behind,
)

T = TypeVar("T")

_AFTERWARDS: Final = System("refunds that were made after a backup are booked again")
_CLOCKS: Final = timedelta(seconds=5)
"""How far the gateway's clock may be behind ours."""
_MONEY: Final = frozenset({GatewayPaymentStatus.AUTHORIZED, GatewayPaymentStatus.CAPTURED})
_CANCELLED: Final = frozenset({RefundReason.CANCELLED_BY_PATIENT, RefundReason.CANCELLED_BY_CLINIC})


class MovedMoney(NamedTuple):
    """How many refunds were booked again, which visits were cancelled with them, and what a person has to look at."""

    refunds: int
    cancelled: tuple[str, ...]
    for_a_person: tuple[str, ...]


class _SilentError(Exception):
    """The payment gateway does not answer, or refuses."""


async def moved_money(settings: Settings, since: datetime) -> MovedMoney:
    """Book the refunds that were made since then, and find the money that came since then for nobody we know.

    A refund that the books do not know could be promised a second time. Payments on orders of before are found by the
    reconciliation. A gateway that does not answer holds nobody's restore up: then that is what a person is told.
    May be run again. Raises `UnavailableError` where MongoDB does not answer.
    """
    gateway = razorpay_gateway(settings)
    stores = Repositories.connect(mongo_addresses(settings), on_time_changed=_nobody, appname="visitnow-moved-money")
    books, refunds, people, cancelled = _Books(gateway, stores), 0, list[str](), list[str]()
    try:
        async for refund in _refunds(gateway, since - _CLOCKS):
            entered = await books.enter(refund)
            refunds += entered.booked
            cancelled += [entered.cancelled] if entered.cancelled is not None else []
            people += [entered.for_a_person] if entered.for_a_person else []
        people += [one async for one in _unknown_payments(gateway, stores, since - _CLOCKS)]
    except _SilentError:
        people.append(f"the payment gateway did not say what moved since {since:%Y-%m-%d %H:%M:%S} UTC: look there")
    finally:
        await stores.close()
        gateway.close()
    return MovedMoney(refunds, tuple(cancelled), tuple(people))


class _Entered(NamedTuple):
    """What came of a refund: whether it was booked just now, which visit was cancelled, what a person is told."""

    booked: bool = False
    cancelled: str | None = None
    for_a_person: str = ""


class _Books:
    """The books of a database that was restored, while nobody else writes to them."""

    def __init__(self, gateway: RazorpayGateway, stores: Repositories) -> None:
        self._steps = PaymentActivities(gateway, stores.payments, stores.appointments)
        self._stores = stores
        self._closer = Closer(stores)

    async def enter(self, fact: RefundFact) -> _Entered:
        """Book it unless it is; a visit that it was for the cancelling of is cancelled too."""
        if fact.state is RefundState.FAILED:
            return _Entered()
        found = await self._appointment(fact)
        known = await self._stores.payments.refund(_AFTERWARDS, fact.receipt) if fact.receipt else None
        if known is None and (found is None or fact.receipt is None or not _has_money_of(found, fact)):
            return _Entered(
                for_a_person=f"{fact.amount} paise of {fact.payment_id} went back by {fact.refund_id} for "
                f"{fact.appointment_id or 'no appointment'}, and the database does not have that money"
            )
        if found is None or fact.receipt is None:
            return _Entered()
        if known is None:
            try:
                await self._book(found, fact, fact.receipt)
            except (VisitNowError, ApplicationError) as error:
                return _Entered(for_a_person=f"the refund {fact.refund_id} of {found.id} cannot be booked: {error}")
        reason = reason_behind(fact.receipt, found.id, fact.payment_id)
        closes = reason in _CANCELLED and found.state in CANCELLABLE and await self._closer.close(found)
        return _Entered(booked=known is None, cancelled=found.id if closes else None)

    async def _book(self, found: Appointment, fact: RefundFact, receipt: str) -> None:
        refund = RefundRecord(
            id=receipt,
            tenant_id=found.tenant_id,
            appointment_id=found.id,
            subject_id=found.subject_id,
            payment_id=fact.payment_id,
            amount=fact.amount,
            reason=reason_behind(receipt, found.id, fact.payment_id),
        )
        now = datetime.now(UTC)
        with untyped_failures():
            await self._steps.open_refund(OpenRefund(refund=refund, at=now))
            await self._steps.settle_refund(
                SettleRefund(refund=refund, state=fact.state, gateway_refund_id=fact.refund_id, at=now)
            )

    async def _appointment(self, fact: RefundFact) -> Appointment | None:
        if fact.appointment_id is None:
            return None
        return await self._stores.appointments.find(_AFTERWARDS, fact.appointment_id, open_sealed=False)


def _has_money_of(found: Appointment, fact: RefundFact) -> bool:
    """A refund that was reserved, and no more when the backup was made, has its money."""
    reserved = any(one.id == fact.receipt and one.amount == fact.amount for one in found.refunds)
    return reserved or found.captured - found.refund_reserved >= fact.amount


async def _said(asking: Awaitable[T]) -> T:
    """What the gateway says. Raises `_SilentError`."""
    try:
        return await asking
    except (UnavailableError, GatewayError) as error:
        raise _SilentError from error


async def _refunds(gateway: RazorpayGateway, since: datetime) -> AsyncIterator[RefundFact]:
    skip = 0
    while page := await _said(gateway.refunds_since(since, skip)):
        skip += len(page)
        for one in page:
            yield one


async def _unknown_payments(gateway: RazorpayGateway, stores: Repositories, since: datetime) -> AsyncIterator[str]:
    """What was paid on orders that were opened since then and that no appointment of the database has."""
    skip = 0
    while orders := await _said(gateway.orders_since(since, skip)):
        skip += len(orders)
        for order in orders:
            if not await _is_known(stores, order):
                for fact in await _said(gateway.payments_of(order.id)):
                    if fact.status in _MONEY:
                        yield _paid(fact, order.receipt)


async def _is_known(stores: Repositories, order: Order) -> bool:
    """Whether an appointment has it, or takes it now: the reconciliation asks for the orders that are known."""
    found = await stores.appointments.find(_AFTERWARDS, order.receipt, open_sealed=False)
    if found is not None and found.order_id is None:
        await stores.appointments.record_order(Tenant(found.tenant_id), found.id, order.id, datetime.now(UTC))
        return True
    return found is not None and found.order_id == order.id


def _paid(fact: PaymentFact, appointment: str) -> str:
    what = f"{fact.amount} paise are {fact.status} by {fact.payment_id}"
    return f"{what} for {appointment or 'no appointment'}, which the database does not have"


async def _nobody(practitioner_id: str) -> None:
    """Booking a refund changes nobody's time."""
