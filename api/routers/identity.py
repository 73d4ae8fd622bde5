"""Signing in and out, and who one is."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Path, Request

from api.guards import GUARD_CODES, PUBLIC, OwnAccount
from api.problems import problem_responses
from api.schemas.identity import LogIn, Refresh, SessionPage, SessionView, TokenSet, UserView
from api.services import Wired
from api.sessions import Issued
from api.sign_in import Typed, known_to
from models.errors import Code
from models.identity import Subject
from models.sessions import EndReason

BODY: Final = (Code.MALFORMED, Code.TOO_LARGE, Code.UNSUPPORTED_MEDIA_TYPE, Code.INVALID)
SIGN_IN: Final = (*BODY, Code.RATE_LIMITED, Code.UNAVAILABLE)

SessionId = Annotated[str, Path(max_length=100, description="`ses_` and 26 characters.")]

router = APIRouter(prefix="/v1", tags=["sign-in"])


def token_set(issued: Issued) -> TokenSet:
    """What a client gets."""
    return TokenSet(
        access_token=issued.access_token, refresh_token=issued.refresh_token, user=UserView.of(issued.account)
    )


@router.post(
    "/auth/login",
    dependencies=[PUBLIC],
    responses=problem_responses(*SIGN_IN, Code.CREDENTIALS_INVALID, Code.TOTP_REQUIRED),
)
async def login(request: Request, body: LogIn, services: Wired) -> TokenSet:
    """Sign in with e-mail and password: staff, doctors, admins."""
    typed = Typed(body.email, body.password.get_secret_value(), body.totp)
    return token_set(await services.sign_in.log_in(request, typed))


@router.post(
    "/auth/refresh",
    dependencies=[PUBLIC],
    responses=problem_responses(*SIGN_IN, Code.TOKEN_INVALID, Code.REFRESH_REUSED),
)
async def refresh(request: Request, body: Refresh, services: Wired) -> TokenSet:
    """Prolong a session; each refresh token is good once, and a second use ends the session."""
    return token_set(await services.sessions.refresh(request, body.refresh_token))


@router.post("/auth/logout", status_code=204, responses=problem_responses(*GUARD_CODES, Code.NOT_FOUND))
async def logout(request: Request, caller: OwnAccount, services: Wired) -> None:
    """End the session that asks."""
    await services.sessions.log_out(request, caller)


@router.get("/auth/sessions", responses=problem_responses(*GUARD_CODES))
async def sessions(caller: OwnAccount, services: Wired) -> SessionPage:
    """Where one is signed in."""
    return SessionPage(
        items=[
            SessionView(
                id=one.id,
                current=one.id == caller.session_id,
                agent=one.agent,
                signed_in_at=one.signed_in_at,
                used_at=one.rotated_at,
                expires_at=one.expires_at,
            )
            for one in await services.sessions.live(caller)
        ]
    )


@router.delete(
    "/auth/sessions/{session_id}", status_code=204, responses=problem_responses(*GUARD_CODES, Code.NOT_FOUND)
)
async def end_session(request: Request, session_id: SessionId, caller: OwnAccount, services: Wired) -> None:
    """End one of one's sessions; within seconds its tokens are worth nothing."""
    await services.sessions.end(request, caller, session_id, EndReason.REVOKED)


@router.get("/me", responses=problem_responses(*GUARD_CODES))
async def me(caller: OwnAccount, services: Wired) -> UserView:
    """Who one is."""
    return UserView.of(known_to(caller, await services.users.find(Subject(caller.subject), caller.subject)))
