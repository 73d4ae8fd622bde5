"""Who may call a route: each one names a permission or says that it is public, as an argument of its signature."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Final

from fastapi import Depends, Header, Query, Request, Security
from fastapi._compat import ModelField
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel

from api.problems import invalid
from api.services import Services, Wired
from models.booking import Appointment
from models.deletions import REQUEST_TOKEN
from models.errors import Code, VisitNowError, not_found
from models.identity import PLATFORM, Permission, Principal, System
from models.providers import Clinic, Provider

BEARER: Final = HTTPBearer(auto_error=False, bearerFormat="JWT", description="An access token (EdDSA).")
Credentials = Annotated[HTTPAuthorizationCredentials | None, Security(BEARER)]

GUARD_CODES: Final = (
    Code.TOKEN_MISSING, Code.TOKEN_INVALID, Code.TOKEN_EXPIRED, Code.FORBIDDEN, Code.ACCOUNT_LEAVING, Code.INVALID,
    Code.UNAVAILABLE,
)  # fmt: skip
"""What every guarded route may answer beside its own."""

_REFUSING: Final = System("whether somebody is refused their own practice's thing or knows nothing of it")


class Requires:
    """A dependency that gives the caller, whose roles include the permission.

    Raises `token_missing`, `token_invalid`, `token_expired`; `forbidden` and `account_leaving`, which are audited;
    `not_found` where the Host's clinic is another tenant's, or the path names nothing of the caller's own practice;
    `invalid` for a query parameter that the route does not have.
    """

    def __init__(self, permission: Permission) -> None:
        """The permission that the route needs."""
        self.permission = permission

    async def __call__(self, request: Request, services: Wired, credentials: Credentials) -> Principal:
        """The caller."""
        return await self.admit(request, services, await authenticated(services, credentials))

    async def admit(self, request: Request, services: Wired, principal: Principal) -> Principal:
        """The caller, now that it is known who that is."""
        if self.permission not in principal.permissions:
            await services.audit.refusal(request, principal, self.permission)
            if principal.leaving:
                raise VisitNowError(Code.ACCOUNT_LEAVING)
            if await _is_elsewhere(services, request.path_params, principal):
                raise not_found()
            raise VisitNowError(Code.FORBIDDEN)
        await services.hosts.agree(request.headers.get("host", ""), principal)
        refuse_unknown_query(request)
        return principal


async def _is_elsewhere(services: Services, named: Mapping[str, Any], principal: Principal) -> bool:
    """Whether the path names what is not of the caller's own practice: of that a role says nothing, not even no."""
    if principal.tenant_id == PLATFORM:
        return False
    found: Appointment | Clinic | Provider | None
    if (appointment_id := named.get("appointment_id")) is not None:
        found = await services.appointments.find(_REFUSING, appointment_id, open_sealed=False)
    elif (provider_id := named.get("provider_id")) is not None:
        found = (await services.directory.profiles(_REFUSING, [provider_id])).get(provider_id)
    elif (clinic_id := named.get("clinic_id")) is not None:
        found = (await services.directory.clinics(_REFUSING, [clinic_id])).get(clinic_id)
    else:
        return False
    return found is None or found.tenant_id != principal.tenant_id


async def authenticated(services: Wired, credentials: HTTPAuthorizationCredentials | None) -> Principal:
    """Who a request's token speaks for, whose session still goes on.

    Raises `token_missing`, `token_invalid` or `token_expired`.
    """
    if credentials is None:
        raise VisitNowError(Code.TOKEN_MISSING)
    principal = services.verifier.verify(credentials.credentials, datetime.now(UTC))
    return await services.sessions.check(principal)


async def public(request: Request) -> None:
    """The guard of a route that anybody may call; like every guard it refuses unknown query parameters."""
    refuse_unknown_query(request)


async def preflight() -> None:
    """The guard of a browser's preflight: it carries no credentials, and the page's own parameters are no matter."""


PUBLIC: Final = Depends(public)


def refuse_unknown_query(request: Request) -> None:
    """Raise `invalid` for a query parameter that the route does not have or that comes twice."""
    if not request.scope["query_string"]:
        return
    declared = _query_parameters(request.scope["route"])
    seen = set()
    for name, _ in request.query_params.multi_items():
        if name not in declared:
            raise invalid("query", "extra_forbidden", "There is no such parameter")
        if name in seen:
            raise invalid(name, "repeated", "The parameter comes twice")
        seen.add(name)


_QUERY_PARAMETERS: Final[dict[str, frozenset[str]]] = {}


def _query_parameters(route: APIRoute) -> frozenset[str]:
    """What a route declares, looked up once: routes compare by value and so cannot be keys themselves."""
    known = _QUERY_PARAMETERS.get(route.unique_id)
    if known is None:
        known = _QUERY_PARAMETERS[route.unique_id] = frozenset(
            name for dependant in _flat(route.dependant) for field in dependant.query_params for name in _names(field)
        )
    return known


def _flat(dependant: Dependant) -> Iterable[Dependant]:
    yield dependant
    for inner in dependant.dependencies:
        yield from _flat(inner)


def _names(field: ModelField) -> Iterable[str]:
    """The name of one parameter, or those of all that a model bundles."""
    bundle = field.field_info.annotation
    if isinstance(bundle, type) and issubclass(bundle, BaseModel):
        return [info.alias or name for name, info in bundle.model_fields.items()]
    return [field.alias]


MayPlace = Annotated[Principal, Depends(Requires(Permission.APPOINTMENT_PLACE))]
MayRead = Annotated[Principal, Depends(Requires(Permission.APPOINTMENT_READ))]
MayPay = Annotated[Principal, Depends(Requires(Permission.APPOINTMENT_PAY))]
MayCancel = Annotated[Principal, Depends(Requires(Permission.APPOINTMENT_CANCEL))]
MayReschedule = Annotated[Principal, Depends(Requires(Permission.APPOINTMENT_RESCHEDULE))]
MayReceive = Annotated[Principal, Depends(Requires(Permission.APPOINTMENT_WALK_IN))]
MayCheckIn = Annotated[Principal, Depends(Requires(Permission.APPOINTMENT_CHECK_IN))]
MayConsult = Annotated[Principal, Depends(Requires(Permission.APPOINTMENT_CONSULT))]
MayReadRefunds = Annotated[Principal, Depends(Requires(Permission.REFUND_READ))]
MayRefund = Annotated[Principal, Depends(Requires(Permission.REFUND_CREATE))]
MayResend = Annotated[Principal, Depends(Requires(Permission.MESSAGE_RESEND))]
MayReadTemplates = Annotated[Principal, Depends(Requires(Permission.TEMPLATE_READ))]
MayManageTemplates = Annotated[Principal, Depends(Requires(Permission.TEMPLATE_MANAGE))]
MayManageSettings = Annotated[Principal, Depends(Requires(Permission.SETTINGS_MANAGE))]
MayReadHours = Annotated[Principal, Depends(Requires(Permission.AVAILABILITY_READ))]
MayPublish = Annotated[Principal, Depends(Requires(Permission.AVAILABILITY_PUBLISH))]
OwnPassword = Annotated[Principal, Depends(Requires(Permission.PASSWORD_OWN))]
MayBookFor = Annotated[Principal, Depends(Requires(Permission.DEPENDANT_MANAGE))]
OwnConsents = Annotated[Principal, Depends(Requires(Permission.CONSENT_OWN))]
MayReadDay = Annotated[Principal, Depends(Requires(Permission.DAY_READ))]
OwnSessions = Annotated[Principal, Depends(Requires(Permission.SESSION_OWN))]
OwnDeletions = Annotated[Principal, Depends(Requires(Permission.DELETION_OWN))]
MayManageHolds = Annotated[Principal, Depends(Requires(Permission.LEGAL_HOLD_MANAGE))]
OwnRights = Annotated[Principal, Depends(Requires(Permission.RIGHTS_OWN))]
MayAnswerRights = Annotated[Principal, Depends(Requires(Permission.RIGHTS_ANSWER))]
OwnExport = Annotated[Principal, Depends(Requires(Permission.EXPORT_OWN))]
MayFetchTenantExport = Annotated[Principal, Depends(Requires(Permission.EXPORT_TENANT))]
MayReview = Annotated[Principal, Depends(Requires(Permission.REVIEW_WRITE))]
MayModerate = Annotated[Principal, Depends(Requires(Permission.REVIEW_MODERATE))]
OwnAccessLog = Annotated[Principal, Depends(Requires(Permission.ACCESS_LOG_OWN))]
MayReadAudit = Annotated[Principal, Depends(Requires(Permission.AUDIT_READ))]
MayReadStaff = Annotated[Principal, Depends(Requires(Permission.STAFF_READ))]
MayDoTasks = Annotated[Principal, Depends(Requires(Permission.TASK_DO))]
MayManageStaff = Annotated[Principal, Depends(Requires(Permission.STAFF_MANAGE))]
OwnAccount = Annotated[Principal, Depends(Requires(Permission.ACCOUNT_OWN))]
MayWriteSummary = Annotated[Principal, Depends(Requires(Permission.SUMMARY_WRITE))]
MayReadRecord = Annotated[Principal, Depends(Requires(Permission.RECORD_READ))]
MayAddDocument = Annotated[Principal, Depends(Requires(Permission.DOCUMENT_ADD))]
MayOperate = Annotated[Principal, Depends(Requires(Permission.OPERATIONS_READ))]


class RequiresStepUp(Requires):
    """Like `Requires`, for what one has to prove again first that it is oneself.

    Raises what `Requires` does, and `step_up_required`.
    """

    async def __call__(
        self,
        request: Request,
        services: Wired,
        credentials: Credentials,
        proof: Annotated[str | None, Header(alias="Step-Up", description="What `POST /v1/auth/step-up` gave.")] = None,
    ) -> Principal:
        """The caller."""
        caller = await self.admit(request, services, await authenticated(services, credentials))
        services.own_accounts.check_step_up(caller, proof)
        return caller


OwnExportAnew = Annotated[Principal, Depends(RequiresStepUp(Permission.EXPORT_OWN))]
MayExportTenant = Annotated[Principal, Depends(RequiresStepUp(Permission.EXPORT_TENANT))]


class RequiresOrTicket:
    """Like `Requires`, for a stream that a browser opens with a single-use ticket, since it can send no header.

    Raises what `Requires` does, `ticket_invalid` for a ticket that is spent, unknown or another stream's, and
    `unavailable` where tickets cannot be looked up.
    """

    def __init__(self, permission: Permission, parameter: str) -> None:
        """The permission that the route needs, and the parameter of its path that says what is watched."""
        self.permission = permission
        self._parameter = parameter
        self._requires = Requires(permission)

    async def __call__(
        self,
        request: Request,
        services: Wired,
        credentials: Credentials,
        ticket: Annotated[str | None, Query(max_length=128, description="In place of a token; good once.")] = None,
    ) -> Principal:
        """The caller, or whom the ticket was given to."""
        if credentials is None and ticket is not None:
            opened = await services.tickets.redeem(ticket)
            if opened is None or opened.target_id != request.path_params.get(self._parameter):
                raise VisitNowError(Code.TICKET_INVALID)
            principal = await services.sessions.check(opened.principal)
            return await self._requires.admit(request, services, principal)
        return await self._requires.admit(request, services, await authenticated(services, credentials))


class RequiresOrRequestToken(Requires):
    """Like `Requires`, for what whoever holds a deletion's own token may do too, since the account will be gone.

    Raises what `Requires` does; `not_found` for another deletion's token, as for anybody else's thing.
    """

    async def __call__(
        self,
        request: Request,
        services: Wired,
        credentials: Credentials,
        request_token: Annotated[
            str | None, Query(max_length=128, description="In place of a token: what asking for the deletion gave.")
        ] = None,
    ) -> Principal:
        """The caller, or whoever has asked for the deletion."""
        given = credentials.credentials if credentials is not None else request_token
        if given is None or not given.startswith(f"{REQUEST_TOKEN}."):
            return await super().__call__(request, services, credentials)
        holder = await services.deletions.holder(str(request.path_params.get("deletion_id")), given)
        return await self.admit(request, services, holder)


MayWatch = Annotated[Principal, Depends(RequiresOrTicket(Permission.APPOINTMENT_READ, "appointment_id"))]
MayWatchDay = Annotated[Principal, Depends(RequiresOrTicket(Permission.DAY_READ, "clinic_id"))]


OwnDeletion = Annotated[Principal, Depends(RequiresOrRequestToken(Permission.DELETION_OWN))]


class MayUseCodec(Requires):
    """The guard of the codec server: a browser that signed in at its page, or a token of a platform's admin.

    Other query parameters are the Temporal UI's own business.

    Raises `token_missing`, `token_invalid`, `token_expired`; `forbidden`, which is audited; `step_up_required` for the
    token of somebody whose sign-in is long ago.
    """

    async def __call__(
        self,
        request: Request,
        services: Wired,
        credentials: Credentials,
        proof: Annotated[str | None, Header(alias="Step-Up", description="Where one signed in long ago.")] = None,
    ) -> Principal:
        """Who reads or writes payloads."""
        if credentials is None:
            principal = await services.codec_desk.reader(request)
        else:
            principal = await authenticated(services, credentials)
        if self.permission not in principal.permissions:
            await services.audit.refusal(request, principal, self.permission)
            raise VisitNowError(Code.FORBIDDEN)
        if credentials is not None and not await services.codec_desk.is_fresh(principal):
            services.own_accounts.check_step_up(principal, proof)
        return principal


MayReadPayloads = Annotated[Principal, Depends(MayUseCodec(Permission.CODEC_USE))]
