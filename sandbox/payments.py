"""The payment gateway's HTTP interface under /v1, with its authentication, errors and armed faults."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Awaitable, Callable
from functools import partial

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from sandbox import settlements
from sandbox.entities import Order
from sandbox.errors import GatewayError, authentication_failed, failure, unknown_url
from sandbox.faults import Fault, Operation
from sandbox.gateway import Gateway
from sandbox.ledger import page_of
from sandbox.troubles import suffer
from sandbox.validation import parse_capture, parse_order, parse_page, parse_refund, query_number
from sandbox.wire import encode

Work = Callable[[Gateway, Request, bytes], object]
Endpoint = Callable[[Request], Awaitable[Response]]

REFUND_KEY_HEADER = "x-refund-idempotency"
LARGEST_RECON_COUNT = 1000


def routes(gateway: Gateway) -> list[BaseRoute]:
    """List the gateway's routes; the busiest come first. Everything else under /v1 is an unknown address."""
    credentials = f"{gateway.config.key_id}:{gateway.config.key_secret}".encode()
    expected = b"Basic " + base64.b64encode(credentials)

    def route(method: str, path: str, operation: Operation, work: Work) -> Route:
        return Route(f"/v1{path}", _endpoint(gateway, expected, operation, work), methods=[method])

    async def unknown(request: Request) -> Response:
        return _refuse(unknown_url() if _authentic(request, expected) else authentication_failed())

    return [
        route("POST", "/orders", "order.create", _create_order),
        route("GET", "/orders/{id}/payments", "order.payments", _order_payments),
        route("POST", "/payments/{id}/capture", "payment.capture", _capture),
        route("GET", "/payments/{id}", "payment.fetch", _payment),
        route("GET", "/orders/{id}", "order.fetch", _order),
        route("GET", "/orders", "order.fetch", _orders),
        route("POST", "/payments/{id}/refund", "refund.create", _create_refund),
        route("GET", "/payments/{id}/refunds", "refund.fetch", _payment_refunds),
        route("GET", "/payments/{id}/refunds/{refund_id}", "refund.fetch", _payment_refund),
        route("GET", "/payments", "payment.fetch", _payments),
        route("GET", "/refunds/{id}", "refund.fetch", _refund),
        route("GET", "/refunds", "refund.fetch", _refunds),
        route("GET", "/settlements/recon/combined", "settlement.recon", _recon),
        Route("/v1/{path:path}", unknown, methods=["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]),
    ]


def _endpoint(gateway: Gateway, expected: bytes, operation: Operation, work: Work) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        if not _authentic(request, expected):
            return _refuse(authentication_failed())
        body = await request.body()
        # From here to the answer or the fault nothing is awaited: a call that is counted has its fault.
        gateway.requests[operation] += 1
        perform = partial(_perform, gateway, request, body, work)
        fault = gateway.faults.take(operation)
        return perform() if fault is None else await _suffer(fault, gateway, request, perform)

    return endpoint


def _authentic(request: Request, expected: bytes) -> bool:
    return hmac.compare_digest(request.headers.get("authorization", "").encode("latin-1"), expected)


def _perform(gateway: Gateway, request: Request, body: bytes, work: Work) -> Response:
    try:
        return _json(work(gateway, request, body))
    except GatewayError as error:
        return _refuse(error)


async def _suffer(fault: Fault, gateway: Gateway, request: Request, perform: Callable[[], Response]) -> Response:
    if fault.mode == "slow":
        return await _slowly(fault, gateway, request, perform)
    return await suffer(fault, gateway.holds, request, perform, lambda status: _refuse(failure(status)))


async def _slowly(fault: Fault, gateway: Gateway, request: Request, perform: Callable[[], Response]) -> Response:
    """Do the work late, as a busy server does, even when the caller has gone; till then a refund's key is in flight."""
    key = request.headers.get(REFUND_KEY_HEADER) if fault.operation == "refund.create" else None
    if key is None:
        await gateway.holds.pause(fault.delay_seconds)
        return perform()
    try:
        gateway.begin_refund(key)
    except GatewayError as error:
        return _refuse(error)
    try:
        await gateway.holds.pause(fault.delay_seconds)
    finally:
        gateway.end_refund(key)
    return perform()


def _json(value: object, status: int = 200) -> Response:
    return Response(encode(value), status, media_type="application/json")


def _refuse(error: GatewayError) -> Response:
    return _json(error.body(), error.status)


def _collection(items: list[object]) -> dict[str, object]:
    return {"entity": "collection", "count": len(items), "items": items}


# Orders


def _create_order(gateway: Gateway, _: Request, body: bytes) -> object:
    return gateway.ledger.create_order(parse_order(body))


def _order(gateway: Gateway, request: Request, _: bytes) -> object:
    return gateway.ledger.order(request.path_params["id"])


def _order_payments(gateway: Gateway, request: Request, _: bytes) -> object:
    return _collection([*gateway.ledger.payments_of(request.path_params["id"])])


def _orders(gateway: Gateway, request: Request, _: bytes) -> object:
    ledger = gateway.ledger
    query = request.query_params
    receipt = query.get("receipt")
    authorized = query.get("authorized")
    orders = reversed(ledger.orders.values())
    if receipt is not None:
        found = ledger.order_with_receipt(receipt)
        orders = iter([] if found is None else [found])
    if authorized is not None:
        wanted = authorized == "1"
        orders = (order for order in orders if _has_success(gateway, order) is wanted)
    page = page_of(orders, parse_page(query))
    if "payments" not in query.getlist("expand[]"):
        return _collection([*page])
    return _collection(
        [{**order, "payments": _collection([*ledger.payments_of(order["id"])])} for order in page],
    )


def _has_success(gateway: Gateway, order: Order) -> bool:
    payments = gateway.ledger.payments_of(order["id"])
    return any(payment["status"] in {"authorized", "captured"} for payment in payments)


# Payments


def _payment(gateway: Gateway, request: Request, _: bytes) -> object:
    return gateway.ledger.payment(request.path_params["id"])


def _payments(gateway: Gateway, request: Request, _: bytes) -> object:
    return _collection([*page_of(reversed(gateway.ledger.payments.values()), parse_page(request.query_params))])


def _capture(gateway: Gateway, request: Request, body: bytes) -> object:
    payment_id: str = request.path_params["id"]
    gateway.ledger.payment(payment_id)
    amount, currency = parse_capture(body)
    return gateway.capture(payment_id, amount, currency)


# Refunds


def _create_refund(gateway: Gateway, request: Request, body: bytes) -> object:
    payment_id: str = request.path_params["id"]
    gateway.ledger.payment(payment_id)
    return gateway.refund(payment_id, parse_refund(body), request.headers.get(REFUND_KEY_HEADER), body)


def _payment_refunds(gateway: Gateway, request: Request, _: bytes) -> object:
    refunds = gateway.ledger.refunds_of(request.path_params["id"])
    return _collection([*page_of(refunds, parse_page(request.query_params))])


def _payment_refund(gateway: Gateway, request: Request, _: bytes) -> object:
    return gateway.ledger.refund_of(request.path_params["id"], request.path_params["refund_id"])


def _refund(gateway: Gateway, request: Request, _: bytes) -> object:
    return gateway.ledger.refund(request.path_params["id"])


def _refunds(gateway: Gateway, request: Request, _: bytes) -> object:
    return _collection([*page_of(reversed(gateway.ledger.refunds.values()), parse_page(request.query_params))])


# Settlements


def _recon(gateway: Gateway, request: Request, _: bytes) -> object:
    query = request.query_params
    page = parse_page(query, LARGEST_RECON_COUNT)
    day = query_number(query, "day", 0) if "day" in query else None
    period = settlements.Period(query_number(query, "year", None), query_number(query, "month", None), day)
    items = settlements.settled_items(gateway.ledger, period)
    return _collection([*items[page.skip : page.skip + page.count]])
