"""One request by right, and every method of their repository."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta

from adapters.mongo.repositories import Repositories
from models.booking import PlaceBooking
from models.identity import Scope, System
from models.rights import RightsKind, RightsOutcome, RightsRef, RightsRequest, RightsState
from models.upkeep import UnheardRequest
from tests.adapters.mongo.builders import DAY, new

_WORLD = System("the tests' world")
Call = Callable[[Scope], Awaitable[object]]


def a_request(of: PlaceBooking) -> RightsRequest:
    """A wish for correction."""
    return RightsRequest(
        id=new("rrq"),
        kind=RightsKind.CORRECTION,
        tenant_id=of.tenant_id,
        subject_id=of.subject_id,
        appointment_id=of.appointment_id,
        text="My name is misspelt",
        received_at=DAY,
        due_at=DAY + timedelta(days=30),
    )


def unheard(request: RightsRequest) -> UnheardRequest:
    """That request, as the upkeep finds it."""
    return UnheardRequest(about=RightsRef.of(request), state=request.state, version=request.version)


async def build(stores: Repositories, of: PlaceBooking) -> RightsRequest:
    """Put it there."""
    return await stores.rights.keep(_WORLD, a_request(of))


def on_records(stores: Repositories, request: RightsRequest) -> dict[str, Call]:
    """Methods on what belongs to a tenant and a patient."""
    rights, kind = stores.rights, request.kind

    async def in_state(scope: Scope) -> list[RightsRequest]:
        return list((await rights.in_state(scope, RightsState.RECEIVED, 5, None)).items)

    async def of_subject(scope: Scope) -> list[RightsRequest]:
        return list((await rights.of_subject(scope, request.subject_id, kind, 5, None)).items)

    return {
        "rights.keep": lambda scope: rights.keep(scope, request),
        "rights.find": lambda scope: rights.find(scope, request.id),
        "rights.waiting": lambda scope: rights.waiting(scope, request.subject_id),
        "rights.of_subject": of_subject,
        "rights.in_state": in_state,
        "rights.reach": lambda scope: rights.reach(scope, request.id, 50),
        "rights.answer": lambda scope: rights.answer(scope, request.id, RightsOutcome.GRANTED, "Done", DAY),
    }
