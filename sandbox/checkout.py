"""The pages a person sees: the list of orders and the checkout, with the ways in which paying can go."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import get_args
from urllib.parse import parse_qs, urlencode, urlsplit

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from sandbox.entities import Method
from sandbox.errors import GatewayError, unknown_id
from sandbox.gateway import Gateway, Outcome
from sandbox.pages import HERE, Renderer, origin

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


class Pages:
    """Renders the pages of one gateway and carries out what is pressed on them."""

    def __init__(self, gateway: Gateway, renderer: Renderer) -> None:
        """Act on this gateway."""
        self._gateway = gateway
        self._renderer = renderer

    def routes(self) -> list[BaseRoute]:
        """List the routes of the pages."""
        return [
            Route("/", self._renderer.guarded(self._index), methods=["GET"]),
            Route("/checkout/{order_id}", self._renderer.guarded(self._show), methods=["GET"]),
            Route("/checkout/{order_id}", self._renderer.guarded(self._press), methods=["POST"]),
            Mount("/static", StaticFiles(directory=HERE / "static")),
        ]

    async def _index(self, _: Request) -> Response:
        ledger = self._gateway.ledger
        newest = list(ledger.orders.values())[: -SHOWN_ORDERS - 1 : -1]
        return self._renderer.render("index.html", orders=newest, count=len(ledger.orders), shown=SHOWN_ORDERS)

    async def _show(self, request: Request) -> Response:
        order_id: str = request.path_params["order_id"]
        ledger = self._gateway.ledger
        payment_id = request.query_params.get("payment")
        payment = ledger.payments.get(payment_id) if payment_id is not None else None
        if payment is not None and payment["order_id"] != order_id:
            raise unknown_id()
        wanted = request.query_params.get("callback")
        callback = self._allowed(wanted)
        return self._renderer.render(
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
        if callback is None or self._renderer.merchant is None:
            return None
        return callback if origin(callback) == self._renderer.merchant else None
