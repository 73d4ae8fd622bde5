"""The control API under /_control: what a person at the checkout or a phone, a bank or a bad day would do.

JSON in and out, unknown fields are refused. It has no authentication: the sandbox belongs on a loopback address or a
closed network. A JSON content type is required, so that a web page elsewhere cannot post to it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from sandbox.entities import Method
from sandbox.errors import GatewayError, unknown_id
from sandbox.faults import HOLD_SECONDS, SLOW_SECONDS, Fault, FaultMode, Operation, Service, service_of
from sandbox.gateway import Gateway, Outcome, RefundPlan
from sandbox.messages import Callbacks, Phone, Status
from sandbox.webhooks import Mode
from sandbox.wire import encode

Seconds = Annotated[float, Field(ge=0, le=604800, allow_inf_nan=False)]
LONGEST_HOLD_SECONDS = 600


class Command(BaseModel):
    """A control request; fields that nobody knows are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class PayCommand(Command):
    """Somebody pays an order; with `payment_id` the bank answers late about that failed payment instead."""

    order_id: str
    outcome: Outcome
    after_seconds: Seconds | None = None
    method: Method = "upi"
    webhook: Mode | None = None
    payment_id: str | None = None

    @model_validator(mode="after")
    def _late_answers_come_now(self) -> PayCommand:
        if self.payment_id is not None and (self.after_seconds is not None or self.outcome == "failed"):
            raise ValueError("payment_id goes with outcome authorized or captured and without after_seconds")
        return self


class FaultCommand(Command):
    """Arm a fault for the next `times` calls of an operation."""

    service: Service
    operation: Operation
    mode: FaultMode
    status: Annotated[int, Field(ge=400, le=599)] | None = None
    delay_seconds: Annotated[float, Field(ge=0, le=LONGEST_HOLD_SECONDS, allow_inf_nan=False)] | None = None
    times: Annotated[int, Field(ge=1, le=100_000)] = 1

    @model_validator(mode="after")
    def _status_needs_an_answer_of_the_fault(self) -> FaultCommand:
        if self.status is not None and self.mode in {"slow", "timeout_after_success"}:
            raise ValueError(f"mode {self.mode} answers what the operation answers: it takes no status")
        return self

    @model_validator(mode="after")
    def _the_service_has_the_operation(self) -> FaultCommand:
        if service_of(self.operation) != self.service:
            raise ValueError(f"{self.service} has no operation {self.operation}")
        return self

    def fault(self) -> Fault:
        """Give the fault to arm; without a delay a caller is held for 30 s, and slow means 2 s."""
        usual = SLOW_SECONDS if self.mode == "slow" else HOLD_SECONDS
        delay = usual if self.delay_seconds is None else self.delay_seconds
        return Fault(self.operation, self.mode, self.status, delay, self.times)


class StatusCommand(Command):
    """What became of a text or WhatsApp message: the sender is called back."""

    status: Status
    error_code: Annotated[int, Field(ge=10000, le=99999)] | None = None


class PhoneCommand(Command):
    """How a phone behaves from now on: the last status that its messages reach, and the callbacks about them."""

    to: Annotated[str, Field(min_length=3)]
    channel: Literal["sms", "whatsapp"] = "sms"
    reaches: Literal["queued", "sent", "delivered", "undelivered", "failed"] = "delivered"
    error_code: Annotated[int, Field(ge=10000, le=99999)] | None = None
    callbacks: Callbacks = "once"


class ReplyCommand(Command):
    """Somebody answers the newest text that their phone has got."""

    to: Annotated[str, Field(min_length=3, description="The phone.")]
    channel: Literal["sms", "whatsapp"] = "sms"
    text: Annotated[str, Field(min_length=1, max_length=1600)]


class LapseCommand(Command):
    """Nobody captured this authorized payment: give it back now."""

    payment_id: str


class RefundPlanCommand(Command):
    """Decide what becomes of refunds made from now on, of one payment or of all."""

    outcome: Literal["pending", "processed", "failed"]
    after_seconds: Seconds | None = None
    payment_id: str | None = None


class RefundCommand(Command):
    """The bank takes or refuses a pending refund now."""

    status: Literal["processed", "failed"]


class TargetCommand(Command):
    """Where webhooks go from now on and what signs them; an event that has happened keeps its signature."""

    url: Annotated[str, Field(pattern=r"^https?://[^/\s]+(/\S*)?$")]
    secret: Annotated[str, Field(min_length=1)]


CommandType = TypeVar("CommandType", bound=Command)
Handler = Callable[[Gateway, Request], Awaitable[object]]


class ControlError(Exception):
    """A control request that cannot be carried out."""

    def __init__(self, status: HTTPStatus, code: str, detail: str, errors: list[dict[str, str]] | None = None) -> None:
        """Keep the HTTP status and what the answer says."""
        super().__init__(detail)
        self.status = status
        self.content: dict[str, object] = {"code": code, "detail": detail}
        if errors is not None:
            self.content["errors"] = errors


def routes(gateway: Gateway) -> list[BaseRoute]:
    """List the control routes."""

    def route(method: str, path: str, handler: Handler) -> Route:
        async def endpoint(request: Request) -> Response:
            try:
                return _json(await handler(gateway, request))
            except ControlError as error:
                return _json(error.content, error.status)
            except GatewayError as error:
                known = error.description != unknown_id().description
                status, code = (HTTPStatus.CONFLICT, "conflict") if known else (HTTPStatus.NOT_FOUND, "not_found")
                return _json({"code": code, "detail": error.description}, status)

        return Route(f"/_control{path}", endpoint, methods=[method])

    return [
        route("POST", "/payments", _pay),
        route("GET", "/ledger", _ledger),
        route("GET", "/messages", _messages),
        route("POST", "/messages/{id}/status", _set_status),
        route("POST", "/phones", _set_phone),
        route("POST", "/replies", _reply),
        route("POST", "/faults", _arm),
        route("GET", "/faults", _faults),
        route("DELETE", "/faults", _disarm),
        route("POST", "/lapse", _lapse),
        route("POST", "/refunds", _plan_refunds),
        route("POST", "/refunds/{id}", _decide_refund),
        route("GET", "/webhooks", _webhooks),
        route("PUT", "/webhooks", _set_target),
        route("POST", "/webhooks/{id}/send", _resend),
        route("GET", "/stats", _stats),
        route("POST", "/reset", _reset),
    ]


async def _pay(gateway: Gateway, request: Request) -> object:
    command = await _command(request, PayCommand)
    payment_id = command.payment_id
    if payment_id is not None:
        if gateway.ledger.payment(payment_id)["order_id"] != command.order_id:
            raise unknown_id()
        gateway.pay_after_all(payment_id, command.outcome, command.webhook)
    elif command.after_seconds is None:
        mode = command.webhook or "once"
        payment_id = gateway.pay(command.order_id, command.outcome, method=command.method, mode=mode)
    else:
        mode = command.webhook or "once"
        payment_id = gateway.pay_later(
            command.order_id, command.outcome, command.after_seconds, method=command.method, mode=mode
        )
    signature = gateway.signature(command.order_id, payment_id)
    return {"payment_id": payment_id, "order_id": command.order_id, "signature": signature}


async def _ledger(gateway: Gateway, _: Request) -> object:
    ledger = gateway.ledger
    return {
        "orders": list(ledger.orders.values()),
        "payments": list(ledger.payments.values()),
        "refunds": list(ledger.refunds.values()),
    }


async def _messages(gateway: Gateway, request: Request) -> object:
    return {"items": [message.summary() for message in gateway.messages.newest(request.query_params.get("to"))]}


async def _set_status(gateway: Gateway, request: Request) -> object:
    command = await _command(request, StatusCommand)
    message = gateway.messages.find(request.path_params["id"])
    if message is None:
        raise unknown_id()
    if message.channel == "email":
        raise ControlError(HTTPStatus.CONFLICT, "conflict", "an e-mail has no status that its sender is told")
    gateway.messages.set_status(message, command.status, command.error_code)
    return message.summary()


async def _set_phone(gateway: Gateway, request: Request) -> object:
    command = await _command(request, PhoneCommand)
    phone = Phone(command.reaches, command.error_code, command.callbacks)
    gateway.messages.behave(command.channel, command.to, phone)
    return command.model_dump()


async def _reply(gateway: Gateway, request: Request) -> object:
    command = await _command(request, ReplyCommand)
    mine = (one for one in gateway.messages.newest(command.to) if one.channel == command.channel)
    last = next(mine, None)
    if last is None:
        raise unknown_id()
    return {"id": gateway.messages.reply(command.channel, last.to, last.sender, command.text)}


async def _arm(gateway: Gateway, request: Request) -> object:
    command = await _command(request, FaultCommand)
    gateway.faults.arm(command.fault())
    return await _faults(gateway, request)


async def _faults(gateway: Gateway, _: Request) -> object:
    return {
        "items": [
            {
                "service": service_of(fault.operation),
                "operation": fault.operation,
                "mode": fault.mode,
                "status": fault.status,
                "delay_seconds": fault.delay_seconds,
                "times": fault.remaining,
            }
            for fault in gateway.faults.armed()
        ],
    }


async def _disarm(gateway: Gateway, request: Request) -> object:
    gateway.faults.clear()
    gateway.holds.release()
    return await _faults(gateway, request)


async def _lapse(gateway: Gateway, request: Request) -> object:
    command = await _command(request, LapseCommand)
    refund = gateway.lapse(command.payment_id)
    return {"payment": gateway.ledger.payment(command.payment_id), "refund": refund}


async def _plan_refunds(gateway: Gateway, request: Request) -> object:
    command = await _command(request, RefundPlanCommand)
    seconds = gateway.config.refund_seconds if command.after_seconds is None else command.after_seconds
    gateway.plan_refunds(RefundPlan(command.outcome, seconds), command.payment_id)
    return {"outcome": command.outcome, "after_seconds": seconds, "payment_id": command.payment_id}


async def _decide_refund(gateway: Gateway, request: Request) -> object:
    command = await _command(request, RefundCommand)
    return gateway.decide_refund(request.path_params["id"], command.status)


async def _webhooks(gateway: Gateway, _: Request) -> object:
    return {"items": [delivery.summary() for delivery in gateway.webhooks.deliveries()]}


async def _set_target(gateway: Gateway, request: Request) -> object:
    command = await _command(request, TargetCommand)
    gateway.webhooks.set_target(command.url, command.secret)
    return {"url": command.url}


async def _resend(gateway: Gateway, request: Request) -> object:
    delivery = gateway.webhooks.resend(request.path_params["id"])
    if delivery is None:
        raise unknown_id()
    return delivery.summary()


async def _stats(gateway: Gateway, _: Request) -> object:
    return {
        "requests": dict(gateway.requests),
        "webhooks": dict(gateway.webhooks.counts),
        "held": gateway.holds.held,
    }


async def _reset(gateway: Gateway, _: Request) -> object:
    gateway.reset()
    return {"reset": True}


async def _command(request: Request, model: type[CommandType]) -> CommandType:
    if request.headers.get("content-type", "").split(";")[0].strip().lower() != "application/json":
        raise ControlError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", "send application/json")
    try:
        return model.model_validate_json(await request.body())
    except ValidationError as error:
        errors = [
            {"field": ".".join(str(part) for part in item["loc"]), "message": item["msg"]} for item in error.errors()
        ]
        text = "; ".join(f"{item['field'] or 'body'}: {item['message']}" for item in errors)
        raise ControlError(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid", text, errors) from error


def _json(value: object, status: int = HTTPStatus.OK) -> Response:
    return Response(encode(value), status, media_type="application/json")
