"""The pages a person sees: the list of orders and the checkout, with the ways in which paying can go."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import get_args
from urllib.parse import parse_qs, urlencode, urlsplit

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from sandbox.entities import Method
from sandbox.errors import GatewayError, unknown_id
from sandbox.gateway import Gateway, Outcome
from sandbox.settlements import INDIA

HERE = Path(__file__).parent
SHOWN_ORDERS = 50
LONGEST_WAIT_SECONDS = 86400
METHODS: tuple[Method, ...] = get_args(Method)
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
METHOD_NAMES: dict[Method, str] = {
    "upi": "UPI",
    "card": "Card",
    "netbanking": "Netbanking",
    "wallet": "Wallet",
    "emi": "EMI",
}

Form = Mapping[str, str]


def rupees(paise: int) -> str:
    """Write an amount as Indians do: 12345678 paise are ₹1,23,456.78."""
    whole, rest = divmod(paise, 100)
    digits = str(whole)
    head, tail = digits[:-3], digits[-3:]
    groups: list[str] = []
    while head:
        groups.insert(0, head[-2:])
        head = head[:-2]
    return f"₹{','.join([*groups, tail])}.{rest:02d}"


def clock_time(seconds: int) -> str:
    """Write Unix seconds as an Indian wall time."""
    return datetime.fromtimestamp(seconds, INDIA).strftime("%d %b %Y, %H:%M:%S IST")


class Pages:
    """Renders the pages of one gateway and carries out what is pressed on them."""

    def __init__(self, gateway: Gateway) -> None:
        """Load the templates; everything that is put into them is escaped."""
        self._gateway = gateway
        self._templates = Environment(
            loader=FileSystemLoader(HERE / "templates"), autoescape=True, undefined=StrictUndefined
        )
        self._templates.filters["rupees"] = rupees
        self._templates.filters["clock_time"] = clock_time
        public_url = gateway.config.public_url
        self._merchant = _origin(public_url) if public_url is not None else None

    def routes(self) -> list[BaseRoute]:
        """List the routes of the pages."""
        return [
            Route("/", self._guarded(self._index), methods=["GET"]),
            Route("/checkout/{order_id}", self._guarded(self._show), methods=["GET"]),
            Route("/checkout/{order_id}", self._guarded(self._press), methods=["POST"]),
            Mount("/static", StaticFiles(directory=HERE / "static")),
        ]

    def _guarded(self, page: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            try:
                return await page(request)
            except GatewayError as error:
                known = error.description != unknown_id().description
                status = HTTPStatus(error.status if known else HTTPStatus.NOT_FOUND)
                return self._render("message.html", status, title="That did not work", text=error.description)

        return endpoint

    def _render(self, template: str, status: int = HTTPStatus.OK, /, **values: object) -> Response:
        form_targets = "'self'" if self._merchant is None else f"'self' {self._merchant}"
        policy = (
            "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'; "
            f"form-action {form_targets}"
        )
        headers = {
            "content-security-policy": policy,
            "cache-control": "no-store",
            "referrer-policy": "same-origin",
            "x-content-type-options": "nosniff",
        }
        return HTMLResponse(self._templates.get_template(template).render(**values), status, headers)

    async def _index(self, _: Request) -> Response:
        ledger = self._gateway.ledger
        newest = list(ledger.orders.values())[: -SHOWN_ORDERS - 1 : -1]
        return self._render("index.html", orders=newest, count=len(ledger.orders), shown=SHOWN_ORDERS)

    async def _show(self, request: Request) -> Response:
        order_id: str = request.path_params["order_id"]
        ledger = self._gateway.ledger
        payment_id = request.query_params.get("payment")
        payment = ledger.payments.get(payment_id) if payment_id is not None else None
        if payment is not None and payment["order_id"] != order_id:
            raise unknown_id()
        wanted = request.query_params.get("callback")
        callback = self._allowed(wanted)
        return self._render(
            "checkout.html",
            order=ledger.order(order_id),
            key_id=self._gateway.config.key_id,
            payments=ledger.payments_of(order_id),
            payable=ledger.is_payable(order_id),
            methods=METHOD_NAMES,
            payment=payment,
            waiting=payment_id if payment is None else None,
            signature=self._gateway.signature(order_id, payment["id"]) if payment is not None else None,
            closed="closed" in request.query_params,
            callback=callback,
            refused_callback=wanted is not None and callback is None,
            query=f"?{urlencode({'callback': callback})}" if callback is not None else "",
        )

    async def _press(self, request: Request) -> Response:
        order_id: str = request.path_params["order_id"]
        origin = request.headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
            raise GatewayError("Another site may not press this page's buttons.", status=HTTPStatus.FORBIDDEN)
        fields = parse_qs((await request.body()).decode("utf-8", "replace"))
        form = {name: values[-1] for name, values in fields.items()}
        target = self._carry_out(order_id, form)
        callback = self._allowed(request.query_params.get("callback"))
        if callback is not None:
            target["callback"] = callback
        query = f"?{urlencode(target)}" if target else ""
        return RedirectResponse(f"/checkout/{order_id}{query}", HTTPStatus.SEE_OTHER)

    def _carry_out(self, order_id: str, form: Form) -> dict[str, str]:
        """Do what was pressed and give the query that shows what came of it."""
        self._gateway.ledger.order(order_id)
        action = form.get("action")
        payment_id = form.get("payment_id", "")
        if action == "close":
            return {"closed": "1"}
        if action == "pay":
            return {"payment": self._pay(order_id, form)}
        if self._gateway.ledger.payment(payment_id)["order_id"] != order_id:
            raise unknown_id()
        if action == "late":
            self._gateway.pay_after_all(payment_id, "authorized")
            return {"payment": payment_id}
        if action == "lapse":
            self._gateway.lapse(payment_id)
            return {}
        raise GatewayError("This page has no such button.")

    def _pay(self, order_id: str, form: Form) -> str:
        outcome = next((item for item in OUTCOMES if item == form.get("outcome")), None)
        method = next((item for item in METHODS if item == form.get("method", "upi")), None)
        seconds = form.get("after_seconds", "0")
        if outcome is None or method is None or not (seconds.isascii() and seconds.isdecimal()):
            raise GatewayError("This page has no such choice.")
        delay = min(int(seconds), LONGEST_WAIT_SECONDS)
        if delay == 0:
            return self._gateway.pay(order_id, outcome, method=method)
        return self._gateway.pay_later(order_id, outcome, delay, method=method)

    def _allowed(self, callback: str | None) -> str | None:
        """Give the callback back if it is an address of the merchant's; results go nowhere else."""
        if callback is None or self._merchant is None:
            return None
        return callback if _origin(callback) == self._merchant else None


def _origin(address: str) -> str | None:
    try:
        parts = urlsplit(address)
        hostname = parts.hostname
    except ValueError:
        return None
    if parts.scheme not in {"http", "https"} or hostname is None or parts.username is not None:
        return None
    return f"{parts.scheme}://{parts.netloc.lower()}"
