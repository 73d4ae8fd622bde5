"""Messages: what the messaging provider tells us of their fate."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Final
from urllib.parse import parse_qsl

from fastapi import Header, Query, Request, Response

from adapters.redis.limits import Limit
from api.audit import origin_of
from api.guards import PUBLIC
from api.problems import problem_responses
from api.routing import Router
from api.services import Services, Wired
from models.errors import Code, VisitNowError
from models.identity import System
from models.ids import notice_of_try
from models.messaging import PROVIDER_STATES, MessageState, Word
from models.signatures import callback_is_signed
from models.stops import stops

CALLBACKS: Final = Limit("message callbacks", hits=12_000, seconds=60)
"""One address's callbacks: far above what the provider sends for a busy installation."""

FATES: Final = frozenset({MessageState.DELIVERED, MessageState.FAILED})
"""Words that whoever waits for a receipt is told of."""

PROVIDER: Final = System("the messaging provider names messages, not tenants")

_NOTHING_SAID: Final = '<?xml version="1.0" encoding="UTF-8"?><Response></Response>'

router = Router(prefix="/v1", tags=["messaging"])


@router.post(
    "/webhooks/twilio/status",
    status_code=204,
    dependencies=[PUBLIC],
    responses=problem_responses(
        Code.SIGNATURE_INVALID,
        Code.TOO_LARGE,
        Code.INVALID,
        Code.RATE_LIMITED,
        Code.UNAVAILABLE,
        Code.WEBHOOK_UNCONFIGURED,
    ),
)
async def twilio_status(
    request: Request,
    services: Wired,
    signature: Annotated[str | None, Header(alias="X-Twilio-Signature")] = None,
    message: Annotated[str | None, Query(description="Our own id, as it stood in the callback's address.")] = None,
) -> None:
    """What became of a message; words come in any order and never move it back.

    The address that was called, as the public sees it, and every field of the form are signed.
    """
    form = await _signed(request, services, signature)
    await _note(services, form, message)


@router.post(
    "/webhooks/twilio/inbound",
    dependencies=[PUBLIC],
    response_class=Response,
    responses={
        200: {"content": {"text/xml": {"schema": {"type": "string"}}}},
        **problem_responses(
            Code.SIGNATURE_INVALID,
            Code.TOO_LARGE,
            Code.INVALID,
            Code.RATE_LIMITED,
            Code.UNAVAILABLE,
            Code.WEBHOOK_UNCONFIGURED,
        ),
    },
)
async def twilio_inbound(
    request: Request,
    services: Wired,
    signature: Annotated[str | None, Header(alias="X-Twilio-Signature")] = None,
) -> Response:
    """What somebody has replied: STOP ends all messages from that sender at once, START lets them come again.

    Nothing is answered in words: the provider itself confirms both. Other replies are not kept.
    """
    form = await _signed(request, services, signature)
    stopped, sender, reader = stops(form), form.get("To", ""), form.get("From", "")
    if stopped is not None and sender and reader:
        reply_id = form.get("MessageSid") or form.get("SmsSid") or ""
        await services.stops.note(sender, reader, stopped=stopped, reply_id=reply_id, at=datetime.now(UTC))
        services.metrics.webhooks.labels("stored").inc()
    return Response(_NOTHING_SAID, media_type="text/xml")


async def _signed(request: Request, services: Services, signature: str | None) -> dict[str, str]:
    """The fields of a form that the provider has signed, with the address that was called as the public sees it."""
    token = services.settings.twilio_auth_token
    if token is None:
        raise VisitNowError(Code.WEBHOOK_UNCONFIGURED)
    if (wait := await services.limiter.hit(CALLBACKS, origin_of(request) or "")) is not None:
        raise VisitNowError(Code.RATE_LIMITED, retry_after=wait)
    body = (await request.body()).decode("utf-8", "replace")
    form = dict(parse_qsl(body, keep_blank_values=True))
    query = f"?{request.url.query}" if request.url.query else ""
    url = f"{services.settings.public_url}{request.url.path}{query}"
    if signature is None or not callback_is_signed(token.get_secret_value().encode(), url, form, signature):
        services.metrics.webhooks.labels("forged").inc()
        raise VisitNowError(Code.SIGNATURE_INVALID)
    return form


async def _note(services: Services, form: dict[str, str], message_id: str | None) -> None:
    """Note what is a step forward; a message that nobody knows any more is none."""
    state = PROVIDER_STATES.get(form.get("MessageStatus", ""))
    provider_id = form.get("MessageSid")
    if state is None or not provider_id:
        return
    known = message_id or await services.notifications.of_provider(PROVIDER, provider_id)
    if known is None:
        return
    word = Word(state=state, provider_id=provider_id, error_code=form.get("ErrorCode"))
    await services.notifications.settle(PROVIDER, known, word, datetime.now(UTC))
    services.metrics.webhooks.labels("stored").inc()
    notice_id = notice_of_try(known)
    if notice_id is not None and word.state in FATES:
        await services.notifier.receipt(notice_id)
