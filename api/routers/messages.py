"""The log of what people were told about an appointment, and telling it again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

from fastapi import Depends, Request

from api.guards import GUARD_CODES, MayRead, MayResend
from api.problems import problem_responses
from api.records import AppointmentId, found, optional_key
from api.routing import Router
from api.schemas.messaging import MessageList, MessageView, ResentView
from api.services import Wired
from models.compliance import AuditAction
from models.errors import Code, VisitNowError, not_found
from models.identity import Tenant
from models.ids import random_id
from models.notice_kinds import obsolete
from models.notices import again

WORTH: Final = timedelta(hours=24)
"""How long what is told again is worth sending."""

_ONE: Final = (*GUARD_CODES, Code.NOT_FOUND)

router = Router(prefix="/v1/appointments/{appointment_id}/messages", tags=["messaging"])


@router.get("", responses=problem_responses(*_ONE))
async def messages(request: Request, appointment_id: AppointmentId, caller: MayRead, services: Wired) -> MessageList:
    """What was to be told, by which channels it was tried, and what became of each; patients see what was theirs."""
    appointment = await found(request, services, caller, appointment_id, open_sealed=False)
    tenant, own = Tenant(appointment.tenant_id), caller.subject if caller.is_patient else None
    records = await services.notices.of_appointment(tenant, appointment.id, own)
    tries = await services.notifications.tries(tenant, [one.notice.id for one in records])
    return MessageList(
        items=[MessageView.of(one, [each for each in tries if each.notice_id == one.notice.id]) for one in records]
    )


@router.post("/{message_id}/resend", status_code=202, responses=problem_responses(*_ONE, Code.STATE_CONFLICT))
async def resend_message(
    *,
    request: Request,
    appointment_id: AppointmentId,
    message_id: str,
    caller: MayResend,
    services: Wired,
    key: Annotated[str | None, Depends(optional_key)],
) -> ResentView:
    """Tell it again, as the appointment stands now and by whichever channel the reader has now.

    What is not so any more is not told again: `state_conflict`. The same Idempotency-Key tells it once.
    """
    appointment = await found(request, services, caller, appointment_id, open_sealed=False)
    record = await services.notices.find(Tenant(appointment.tenant_id), message_id[:200])
    if record is None or record.notice.appointment_id != appointment.id:
        raise not_found()
    now = datetime.now(UTC)
    notice = again(record.notice, key or random_id("again"), now + WORTH)
    if obsolete(notice, appointment, now) is not None:
        raise VisitNowError(Code.STATE_CONFLICT)
    await services.audit.wrote(request, caller, AuditAction.MESSAGE_RESENT, appointment)
    await services.notifier.notify(notice)
    return ResentView(id=notice.id)
