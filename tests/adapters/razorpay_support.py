"""What the tests of the gateway's adapter do at the sandbox, and what they ask the adapter for."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import httpx

from adapters.razorpay import RazorpayGateway
from models.money import Money
from models.payments import NewOrder, RefundReason, RefundRecord

KEY_ID = "rzp_test_adapter"
KEY_SECRET = "adapter-secret"
READ_TIMEOUT = 0.6
FEE = Money(amount=50_000)


def new_order(receipt: str = "apt_one", amount: Money = FEE, expiry: int = 1440) -> NewOrder:
    return NewOrder(receipt=receipt, amount=amount, tenant_id="tnt_one", capture_expiry_minutes=expiry)


def new_refund(payment_id: str, refund_id: str = "rfd_0123456789", amount: int = FEE.amount) -> RefundRecord:
    return RefundRecord(
        id=refund_id,
        tenant_id="tnt_one",
        appointment_id="apt_one",
        subject_id="usr_one",
        payment_id=payment_id,
        amount=amount,
        reason=RefundReason.GOODWILL,
    )


class Sandbox:
    """What a person, a bank or a bad day does to the sandbox."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._http = httpx.Client(base_url=url, auth=(KEY_ID, KEY_SECRET), timeout=5, trust_env=False)

    def post(self, path: str, body: dict[str, object]) -> dict[str, object]:
        answer = self._http.post(path, json=body)
        answer.raise_for_status()
        found: dict[str, object] = answer.json()
        return found

    def pays(self, order_id: str, outcome: str = "authorized") -> str:
        return str(self.post("/_control/payments", {"order_id": order_id, "outcome": outcome})["payment_id"])

    def breaks(self, operation: str, mode: str, **more: object) -> None:
        self.post("/_control/faults", {"service": "razorpay", "operation": operation, "mode": mode, "times": 1, **more})

    def ledger(self, kind: str) -> list[dict[str, object]]:
        found: list[dict[str, object]] = self._http.get("/_control/ledger").json()[kind]
        return found

    def calls(self) -> int:
        return sum(self._http.get("/_control/stats").json()["requests"].values())

    def close(self) -> None:
        self._http.close()


async def authorized(gateway: RazorpayGateway, sandbox: Sandbox) -> str:
    order = await gateway.create_order(new_order())
    return sandbox.pays(order.id)


async def captured(gateway: RazorpayGateway, sandbox: Sandbox) -> str:
    payment_id = await authorized(gateway, sandbox)
    await gateway.capture(payment_id, FEE)
    return payment_id


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 10.0) -> None:
    give_up = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < give_up, "the condition never held"
        await asyncio.sleep(0.02)
