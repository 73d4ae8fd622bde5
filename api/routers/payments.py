"""Payments: what Checkout returned, refunds, and the payment gateway's webhooks."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Annotated, Final

import structlog
from fastapi import Depends, Header, Request, Response

from adapters.redis.limits import Limit
from api.audit import origin_of
from api.guards import GUARD_CODES, PUBLIC, MayPay, MayReadRefunds, MayRefund
from api.problems import problem_responses
from api.records import AppointmentId, check_id, found, idempotency_key
from api.routing import Router
from api.schemas.booking import AppointmentView
from api.schemas.payments import Accepted, RefundList, RefundView, ReportPayment, RequestRefund
from api.services import Services, Wired
from models.booking import Appointment
from models.errors import Code, UnavailableError, VisitNowError
from models.identity import Tenant
from models.money import Money
from models.payments import RefundRecord, WebhookEvent
from models.signatures import payment_is_signed, webhook_is_signed
from models.webhooks import webhook_event

WEBHOOKS: Final = Limit("webhooks", hits=12_000, seconds=60)
"""One address's webhooks: far above what the gateway sends for a busy installation."""

SECOND_WORD_SECONDS: Final = 2.0
"""How long a further word about a payment waits that the workflow has just been told of."""

_BODY: Final = (Code.MALFORMED, Code.TOO_LARGE, Code.UNSUPPORTED_MEDIA_TYPE)
_log = structlog.get_logger(__name__)

router = Router(prefix="/v1", tags=["payments"])


@router.post(
    "/appointments/{appointment_id}/payment",
    responses=problem_responses(*GUARD_CODES, *_BODY, Code.NOT_FOUND, Code.SIGNATURE_INVALID),
)
async def report_payment(
    request: Request, appointment_id: AppointmentId, caller: MayPay, body: ReportPayment, services: Wired
) -> AppointmentView:
    """What Checkout returned. The gateway itself is asked before anything is believed; late reports are welcome."""
    appointment = await found(request, services, caller, appointment_id)
    order_id = _signed_order(services, appointment, body)
    if appointment.payment_id != body.razorpay_payment_id:
        await services.gateway.report_payment(appointment.id, order_id, body.razorpay_payment_id)
        appointment = await services.streams.settled(appointment, caller)
    return await services.presenter.one(appointment, caller)


def _signed_order(services: Services, appointment: Appointment, body: ReportPayment) -> str:
    """The stored order that the report is genuinely about. Raises `signature_invalid`."""
    order_id = appointment.order_id
    secret = services.settings.razorpay_key_secret.get_secret_value().encode()
    # The order is ours, not the client's: a genuine signature for another order must not pass here.
    if order_id is None or not payment_is_signed(secret, order_id, body.razorpay_payment_id, body.razorpay_signature):
        raise VisitNowError(Code.SIGNATURE_INVALID)
    if body.razorpay_order_id != order_id:
        raise VisitNowError(Code.SIGNATURE_INVALID)
    return order_id


@router.post(
    "/appointments/{appointment_id}/refunds",
    status_code=201,
    responses=problem_responses(
        *GUARD_CODES,
        *_BODY,
        Code.IDEMPOTENCY_KEY_REQUIRED,
        Code.IDEMPOTENCY_KEY_REUSED,
        Code.NOT_FOUND,
        Code.STATE_CONFLICT,
        Code.REFUND_EXCEEDS_PAYMENT,
    ),
)
async def refund(
    appointment_id: AppointmentId,
    caller: MayRefund,
    key: Annotated[str, Depends(idempotency_key)],
    body: RequestRefund,
    services: Wired,
    response: Response,
) -> RefundView:
    """Give money back by a decision of the clinic; never more than is left of the payment."""
    amount = Money(amount=body.amount.amount)
    record, _ = await services.gateway.refund(caller, check_id(appointment_id), amount, body.reason, key)
    response.headers["Location"] = f"/v1/appointments/{appointment_id}/refunds"
    return _view(record, body.reason)


@router.get("/appointments/{appointment_id}/refunds", responses=problem_responses(*GUARD_CODES, Code.NOT_FOUND))
async def refunds(
    request: Request, appointment_id: AppointmentId, caller: MayReadRefunds, services: Wired
) -> RefundList:
    """The refunds of an appointment, oldest first."""
    appointment = await found(request, services, caller, appointment_id, open_sealed=False)
    records = await services.payments.refunds_of(Tenant(appointment.tenant_id), appointment.id)
    return RefundList(items=[_view(record, None if caller.is_patient else note) for record, note in records])


def _view(record: RefundRecord, note: str | None) -> RefundView:
    return RefundView(
        id=record.id, amount=Money(amount=record.amount), state=record.state, reason=record.reason, note=note
    )


@router.post(
    "/webhooks/razorpay",
    dependencies=[PUBLIC],
    responses=problem_responses(
        Code.SIGNATURE_INVALID,
        Code.MALFORMED,
        Code.TOO_LARGE,
        Code.INVALID,
        Code.RATE_LIMITED,
        Code.UNAVAILABLE,
        Code.WEBHOOK_UNCONFIGURED,
    ),
)
async def razorpay_webhook(
    request: Request,
    services: Wired,
    signature: Annotated[str | None, Header(alias="X-Razorpay-Signature")] = None,
    event_id: Annotated[str | None, Header(alias="X-Razorpay-Event-Id")] = None,
) -> Accepted:
    """What the gateway tells us; kept once, passed on afterwards. The raw body is the only thing that is signed."""
    secrets = services.settings.webhook_secrets
    if not secrets:
        raise VisitNowError(Code.WEBHOOK_UNCONFIGURED)
    if (wait := await services.limiter.hit(WEBHOOKS, origin_of(request) or "")) is not None:
        raise VisitNowError(Code.RATE_LIMITED, retry_after=wait)
    body = await request.body()
    if signature is None or not webhook_is_signed(secrets, body, signature):
        services.metrics.webhooks.labels("forged").inc()
        raise VisitNowError(Code.SIGNATURE_INVALID)
    event = _read(services, body, event_id)
    if await services.inbox.store(event):
        services.metrics.webhooks.labels("stored").inc()
        services.background.start(_pass_on(services, event))
    else:
        services.metrics.webhooks.labels("duplicate").inc()
    return Accepted()


def _read(services: Services, body: bytes, event_id: str | None) -> WebhookEvent:
    now = datetime.now(UTC)
    try:
        event = webhook_event(body, event_id, now)
    except ValueError as error:
        services.metrics.webhooks.labels("malformed").inc()
        raise VisitNowError(Code.MALFORMED) from error
    services.metrics.webhook_lag.observe(max(0.0, (now - event.created_at).total_seconds()))
    return event


def _is_second_word(services: Services, event: WebhookEvent) -> bool:
    """Whether the workflow was just told of that payment; a refund's words are each about something new."""
    if event.payment_id is None or event.type.startswith("refund."):
        return False
    return services.words.again(event.payment_id)


async def _pass_on(services: Services, event: WebhookEvent) -> None:
    """Tell the workflow; where that fails now, the sweep does it later."""
    if _is_second_word(services, event):
        # By then our own capture is mostly in the books, and the workflow need not be told of it.
        await asyncio.sleep(SECOND_WORD_SECONDS)
    try:
        await services.gateway.pass_on(event)
    except UnavailableError:
        services.metrics.webhooks.labels("deferred").inc()
        raise
    services.metrics.webhooks.labels("passed_on").inc()
