"""What the tests of the payment sandbox share: a merchant that receives webhooks, and a caller of the sandbox."""

import hashlib
import hmac
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import razorpay

from sandbox.config import SandboxConfig
from sandbox.process import SandboxProcess

KEY_ID = "rzp_test_sandbox"
KEY_SECRET = "checkout-secret"
WEBHOOK_SECRET = "webhook-secret"
ACCOUNT_SID = "AC" + "0f" * 16
AUTH_TOKEN = "messaging-secret"
MERCHANT = "https://api.clinic.example"

Json = dict[str, object]


def until(check: Callable[[], bool], what: str, seconds: float = 10.0) -> None:
    """Wait for a condition; fails after so many seconds."""
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.005)


@dataclass(frozen=True)
class Received:
    """One webhook as it arrived."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def event_id(self) -> str:
        return self.headers["x-razorpay-event-id"]

    @property
    def event(self) -> Json:
        value: Json = json.loads(self.body)
        return value

    @property
    def name(self) -> str:
        return str(self.event["event"])

    def entity(self, name: str) -> Json:
        payload = self.event["payload"]
        assert isinstance(payload, dict)
        entity: Json = payload[name]["entity"]
        return entity

    def signed_with(self, secret: str) -> bool:
        expected = hmac.new(secret.encode(), self.body, hashlib.sha256).hexdigest()
        return hmac.compare_digest(expected, self.headers["x-razorpay-signature"])


@dataclass
class Merchant:
    """A real HTTP server that keeps every webhook; `answers` are the next statuses, 200 when there is none."""

    received: list[Received] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    url: str = ""

    def clear(self) -> None:
        self.received.clear()
        self.answers.clear()

    def of(self, payment_id: object) -> list[Received]:
        return [item for item in [*self.received] if item.entity("payment")["id"] == payment_id]

    def names(self, payment_id: object) -> list[str]:
        return [item.name for item in self.of(payment_id)]

    def wait(self, payment_id: object, count: int) -> list[Received]:
        until(lambda: len(self.of(payment_id)) >= count, f"{count} webhooks of {payment_id}, got {self.received}")
        return self.of(payment_id)


@contextmanager
def merchant() -> Iterator[Merchant]:
    """Serve a merchant's webhook address on a free port."""
    keeper = Merchant()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            keeper.received.append(Received(self.path, headers, body))
            self.send_response(keeper.answers.pop(0) if keeper.answers else 200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class calls it so
            """Stay silent."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            # A sandbox that is killed leaves its connections as they are.
            if not isinstance(sys.exception(), ConnectionError):
                super().handle_error(request, client_address)  # type: ignore[arg-type] # the base class's wide type

    with Server(("127.0.0.1", 0), Handler) as server:
        keeper.url = f"http://127.0.0.1:{server.server_address[1]}/webhooks/razorpay"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield keeper
        server.shutdown()
        thread.join()


@dataclass
class Sandbox:
    """A running sandbox, called over HTTP: raw, by the vendor's own client, and by its control API."""

    process: SandboxProcess
    http: httpx.Client
    client: razorpay.Client
    merchant: Merchant

    def order(self, amount: int = 50000, **fields: object) -> Json:
        answer = self.http.post("/v1/orders", json={"amount": amount, "currency": "INR", **fields})
        assert answer.status_code == 200, answer.text
        value: Json = answer.json()
        return value

    def pay(self, order: Json, outcome: str = "authorized", **fields: object) -> str:
        paid = self.control("payments", {"order_id": order["id"], "outcome": outcome, **fields})
        assert paid["order_id"] == order["id"]
        return str(paid["payment_id"])

    def captured(self, amount: int = 50000) -> str:
        return self.pay(self.order(amount), "captured")

    def payment(self, payment_id: str) -> Json:
        value: Json = self.client.payment.fetch(payment_id)
        return value

    def refund(self, payment_id: str, key: str | None = None, **body: object) -> httpx.Response:
        headers = {} if key is None else {"X-Refund-Idempotency": key}
        return self.http.post(f"/v1/payments/{payment_id}/refund", json=body, headers=headers)

    def control(self, path: str, body: Json, status: int = 200) -> Json:
        answer = self.http.post(f"/_control/{path}", json=body)
        assert answer.status_code == status, answer.text
        value: Json = answer.json()
        return value

    def fault(self, operation: str, mode: str, **fields: object) -> None:
        self.control("faults", {"service": "razorpay", "operation": operation, "mode": mode, "times": 1, **fields})

    def requests(self) -> dict[str, int]:
        counts: dict[str, int] = self.http.get("/_control/stats").json()["requests"]
        return counts


@contextmanager
def running(config: SandboxConfig, target: Merchant, log: Path) -> Iterator[Sandbox]:
    """Run a sandbox as a process of its own."""
    process = SandboxProcess(config, log=log)
    with process, httpx.Client(base_url=process.url, auth=(KEY_ID, KEY_SECRET), timeout=10) as http:
        client = razorpay.Client(auth=(KEY_ID, KEY_SECRET), base_url=process.url)
        yield Sandbox(process, http, client, target)
        client.session.close()


def configuration(target: Merchant, *, minute_seconds: float = 60.0, attempts: int = 12) -> SandboxConfig:
    """Configure a sandbox with short paces that sends its webhooks to this merchant."""
    return SandboxConfig(
        key_id=KEY_ID,
        key_secret=KEY_SECRET,
        webhook_url=target.url,
        webhook_secret=WEBHOOK_SECRET,
        public_url=MERCHANT,
        refund_seconds=0.05,
        minute_seconds=minute_seconds,
        webhook_retry_seconds=0.05,
        webhook_attempts=attempts,
        account_sid=ACCOUNT_SID,
        auth_token=AUTH_TOKEN,
        message_seconds=0.02,
    )


def refusal(answer: httpx.Response, status: int = 400) -> str:
    """Check that an answer is a refusal in the gateway's shape and give its description."""
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert {"code", "description", "source", "step", "reason", "metadata"} <= error.keys()
    assert error["metadata"] == {}
    assert error["code"] == "BAD_REQUEST_ERROR"
    return str(error["description"])
