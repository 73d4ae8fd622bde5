"""The payment gateway: Razorpay's own client, made to fail in our words, within a time and at a bounded pace.

Source of the facts: Razorpay's API reference (Orders, Payments, Refunds, Errors) and the client's source, 2.0.
"""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from importlib.metadata import version
from typing import Any, TypeVar

import razorpay
import requests
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from requests.adapters import HTTPAdapter

from models.base import Id
from models.errors import GatewayError, UnavailableError
from models.money import Money
from models.payments import (
    GatewayPaymentStatus,
    NewOrder,
    Order,
    PaymentFact,
    RefundFact,
    RefundRecord,
    RefundState,
)

CONNECT_TIMEOUT_SECONDS = 2.0
BAD_REQUEST = 400
LISTED_AT_ONCE = 100
"""The most that the gateway lists."""

_CLIENT_VERSION = version("razorpay")
_GATEWAY_ID = re.compile(r"[A-Za-z0-9_]{1,64}")


class _Entity(BaseModel):
    """What we read of an answer; the gateway may add fields whenever it likes."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)


class _Order(_Entity):
    id: Id
    amount: int
    currency: str
    receipt: str | None = None
    status: str
    created_at: int = 0

    def order(self, receipt: str) -> Order:
        return Order(id=self.id, amount=self.amount, currency=self.currency, receipt=receipt, status=self.status)


class _Orders(_Entity):
    items: list[_Order]


class _Payment(_Entity):
    id: Id
    order_id: Id | None = None
    amount: int
    currency: str
    status: GatewayPaymentStatus
    captured: bool | None = None
    amount_refunded: int | None = None
    method: str | None = None

    def fact(self) -> PaymentFact:
        return PaymentFact(
            payment_id=self.id,
            order_id=self.order_id,
            amount=self.amount,
            currency=self.currency,
            status=self.status,
            captured=bool(self.captured),
            amount_refunded=self.amount_refunded or 0,
            method=self.method,
        )


class _Payments(_Entity):
    items: list[_Payment]


class _Refund(_Entity):
    id: Id
    payment_id: Id
    amount: int
    status: RefundState = Field(description="pending, processed or failed")
    receipt: str | None = None
    notes: dict[str, object] | list[object] = Field(default_factory=dict, description="an empty list where none are")

    def fact(self) -> RefundFact:
        noted = self.notes.get("appointment_id") if isinstance(self.notes, dict) else None
        return RefundFact(
            refund_id=self.id,
            payment_id=self.payment_id,
            amount=self.amount,
            state=self.status,
            receipt=self.receipt,
            appointment_id=noted if isinstance(noted, str) else None,
        )


class _Refunds(_Entity):
    items: list[_Refund]


E_ = TypeVar("E_", bound=_Entity)


class TokenBucket:
    """So many calls a second, `burst` of them at once; who comes later waits, in order of arrival.

    Belongs to one event loop. Each process has its own, so a merchant's limit is to be shared out among them.
    """

    def __init__(self, rate: float, burst: int) -> None:
        """`rate` in calls a second."""
        self._rate = rate
        self._burst = float(burst)
        self._tokens = float(burst)
        self._counted_at = time.monotonic()

    async def take(self) -> None:
        """Return when the call may go out; a caller that is cancelled while waiting gives its place back."""
        now = time.monotonic()
        self._tokens = min(self._burst, self._tokens + (now - self._counted_at) * self._rate) - 1
        self._counted_at = now
        if self._tokens >= 0:
            return
        try:
            await asyncio.sleep(-self._tokens / self._rate)
        except asyncio.CancelledError:
            self._tokens += 1
            raise


class _Transport(HTTPAdapter):
    """Gives every call a timeout and turns what goes wrong on the wire into our error.

    The client prints network errors to standard output, and bodies with them; it never sees one of these.
    """

    def __init__(self, read_timeout: float) -> None:
        super().__init__(pool_connections=1, pool_maxsize=1)
        self._timeouts = (CONNECT_TIMEOUT_SECONDS, read_timeout)

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,  # noqa: FBT001, FBT002  the signature of the base class
        timeout: float | tuple[float, float] | tuple[float, None] | None = None,
        verify: bool | str = True,  # noqa: FBT001, FBT002  the signature of the base class
        cert: bytes | str | tuple[bytes | str, bytes | str] | None = None,
        proxies: Mapping[str, str] | None = None,
    ) -> requests.Response:
        try:
            return super().send(request, stream, timeout or self._timeouts, verify, cert, proxies)
        except requests.RequestException as error:
            raise _unknown(type(error).__name__) from error


class _Client(razorpay.Client):  # type: ignore[misc]  # the client ships no types
    def _get_version(self) -> str:
        # The client reads its own version from disk at every call, which costs a fifth of a millisecond.
        return _CLIENT_VERSION


class RazorpayGateway:
    """`models.ports.PaymentGateway` over Razorpay's blocking client.

    Calls run in threads, each with a client and a kept connection of its own, since the client's sessions are not
    promised to be thread-safe. Nothing is tried again here: that is the workflow's business.
    """

    def __init__(
        self,
        base_url: str,
        key_id: str,
        key_secret: str,
        *,
        read_timeout: float = 5.0,
        threads: int = 16,
        calls_per_second: float = 200.0,
        burst: int = 400,
    ) -> None:
        """`base_url` without `/v1`, which the client adds; `read_timeout` in seconds.

        The gateway publishes no limit. A paid booking takes three calls, so the default lets 65 of them pass a second
        and keeps a runaway loop within bounds; what the gateway itself refuses (429) the workflow tries again later.
        """
        self._base_url = base_url.rstrip("/")
        if self._base_url.endswith("/v1"):
            raise ValueError("the gateway's base URL must not end in /v1")
        self._auth = (key_id, key_secret)
        self._read_timeout = read_timeout
        self._bucket = TokenBucket(calls_per_second, burst)
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="razorpay")
        self._local = threading.local()
        self._sessions: list[requests.Session] = []

    async def create_order(self, order: NewOrder) -> Order:
        """Make an order whose payments we capture ourselves, or find the one that already has this receipt.

        Receipts are unique at the gateway, so a retry after a lost answer is refused and finds the first order.
        """
        body = {
            "amount": order.amount.amount,
            "currency": order.amount.currency,
            "receipt": order.receipt,
            "notes": {"appointment_id": order.receipt, "tenant_id": order.tenant_id},
            "payment": {
                "capture": "manual",
                "capture_options": {"manual_expiry_period": order.capture_expiry_minutes},
            },
        }
        try:
            made = await self._call(_Order, lambda client: client.order.create(data=body))
        except GatewayError as refusal:
            if refusal.status != BAD_REQUEST:
                raise
            found = await self.find_order(order.receipt)
            if found is None or (found.amount, found.currency) != (order.amount.amount, order.amount.currency):
                raise
            return found
        return made.order(order.receipt)

    async def find_order(self, receipt: str) -> Order | None:
        """The order with this receipt; the oldest where the gateway let there be several."""
        query = {"receipt": receipt}
        orders = await self._call(_Orders, lambda client: client.order.all(data=query))
        matching = [order for order in orders.items if order.receipt == receipt]
        if not matching:
            return None
        return min(matching, key=lambda order: (order.created_at, order.id)).order(receipt)

    async def orders_since(self, since: datetime, skip: int) -> list[Order]:
        """A page of the orders that were opened since then, newest first; empty behind the last one."""
        query = {"from": int(since.timestamp()), "count": LISTED_AT_ONCE, "skip": skip}
        orders = await self._call(_Orders, lambda client: client.order.all(data=query))
        return [one.order(one.receipt or "") for one in orders.items]

    async def refunds_since(self, since: datetime, skip: int) -> list[RefundFact]:
        """A page of the refunds that were made since then, newest first; empty behind the last one."""
        query = {"from": int(since.timestamp()), "count": LISTED_AT_ONCE, "skip": skip}
        refunds = await self._call(_Refunds, lambda client: client.refund.all(data=query))
        return [one.fact() for one in refunds.items]

    async def payments_of(self, order_id: str) -> list[PaymentFact]:
        """Every payment that was tried on an order."""
        path_id = _path_id(order_id)
        payments = await self._call(_Payments, lambda client: client.order.payments(path_id, data={}))
        return [payment.fact() for payment in payments.items]

    async def payment(self, payment_id: str) -> PaymentFact:
        """One payment."""
        path_id = _path_id(payment_id)
        payment = await self._call(_Payment, lambda client: client.payment.fetch(path_id, data={}))
        return payment.fact()

    async def capture(self, payment_id: str, amount: Money) -> PaymentFact:
        """Take authorized money; where that is refused because it was taken before, the payment as it stands."""
        path_id = _path_id(payment_id)
        # Without `data` of its own, the client would share one dictionary among all calls and threads.
        body = {"currency": amount.currency}
        try:
            payment = await self._call(_Payment, lambda client: client.payment.capture(path_id, amount.amount, body))
        except GatewayError as refusal:
            if refusal.status != BAD_REQUEST:
                raise
            fact = await self.payment(payment_id)
            if not fact.captured:
                raise
            return fact
        return payment.fact()

    async def refund(self, refund: RefundRecord) -> RefundFact:
        """Send money back at normal speed; our refund id is the idempotency key and the receipt.

        Where a repeated refund is refused (the payment has nothing left to give back), the first one is found.
        """
        path_id = _path_id(refund.payment_id)
        body = {
            "amount": refund.amount,
            "speed": "normal",
            "receipt": refund.id,
            "notes": {"appointment_id": refund.appointment_id, "tenant_id": refund.tenant_id},
        }
        headers = {"X-Refund-Idempotency": refund.id}
        try:
            made = await self._call(
                _Refund, lambda client: client.payment.refund(path_id, data=body, headers=dict(headers))
            )
        except GatewayError as refusal:
            if refusal.status != BAD_REQUEST:
                raise
            refunds = await self._call(
                _Refunds, lambda client: client.payment.fetch_multiple_refund(path_id, data={"count": 100})
            )
            earlier = [item for item in refunds.items if item.receipt == refund.id and item.amount == refund.amount]
            if not earlier:
                raise
            return earlier[0].fact()
        return made.fact()

    async def refund_status(self, payment_id: str, gateway_refund_id: str) -> RefundFact:
        """One refund."""
        path_ids = _path_id(payment_id), _path_id(gateway_refund_id)
        refund = await self._call(_Refund, lambda client: client.payment.fetch_refund_id(*path_ids))
        return refund.fact()

    def close(self) -> None:
        """Wait for the calls under way, at most one read timeout, and close the connections."""
        self._threads.shutdown()
        for session in self._sessions:
            session.close()

    async def _call(self, model: type[E_], operation: Callable[[Any], object]) -> E_:
        """Run one operation of the client, which is untyped, in a thread; its answer is read as `model`."""
        await self._bucket.take()
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._run, model, operation)

    def _run(self, model: type[E_], operation: Callable[[Any], object]) -> E_:
        client = getattr(self._local, "client", None)
        if client is None:
            client = self._local.client = self._connect()
        answer = operation(client)
        try:
            return model.model_validate(answer)
        except ValidationError as error:
            fields = ", ".join(".".join(str(part) for part in item["loc"]) for item in error.errors())
            # A payment carries its payer's address and number: they must not travel along as the cause.
            raise _unknown(f"unreadable fields {fields}") from None

    def _connect(self) -> _Client:
        session = requests.Session()
        session.trust_env = False
        session.hooks["response"].append(_check)
        transport = _Transport(self._read_timeout)
        session.mount("https://", transport)
        session.mount("http://", transport)
        self._sessions.append(session)
        return _Client(session=session, auth=self._auth, base_url=self._base_url)


def _check(response: requests.Response, **_options: object) -> None:
    """Raise the gateway's refusal with all that it says, before the client makes a bare sentence of it."""
    try:
        body = response.json()
    except requests.RequestException:
        raise _unknown(f"HTTP {response.status_code} with an unreadable body") from None
    if not isinstance(body, dict):
        raise _unknown(f"HTTP {response.status_code} without an object")
    if requests.codes.ok <= response.status_code < requests.codes.multiple_choices:
        return
    error = body.get("error")
    if not isinstance(error, dict) or not error.get("code"):
        raise _unknown(f"HTTP {response.status_code} without an error object")
    raise GatewayError(
        response.status_code,
        str(error["code"]),
        str(error.get("reason") or ""),
        str(error.get("description") or ""),
    )


def _path_id(value: str) -> str:
    """An id that may stand in a URL's path; anything else is refused as the gateway would."""
    if not _GATEWAY_ID.fullmatch(value):
        raise GatewayError(BAD_REQUEST, "BAD_REQUEST_ERROR", "input_validation_failed", "not an id of the gateway")
    return value


def _unknown(what: str) -> UnavailableError:
    return UnavailableError(f"the payment gateway gave no usable answer: {what}")
