"""Practices that apply: the applicant's own steps, and the reviewers'."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Final

from fastapi import Depends, Form, Path, Query, Request, Response, UploadFile

from adapters.redis.limits import Limit as RateLimit
from api.applicants import ApplicationId, MayEditApplication, MayOpenApplication, MayReview, found_application
from api.audit import origin_of
from api.guards import GUARD_CODES, PUBLIC
from api.paging import Paging
from api.problems import problem_responses
from api.records import given_key
from api.routing import Router
from api.schemas.onboarding import (
    ApplicationAccess,
    ApplicationChanges,
    ApplicationPage,
    ApplicationRef,
    ApplicationView,
    DecideApplication,
    DocumentView,
    VerifyEmail,
)
from api.services import Services, Wired
from models.application_tokens import TOKEN_LIFETIME
from models.errors import Code, VisitNowError
from models.files import MAX_DOCUMENT_BYTES
from models.idempotency import body_hash
from models.identity import PLATFORM, Principal, Tenant
from models.ids import random_id
from models.onboarding import (
    Application,
    ApplicationDetails,
    ApplicationQuery,
    ApplicationState,
    Command,
    Decide,
    DocumentKind,
    OnboardingActor,
    OnboardingActorKind,
)

APPLICATIONS: Final = RateLimit("applications", hits=120, seconds=3600)
LINKS: Final = RateLimit("application-links", hits=5, seconds=3600)
TRIES: Final = RateLimit("application-verifications", hits=60, seconds=3600)
REVIEWED: Final = Tenant(PLATFORM)

_BODY: Final = (Code.MALFORMED, Code.TOO_LARGE, Code.UNSUPPORTED_MEDIA_TYPE)
_ONE: Final = (*GUARD_CODES, Code.NOT_FOUND)

router = Router(prefix="/v1/onboarding/applications", tags=["onboarding"])


@router.post(
    "",
    status_code=202,
    dependencies=[PUBLIC],
    responses={
        202: {"headers": {"Location": {"description": "The application.", "schema": {"type": "string"}}}},
        **problem_responses(
            Code.INVALID, *_BODY, Code.SLUG_TAKEN, Code.IDEMPOTENCY_KEY_REUSED, Code.RATE_LIMITED, Code.UNAVAILABLE
        ),
    },
)
async def apply(
    request: Request,
    body: ApplicationDetails,
    services: Wired,
    response: Response,
    key: Annotated[str | None, Depends(given_key)],
) -> ApplicationRef:
    """Apply with a practice; a letter goes to the owner, whose link opens the application."""
    await _limited(services, APPLICATIONS, origin_of(request) or "unknown")
    digest = body_hash(services.settings.id_secret, body)
    application = await services.applicants.apply(body, digest, key)
    response.headers["Location"] = f"/v1/onboarding/applications/{application.id}"
    return ApplicationRef(id=application.id, state=application.state)


@router.post(
    "/{application_id}/verify-email",
    dependencies=[PUBLIC],
    responses=problem_responses(
        Code.INVALID,
        *_BODY,
        Code.NOT_FOUND,
        Code.TOKEN_INVALID,
        Code.TOKEN_EXPIRED,
        Code.RATE_LIMITED,
        Code.UNAVAILABLE,
    ),
)
async def verify_application_email(
    application_id: ApplicationId, body: VerifyEmail, services: Wired
) -> ApplicationAccess:
    """Prove the mailbox with the link's token; the answer's token opens this application and nothing else."""
    await _limited(services, TRIES, application_id)
    application = await services.applicants.verify(found_application(application_id), body.token)
    return ApplicationAccess(
        id=application.id,
        state=application.state,
        access_token=services.applicants.access_token(application.id),
        expires_in=int(TOKEN_LIFETIME.total_seconds()),
    )


@router.post(
    "/{application_id}/link",
    status_code=202,
    dependencies=[PUBLIC],
    responses=problem_responses(Code.INVALID, Code.NOT_FOUND, Code.RATE_LIMITED, Code.UNAVAILABLE),
)
async def send_application_link(application_id: ApplicationId, services: Wired) -> None:
    """Send the owner a fresh link, for one that has expired or a token that was lost."""
    await _limited(services, LINKS, application_id)
    await services.applicants.send_link_again(found_application(application_id))


class ApplicationFilters(Paging):
    """Which applications are listed."""

    state: ApplicationState | None = None
    overdue: bool = False


@router.get("", responses=problem_responses(*GUARD_CODES, Code.CURSOR_INVALID))
async def applications(
    request: Request, caller: MayReview, services: Wired, wanted: Annotated[ApplicationFilters, Query()]
) -> ApplicationPage:
    """All applications, newest first; with `overdue` those whose promised time is over, the longest first."""
    now = datetime.now(UTC)
    query = ApplicationQuery(state=wanted.state, overdue_at=now if wanted.overdue else None, limit=wanted.limit)
    try:
        page = await services.applications.page(REVIEWED, query, wanted.cursor)
    except ValueError as error:
        raise VisitNowError(Code.CURSOR_INVALID) from error
    for one in page.items:
        await services.audit.act(request, caller, one.id)
    return ApplicationPage(items=[ApplicationView.of(one, now) for one in page.items], next_cursor=page.next_cursor)


@router.get("/{application_id}", responses=problem_responses(*_ONE))
async def application(
    request: Request, application_id: ApplicationId, reader: MayOpenApplication, services: Wired
) -> ApplicationView:
    """One application; a reviewer's look is audited."""
    found = await services.applicants.found(found_application(application_id))
    if isinstance(reader, Principal):
        await services.audit.act(request, reader, found.id)
    return ApplicationView.of(found, datetime.now(UTC))


@router.patch(
    "/{application_id}",
    responses=problem_responses(*_ONE, *_BODY, Code.STATE_CONFLICT, Code.SLUG_TAKEN),
)
async def amend_application(
    application_id: ApplicationId, applicant: MayEditApplication, body: ApplicationChanges, services: Wired
) -> ApplicationView:
    """Change what was told, in a draft or where changes were requested."""
    del applicant
    found = await services.applicants.found(found_application(application_id))
    if found.details is None:
        raise VisitNowError(Code.STATE_CONFLICT)
    amended = await services.applicants.amend(found, body.applied_to(found.details))
    return ApplicationView.of(amended, datetime.now(UTC))


@router.post(
    "/{application_id}/documents",
    status_code=201,
    responses=problem_responses(*_ONE, Code.MALFORMED, Code.TOO_LARGE, Code.STATE_CONFLICT, Code.DOCUMENT_REFUSED),
)
async def add_application_document(
    application_id: ApplicationId,
    applicant: MayEditApplication,
    services: Wired,
    file: UploadFile,
    kind: Annotated[DocumentKind, Form(description="`registration_certificate`, `identity_proof`, …")] = "other",
) -> DocumentView:
    """Hand in a PDF, PNG or JPEG of at most 10 MiB; what it is is seen by its content."""
    del applicant
    found = await services.applicants.found(found_application(application_id))
    content = await file.read(MAX_DOCUMENT_BYTES + 1)
    if len(content) > MAX_DOCUMENT_BYTES:
        raise VisitNowError(Code.TOO_LARGE)
    name = "".join(one for one in file.filename or "" if one.isprintable())[:200]
    return DocumentView.of(await services.applicants.add_document(found, kind, name, content))


@router.get(
    "/{application_id}/documents/{document_id}",
    response_class=Response,
    responses={
        200: {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}},
        **problem_responses(*_ONE),
    },
)
async def application_document(
    request: Request,
    application_id: ApplicationId,
    document_id: Annotated[str, Path(description="The document.")],
    reader: MayOpenApplication,
    services: Wired,
) -> Response:
    """One document as it was handed in; a reviewer's look is audited."""
    found = await services.applicants.found(found_application(application_id))
    if isinstance(reader, Principal):
        await services.audit.act(request, reader, f"{found.id}:document")
    document, content = await services.applicants.document(found, document_id)
    # Never shown by the browser itself: what somebody else has uploaded is not ours to run.
    headers = {"Content-Disposition": f'attachment; filename="{document.id}"'}
    return Response(content, media_type=document.media_type, headers=headers)


@router.post("/{application_id}/submit", responses=problem_responses(*_ONE, Code.STATE_CONFLICT))
async def submit_application(
    application_id: ApplicationId, applicant: MayEditApplication, services: Wired
) -> ApplicationView:
    """Hand it in, the first time or after changes were requested; the review's clock runs from now on."""
    found = await services.applicants.found(found_application(application_id))
    await services.gateway.onboarding.submit(found, Command(id=random_id("cmd"), actor=applicant))
    return await _now(services, found)


@router.post("/{application_id}/withdraw", responses=problem_responses(*_ONE, Code.STATE_CONFLICT))
async def withdraw_application(
    application_id: ApplicationId, applicant: MayEditApplication, services: Wired
) -> ApplicationView:
    """Take it back, as long as nothing is decided."""
    found = await services.applicants.found(found_application(application_id))
    await services.gateway.onboarding.withdraw(found, Command(id=random_id("cmd"), actor=applicant))
    return await _now(services, found)


@router.post("/{application_id}/suspend", responses=problem_responses(*_ONE, Code.STATE_CONFLICT))
async def suspend_application(
    request: Request, application_id: ApplicationId, caller: MayReview, services: Wired
) -> ApplicationView:
    """Hide a practice from everybody; what patients have booked stays booked."""
    found = await services.applicants.found(found_application(application_id))
    await services.audit.act(request, caller, found.id)
    command = Command(id=random_id("cmd"), actor=_reviewer(caller))
    await services.gateway.onboarding.suspend(found, command)
    return await _now(services, found)


@router.post(
    "/{application_id}/decision",
    responses=problem_responses(*_ONE, *_BODY, Code.STATE_CONFLICT, Code.CHECKS_FAILED),
)
async def decide_application(
    *,
    request: Request,
    application_id: ApplicationId,
    caller: MayReview,
    services: Wired,
    body: DecideApplication,
) -> ApplicationView:
    """Approve, reject or ask for changes; the owner is written to."""
    found = await services.applicants.found(found_application(application_id))
    await services.audit.act(request, caller, found.id)
    decision = Decide(decision_id=random_id("dec"), kind=body.decision, actor=_reviewer(caller))
    await services.applicants.keep_note(found.id, decision.decision_id, body.note)
    await services.gateway.onboarding.decide(found, decision)
    return await _now(services, found)


async def _now(services: Services, before: Application) -> ApplicationView:
    return ApplicationView.of(await services.applicants.found(before.id), datetime.now(UTC))


def _reviewer(caller: Principal) -> OnboardingActor:
    return OnboardingActor(kind=OnboardingActorKind.REVIEWER, id=caller.subject)


async def _limited(services: Services, limit: RateLimit, key: str) -> None:
    if (wait := await services.limiter.hit(limit, key)) is not None:
        raise VisitNowError(Code.RATE_LIMITED, retry_after=wait)
