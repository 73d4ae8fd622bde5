"""Who may open an application: whoever holds its token, and the reviewers."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Final

from fastapi import Depends, Path, Request

from api.guards import Credentials, Requires, authenticated, refuse_unknown_query
from api.services import Wired
from models.application_tokens import PREFIX, Purpose, check_application_token
from models.errors import Code, VisitNowError, not_found
from models.identity import Permission, Principal
from models.ids import APPLICATION_PATTERN
from models.onboarding import OnboardingActor, OnboardingActorKind

_APPLICATION_ID: Final = re.compile(APPLICATION_PATTERN, flags=re.ASCII)

ApplicationId = Annotated[str, Path(description="`app_` and 26 characters.")]


def found_application(application_id: str) -> str:
    """The id, as long as it can be one of ours. Raises `not_found`."""
    if not _APPLICATION_ID.fullmatch(application_id):
        raise not_found()
    return application_id


class RequiresOrApplicant:
    """Like `Requires`, for a route that the holder of the application's own token may call too.

    Raises what `Requires` does; `not_found` for another application's token, as for anybody else's thing.
    """

    def __init__(self, permission: Permission) -> None:
        """The permission that somebody with an account needs."""
        self.permission = permission
        self._requires = Requires(permission)

    async def __call__(
        self, request: Request, services: Wired, credentials: Credentials
    ) -> Principal | OnboardingActor:
        """The caller with the permission, or the applicant."""
        if credentials is None or not credentials.credentials.startswith(f"{PREFIX}."):
            return await self._requires.admit(request, services, await authenticated(services, credentials))
        application_id = found_application(str(request.path_params.get("application_id")))
        try:
            check_application_token(
                services.settings.id_secret,
                Purpose.APPLICANT,
                application_id,
                credentials.credentials,
                datetime.now(UTC),
            )
        except VisitNowError as error:
            if error.code is Code.TOKEN_INVALID:
                raise not_found() from error
            raise
        refuse_unknown_query(request)
        return OnboardingActor(kind=OnboardingActorKind.APPLICANT, id=application_id)


class RequiresApplicant(RequiresOrApplicant):
    """The same for what only the applicant does: no role has its permission, so everybody else is refused."""

    def __init__(self) -> None:
        """Nothing to choose."""
        super().__init__(Permission.APPLICATION_EDIT)

    async def __call__(self, request: Request, services: Wired, credentials: Credentials) -> OnboardingActor:
        """The applicant."""
        caller = await super().__call__(request, services, credentials)
        if isinstance(caller, Principal):
            raise VisitNowError(Code.FORBIDDEN)
        return caller


MayReview = Annotated[Principal, Depends(Requires(Permission.APPLICATION_REVIEW))]
MayOpenApplication = Annotated[Principal | OnboardingActor, Depends(RequiresOrApplicant(Permission.APPLICATION_REVIEW))]
MayEditApplication = Annotated[OnboardingActor, Depends(RequiresApplicant())]
