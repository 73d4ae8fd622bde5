"""Patients without an appointment, received at the front desk."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import Depends, Path, Request, Response

from api.guards import GUARD_CODES, MayReceive
from api.problems import problem_responses
from api.records import idempotency_key
from api.routers.visits import overrides
from api.routing import Router
from api.schemas.booking import AppointmentView
from api.schemas.visits import ReceiveWalkIn
from api.services import Services, Wired
from models.errors import Code, not_found
from models.idempotency import body_hash
from models.identity import Principal, Role, Tenant
from workflows.gateway import WALK_IN_ROUTE, Placement, WalkIn

_BODY: Final = (Code.MALFORMED, Code.TOO_LARGE, Code.UNSUPPORTED_MEDIA_TYPE)

router = Router(prefix="/v1/clinics/{clinic_id}/walk-ins", tags=["front desk"])

ClinicId = Annotated[str, Path(max_length=100)]


@router.post(
    "",
    status_code=201,
    responses={
        201: {"headers": {"Location": {"description": "The appointment.", "schema": {"type": "string"}}}},
        **problem_responses(
            *GUARD_CODES,
            *_BODY,
            Code.IDEMPOTENCY_KEY_REQUIRED,
            Code.IDEMPOTENCY_KEY_REUSED,
            Code.NOT_FOUND,
            Code.SLOT_TAKEN,
            Code.SLOT_INVALID,
            Code.TOO_SOON,
            Code.TOO_FAR,
        ),
    },
)
async def receive_walk_in(
    request: Request,
    clinic_id: ClinicId,
    caller: MayReceive,
    *,
    key: Annotated[str, Depends(idempotency_key)],
    body: ReceiveWalkIn,
    services: Wired,
    response: Response,
) -> AppointmentView:
    """Book for whoever stands at the desk: confirmed at once, to be paid there. The next step is to check them in.

    A repeated request (same key, same body) gets the same appointment as it is now.
    """
    await _check(services, caller, clinic_id, body)
    if body.override is not None:
        await overrides(request, services, caller, clinic_id)
    whose = await services.walk_ins.received(
        body.patient.phone, body.patient.details, caller.tenant_id, caller.subject, WALK_IN_ROUTE, key
    )
    reason = body.override.reason if body.override is not None else None
    placement = Placement(
        principal=caller,
        idempotency_key=key,
        provider_id=body.provider_id,
        service_id=body.service_id,
        start=body.start,
        intake=body.intake,
        body_hash=body_hash(services.settings.id_secret, body),
        dependant_id=whose.dependant_id,
        walk_in=WalkIn(subject_id=whose.subject_id, clinic_id=clinic_id, reason=reason),
    )
    appointment, created = await services.gateway.place(placement)
    if not created:
        await services.audit.reads(request, caller, [appointment])
    elif reason is not None:
        await services.gateway.visits.note_override(caller, appointment.id, reason)
    response.headers["Location"] = f"/v1/appointments/{appointment.id}"
    return await services.presenter.one(appointment, caller)


async def _check(services: Services, caller: Principal, clinic_id: str, body: ReceiveWalkIn) -> None:
    """Whether all that is named is the caller's own, before anything is kept. Raises `not_found`."""
    provider = (await services.directory.profiles(Tenant(caller.tenant_id), [body.provider_id])).get(body.provider_id)
    works_there = Role.ADMIN in caller.roles or clinic_id in caller.clinic_ids
    if not works_there or provider is None or provider.clinic_id != clinic_id:
        raise not_found()
    if provider.service(body.service_id) is None:
        raise not_found()
