"""What one has agreed to, for oneself and for those one books for: read, give, take back, prove."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import Path, Query, Request, Response

from api.guards import GUARD_CODES, OwnConsents
from api.problems import problem_responses
from api.routing import Router
from api.schemas.consents import AnswerConsent, ConsentPage, ConsentView, ReceiptView
from api.services import Services, Wired
from models.consents import Language, Purpose
from models.errors import Code
from models.identity import Principal

_BODY: Final = (Code.MALFORMED, Code.TOO_LARGE, Code.UNSUPPORTED_MEDIA_TYPE)
_ANSWERED: Final = (*GUARD_CODES, *_BODY, Code.NOT_FOUND, Code.STALE)

DependantId = Annotated[str, Path(max_length=100)]
Wanted = Annotated[Language | None, Query(description="Of the notices: `en` or `hi`; one's own if absent.")]

router = Router(prefix="/v1/me", tags=["privacy"])


@router.get("/consents", responses=problem_responses(*GUARD_CODES))
async def consents(caller: OwnConsents, services: Wired, language: Wanted = None) -> ConsentPage:
    """Every purpose with its notice, whether it is allowed, and whether the person should be asked."""
    return await _listed(services, caller, None, language)


@router.put("/consents/{purpose}", responses=problem_responses(*_ANSWERED))
async def answer_consent(
    request: Request, purpose: Purpose, body: AnswerConsent, caller: OwnConsents, services: Wired
) -> ConsentView:
    """Say yes or no, or take a yes back; it counts from now on."""
    return await _answered(request, services, caller, None, purpose, body)


@router.get("/consents/{purpose}/receipt", responses=problem_responses(*GUARD_CODES, Code.NOT_FOUND))
async def consent_receipt(purpose: Purpose, caller: OwnConsents, services: Wired, response: Response) -> ReceiptView:
    """The last answer with the notice that was read, signed; to be downloaded."""
    return await _receipt(services, caller, None, purpose, response)


@router.get("/dependants/{dependant_id}/consents", responses=problem_responses(*GUARD_CODES, Code.NOT_FOUND))
async def dependant_consents(
    dependant_id: DependantId, caller: OwnConsents, services: Wired, language: Wanted = None
) -> ConsentPage:
    """The same for somebody one books for."""
    return await _listed(services, caller, dependant_id, language)


@router.put("/dependants/{dependant_id}/consents/{purpose}", responses=problem_responses(*_ANSWERED))
async def answer_dependant_consent(
    request: Request,
    *,
    dependant_id: DependantId,
    purpose: Purpose,
    body: AnswerConsent,
    caller: OwnConsents,
    services: Wired,
) -> ConsentView:
    """Answer for somebody one books for: a child's guardian does."""
    return await _answered(request, services, caller, dependant_id, purpose, body)


@router.get(
    "/dependants/{dependant_id}/consents/{purpose}/receipt",
    responses=problem_responses(*GUARD_CODES, Code.NOT_FOUND),
)
async def dependant_consent_receipt(
    dependant_id: DependantId, purpose: Purpose, caller: OwnConsents, services: Wired, response: Response
) -> ReceiptView:
    """The proof of such an answer."""
    return await _receipt(services, caller, dependant_id, purpose, response)


async def _listed(services: Services, caller: Principal, dependant_id: str | None, language: str | None) -> ConsentPage:
    about = await services.consenting.about(caller, dependant_id)
    locale = language or (await services.profiles.own(caller)).locale
    standing = await services.consenting.standing(caller, about, locale)
    return ConsentPage(items=[ConsentView.of(one) for one in standing])


async def _answered(
    request: Request,
    services: Services,
    caller: Principal,
    dependant_id: str | None,
    purpose: Purpose,
    body: AnswerConsent,
) -> ConsentView:
    about = await services.consenting.about(caller, dependant_id)
    if dependant_id is not None:
        await services.profiles.mark_visits(caller, dependant_id)
    said = (body.granted, body.notice_version, body.language)
    return ConsentView.of(await services.consenting.answer(request, caller, about, purpose, said))


async def _receipt(
    services: Services, caller: Principal, dependant_id: str | None, purpose: Purpose, response: Response
) -> ReceiptView:
    about = await services.consenting.about(caller, dependant_id)
    receipt = await services.consenting.receipt(caller, about, purpose)
    response.headers["Content-Disposition"] = f'attachment; filename="consent-{receipt.consent.id}.json"'
    return ReceiptView.of(receipt)
