"""Signed webhooks, sent in the background: at least once, retried, and on demand lost, tripled or out of order."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import time
from collections import OrderedDict, deque
from dataclasses import dataclass
from http import HTTPStatus
from typing import Literal

from sandbox.config import SandboxConfig
from sandbox.entities import new_id
from sandbox.errors import GatewayError
from sandbox.ledger import Event
from sandbox.posting import Poster, PostError
from sandbox.timers import Timers
from sandbox.wire import encode

log = logging.getLogger(__name__)

Mode = Literal["once", "never", "thrice", "reordered"]
State = Literal["pending", "delivered", "given_up", "suppressed"]

ANSWER_SECONDS = 5.0
LONGEST_RETRY_SECONDS = 30.0
REORDER_SECONDS = 1.0
KEPT_DELIVERIES = 2000


@dataclass(slots=True)
class Delivery:
    """One event on its way: the body and signature are fixed when it happens, retries send the same bytes."""

    event_id: str
    event: str
    payment_id: str
    mode: Mode
    body: bytes
    signature: str
    created_at: float
    state: State = "pending"
    attempts: int = 0
    last_status: int | None = None

    def summary(self) -> dict[str, object]:
        """Say what became of it, without the body."""
        return {
            "event_id": self.event_id,
            "event": self.event,
            "payment_id": self.payment_id,
            "mode": self.mode,
            "state": self.state,
            "attempts": self.attempts,
            "last_status": self.last_status,
            "created_at": self.created_at,
        }


def sign(secret: str, message: bytes) -> str:
    """Sign as the gateway does: hex HMAC-SHA256."""
    return hmac.new(secret.encode(), message, hashlib.sha256).hexdigest()


class Webhooks:
    """Tells the merchant what happens to payments, each payment's events one after the other.

    Unlike the real gateway, which retries for a day and then disables the webhook, it gives an event up after
    `webhook_attempts` tries and goes on with the next.
    """

    def __init__(self, config: SandboxConfig, timers: Timers) -> None:
        """Send to the configured address, if there is one."""
        self._config = config
        self._timers = timers
        self._account_id = new_id("acc")
        self._poster: Poster | None = None
        self._secret = ""
        self._modes: dict[str, Mode] = {}
        self._queues: dict[str, deque[Delivery]] = {}
        self._deliveries: OrderedDict[str, Delivery] = OrderedDict()
        self.counts: dict[str, int] = {"delivered": 0, "given_up": 0, "suppressed": 0}
        self.restore()

    def restore(self) -> None:
        """Forget every event and mode and go back to the configured target; the caller has stopped the tasks."""
        self._modes.clear()
        self._queues.clear()
        self._deliveries.clear()
        self.counts.update(delivered=0, given_up=0, suppressed=0)
        self.close()
        if self._config.webhook_url is not None and self._config.webhook_secret is not None:
            self.set_target(self._config.webhook_url, self._config.webhook_secret)

    def close(self) -> None:
        """Close the connections to the target."""
        if self._poster is not None:
            self._poster.close()
            self._poster = None

    def set_target(self, url: str, secret: str) -> None:
        """Send from now on to this address, signed with this secret; what is on its way stays as it was signed."""
        poster = Poster(url)
        self.close()
        self._poster = poster
        self._secret = secret

    def set_mode(self, payment_id: str, mode: Mode) -> None:
        """Choose how all events of one payment travel."""
        if mode == "once":
            self._modes.pop(payment_id, None)
        else:
            self._modes[payment_id] = mode

    def deliveries(self) -> list[Delivery]:
        """List the latest events, newest first."""
        return list(reversed(self._deliveries.values()))

    def resend(self, event_id: str) -> Delivery | None:
        """Send an event again, also one that was kept back; None where it is not known (any more)."""
        if self._poster is None:
            raise GatewayError("No webhook target is set.")
        delivery = self._deliveries.get(event_id)
        if delivery is not None:
            delivery.state = "pending"
            self._timers.spawn(self._deliver(self._poster, delivery), f"webhook {event_id}")
        return delivery

    def emit(self, event: Event) -> None:
        """Take up an event: its payload is a snapshot of this moment."""
        body = self._body(event)
        delivery = Delivery(
            event_id=new_id("evt"),
            event=event.name,
            payment_id=event.payment_id,
            mode=self._modes.get(event.payment_id, "once"),
            body=body,
            signature=sign(self._secret, body),
            created_at=time.time(),
        )
        self._deliveries[delivery.event_id] = delivery
        if len(self._deliveries) > KEPT_DELIVERIES:
            self._deliveries.popitem(last=False)
        if self._poster is None or delivery.mode == "never":
            self._finish(delivery, "suppressed")
            return
        queue = self._queues.get(event.payment_id)
        if queue is not None:
            queue.append(delivery)
            return
        queue = deque([delivery])
        self._queues[event.payment_id] = queue
        self._timers.spawn(self._drain(self._poster, event.payment_id, queue), f"webhooks of {event.payment_id}")

    def _body(self, event: Event) -> bytes:
        names = [entity["entity"] for entity in event.contents]
        envelope = {
            "entity": "event",
            "account_id": self._account_id,
            "event": event.name,
            "contains": names,
            "payload": {entity["entity"]: {"entity": entity} for entity in event.contents},
            "created_at": int(time.time()),
        }
        return encode(envelope)

    async def _drain(self, poster: Poster, payment_id: str, queue: deque[Delivery]) -> None:
        while queue:
            if queue[0].mode == "reordered":
                await asyncio.sleep(REORDER_SECONDS)
                batch = list(reversed(queue))
                queue.clear()
            else:
                batch = [queue.popleft()]
            for delivery in batch:
                copies = 3 if delivery.mode == "thrice" else 1
                sent = await asyncio.gather(*(self._attempt(poster, delivery) for _ in range(copies)))
                if any(sent):
                    self._finish(delivery, "delivered")
                else:
                    self._timers.spawn(self._retry(poster, delivery), f"webhook {delivery.event_id}")
        if self._queues.get(payment_id) is queue:
            del self._queues[payment_id]

    async def _deliver(self, poster: Poster, delivery: Delivery) -> None:
        if await self._attempt(poster, delivery):
            self._finish(delivery, "delivered")
        else:
            await self._retry(poster, delivery)

    async def _retry(self, poster: Poster, delivery: Delivery) -> None:
        delay = self._config.webhook_retry_seconds
        for _ in range(self._config.webhook_attempts - 1):
            await asyncio.sleep(delay)
            if await self._attempt(poster, delivery):
                self._finish(delivery, "delivered")
                return
            delay = min(delay * 2, LONGEST_RETRY_SECONDS)
        log.warning("webhook %s (%s) given up", delivery.event_id, delivery.event)
        self._finish(delivery, "given_up")

    async def _attempt(self, poster: Poster, delivery: Delivery) -> bool:
        delivery.attempts += 1
        headers = {
            "content-type": "application/json",
            "user-agent": "Razorpay-Webhook/v1",
            "x-razorpay-signature": delivery.signature,
            "x-razorpay-event-id": delivery.event_id,
        }
        try:
            delivery.last_status = await poster.post(headers, delivery.body, ANSWER_SECONDS)
        except PostError as error:
            delivery.last_status = None
            log.info("webhook %s (%s) not delivered: %s", delivery.event_id, delivery.event, error)
            return False
        return HTTPStatus.OK <= delivery.last_status < HTTPStatus.MULTIPLE_CHOICES

    def _finish(self, delivery: Delivery, state: State) -> None:
        delivery.state = state
        self.counts[state] += 1
