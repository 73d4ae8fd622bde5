"""Signing in and out, and who one is."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import Path, Request

from api.guards import GUARD_CODES, PUBLIC, OwnAccount, OwnPassword, OwnSessions
from api.new_passwords import new_password
from api.problems import problem_responses
from api.routing import Router
from api.schemas.identity import (
    AskForCode,
    CodeSent,
    ForgotPassword,
    GiveCode,
    LogIn,
    Nothing,
    Refresh,
    ResetPassword,
    SessionPage,
    SessionView,
    StepUp,
    StepUpView,
    TokenSet,
    TotpEnrolment,
    VerifyCode,
)
from api.services import Wired
from api.sign_in import Typed
from api.token_sets import token_set
from models.errors import Code
from models.sessions import EndReason

BODY: Final = (Code.MALFORMED, Code.TOO_LARGE, Code.UNSUPPORTED_MEDIA_TYPE, Code.INVALID)
SIGN_IN: Final = (*BODY, Code.RATE_LIMITED, Code.UNAVAILABLE)

SessionId = Annotated[str, Path(max_length=100, description="`ses_` and 26 characters.")]

router = Router(prefix="/v1", tags=["sign-in"])


@router.post(
    "/auth/login",
    dependencies=[PUBLIC],
    responses=problem_responses(*SIGN_IN, Code.CREDENTIALS_INVALID, Code.TOTP_REQUIRED),
)
async def login(request: Request, body: LogIn, services: Wired) -> TokenSet:
    """Sign in with e-mail and password: staff, doctors, admins."""
    typed = Typed(body.email, body.password.get_secret_value(), body.totp)
    return token_set(await services.sign_in.log_in(request, typed))


@router.post("/auth/otp", status_code=202, dependencies=[PUBLIC], responses=problem_responses(*SIGN_IN))
async def request_code(request: Request, body: AskForCode, services: Wired) -> CodeSent:
    """Send a code to a phone; the answer is the same whether the number is known."""
    sent = await services.phone_sign_in.send(request, body.phone)
    challenge = sent.challenge
    return CodeSent(challenge_id=challenge.id, expires_at=challenge.expires_at, resend_at=sent.resend_at)


@router.post(
    "/auth/otp/verify",
    dependencies=[PUBLIC],
    responses=problem_responses(*SIGN_IN, Code.OTP_INVALID, Code.OTP_EXHAUSTED),
)
async def verify_code(request: Request, body: VerifyCode, services: Wired) -> TokenSet:
    """Sign in with the code; a number's first sign-in makes its account."""
    return token_set(await services.phone_sign_in.verify(request, body.challenge_id, body.code, body.name))


@router.post("/auth/password/forgot", status_code=202, dependencies=[PUBLIC], responses=problem_responses(*SIGN_IN))
async def forgot_password(request: Request, body: ForgotPassword, services: Wired) -> None:
    """Send a link, if the address is anybody's; the answer is always the same."""
    await services.own_accounts.forgot(request, body.email)


@router.post(
    "/auth/password/reset",
    status_code=204,
    dependencies=[PUBLIC],
    responses=problem_responses(*SIGN_IN, Code.LINK_SPENT),
)
async def reset_password(request: Request, body: ResetPassword, services: Wired) -> None:
    """Set a new password with the link's token; every session ends."""
    await services.own_accounts.reset(request, body.token, new_password(body.password))


@router.post(
    "/auth/step-up",
    responses=problem_responses(*GUARD_CODES, *SIGN_IN, Code.CREDENTIALS_INVALID, Code.OTP_INVALID, Code.OTP_EXHAUSTED),
)
async def step_up(request: Request, body: StepUp, caller: OwnAccount, services: Wired) -> StepUpView:
    """Prove again who one is, for what asks for a `Step-Up` header; good for five minutes in this session."""
    if body.password is not None:
        await services.sign_in.prove(request, caller, body.password.get_secret_value())
    elif body.challenge_id is not None and body.code is not None:
        await services.phone_sign_in.prove(request, caller, body.challenge_id, body.code)
    return StepUpView(step_up_token=await services.own_accounts.step_up(request, caller))


@router.post("/auth/totp", responses=problem_responses(*GUARD_CODES, *BODY, Code.STATE_CONFLICT))
async def enrol_totp(body: Nothing, caller: OwnPassword, services: Wired) -> TotpEnrolment:
    """Begin with an authenticator; it counts once a code of it was confirmed."""
    del body
    enrolment = await services.own_accounts.enrol(caller)
    return TotpEnrolment(
        secret=enrolment.secret, otpauth_url=enrolment.url, recovery_codes=list(enrolment.recovery_codes)
    )


@router.post(
    "/auth/totp/confirm",
    status_code=204,
    responses=problem_responses(*GUARD_CODES, *SIGN_IN, Code.CREDENTIALS_INVALID),
)
async def confirm_totp(request: Request, body: GiveCode, caller: OwnPassword, services: Wired) -> None:
    """Let the authenticator count from now on."""
    await services.own_accounts.confirm(request, caller, body.code)


@router.delete(
    "/auth/totp", status_code=204, responses=problem_responses(*GUARD_CODES, *SIGN_IN, Code.CREDENTIALS_INVALID)
)
async def drop_totp(request: Request, body: GiveCode, caller: OwnPassword, services: Wired) -> None:
    """Do without the authenticator again."""
    await services.own_accounts.take_off(request, caller, body.code)


@router.post(
    "/auth/refresh",
    dependencies=[PUBLIC],
    responses=problem_responses(*SIGN_IN, Code.TOKEN_INVALID, Code.REFRESH_REUSED),
)
async def refresh(request: Request, body: Refresh, services: Wired) -> TokenSet:
    """Prolong a session; each refresh token is good once, and a second use ends the session."""
    return token_set(await services.sessions.refresh(request, body.refresh_token))


@router.post("/auth/logout", status_code=204, responses=problem_responses(*GUARD_CODES, Code.NOT_FOUND))
async def logout(request: Request, caller: OwnSessions, services: Wired) -> None:
    """End the session that asks."""
    await services.sessions.log_out(request, caller)


@router.get("/auth/sessions", responses=problem_responses(*GUARD_CODES))
async def sessions(caller: OwnSessions, services: Wired) -> SessionPage:
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
async def end_session(request: Request, session_id: SessionId, caller: OwnSessions, services: Wired) -> None:
    """End one of one's sessions; within seconds its tokens are worth nothing."""
    await services.sessions.end(request, caller, session_id, EndReason.REVOKED)
