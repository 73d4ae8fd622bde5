"""People over the wire: signing in, who one is, one's sessions."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, Field, SecretStr, StringConstraints, model_validator

from api.schemas.values import Date, Line, plausible_birth
from models.addresses import MAX_EMAIL, normal_email, normal_phone
from models.base import Id, Model, UtcDatetime, ZoneName
from models.credentials import MAX_PASSWORD, OTP_DIGITS
from models.dependants import Dependant
from models.identity import Account, Role
from models.messaging import Channel
from models.sessions import ACCESS_LIFETIME, STEP_UP_LIFETIME

Email = Annotated[Line, StringConstraints(max_length=MAX_EMAIL), AfterValidator(normal_email)]
Secret = Annotated[SecretStr, Field(min_length=1, max_length=MAX_PASSWORD)]
Code = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=6, max_length=32, pattern=r"^[0-9A-Za-z -]+$")
]


OneTimeCode = Annotated[str, StringConstraints(strip_whitespace=True, pattern=rf"^[0-9]{{{OTP_DIGITS}}}$")]
Phone = Annotated[Line, StringConstraints(max_length=32), AfterValidator(normal_phone)]
Name = Annotated[Line, StringConstraints(max_length=120)]
Relation = Annotated[Line, StringConstraints(max_length=40)]
Token = Annotated[str, StringConstraints(min_length=1, max_length=2000)]


class LogIn(Model):
    """How staff, doctors and admins sign in."""

    email: Email
    password: Secret
    totp: Code | None = Field(default=None, description="A code of the authenticator, or a recovery code.")


class Refresh(Model):
    """The refresh token, good once."""

    refresh_token: Annotated[str, StringConstraints(min_length=1, max_length=200)]


class UserView(BaseModel):
    """Somebody, as they see themselves."""

    id: str
    kind: Literal["patient", "staff"]
    roles: list[Role]
    tenant_id: str = Field(description="`platform` for patients and for those who run the platform.")
    name: str | None
    phone: str | None
    email: str | None
    locale: str
    timezone: str
    preferred_channel: Channel | None = Field(description="By which messages come first; null: the usual order.")

    @classmethod
    def of(cls, account: Account) -> UserView:
        """An account as its owner sees it."""
        return cls(
            id=account.id,
            kind="patient" if account.is_patient else "staff",
            roles=sorted(account.roles),
            tenant_id=account.tenant_id,
            name=account.name,
            phone=account.phone,
            email=account.email,
            locale=account.locale,
            timezone=account.timezone,
            preferred_channel=account.preferred_channel,
        )


class TokenSet(BaseModel):
    """What a sign-in and each refresh give."""

    access_token: str
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105  a scheme, not a secret
    expires_in: int = Field(default=int(ACCESS_LIFETIME.total_seconds()), description="Seconds.")
    refresh_token: str
    user: UserView


class SessionView(BaseModel):
    """One sign-in that goes on."""

    id: str
    current: bool = Field(description="Whether it is the one that asks.")
    agent: str | None = Field(description="What the browser calls itself.")
    signed_in_at: UtcDatetime
    used_at: UtcDatetime = Field(description="When it was last prolonged.")
    expires_at: UtcDatetime


class SessionPage(BaseModel):
    """Somebody's sessions, the latest first."""

    items: list[SessionView]
    next_cursor: str | None = None


class AskForCode(Model):
    """Where the code goes."""

    phone: Phone


class CodeSent(BaseModel):
    """A code is on its way; the same for known and unknown numbers."""

    challenge_id: str
    expires_at: UtcDatetime
    resend_at: UtcDatetime = Field(description="When another code may be asked for.")


class VerifyCode(Model):
    """The code that came by text message."""

    challenge_id: Id
    code: OneTimeCode
    name: Name | None = Field(default=None, description="Of whoever signs in for the first time.")


class InviteStaff(Model):
    """Whom to invite, and as what."""

    email: Email
    role: Literal[Role.DOCTOR, Role.STAFF, Role.ADMIN]
    provider_id: Id | None = Field(default=None, description="A doctor's profile at this clinic.")


class InviteView(BaseModel):
    """An invitation; its link goes by e-mail."""

    id: str
    expires_at: UtcDatetime


class AcceptInvite(Model):
    """Joining: the token of the link, and how one will sign in."""

    token: Token
    name: Name
    password: Secret


class StaffView(BaseModel):
    """Somebody who works at a clinic."""

    id: str
    name: str | None
    email: str | None
    roles: list[Role]
    clinic_ids: list[str]
    provider_id: str | None


class StaffPage(BaseModel):
    """Everybody who works at a clinic, the tenant's admins included."""

    items: list[StaffView]
    next_cursor: str | None = None


class ForgotPassword(Model):
    """Whose password."""

    email: Email


class ResetPassword(Model):
    """The token of the link, and the new password."""

    token: Token
    password: Secret


class TotpEnrolment(BaseModel):
    """For the authenticator; shown once."""

    secret: str
    otpauth_url: str
    recovery_codes: list[str]


class GiveCode(Model):
    """A code of the authenticator, or a recovery code."""

    code: Code


class Nothing(Model):
    """No fields."""


class StepUp(Model):
    """The proof: one's password, or a code that was sent to one's phone."""

    password: Secret | None = None
    challenge_id: Id | None = None
    code: OneTimeCode | None = None

    @model_validator(mode="after")
    def _one_proof(self) -> Self:
        by_code = self.challenge_id is not None and self.code is not None
        half = (self.challenge_id is None) != (self.code is None)
        if half or by_code == (self.password is not None):
            raise ValueError("give either password, or challenge_id and code")
        return self


class StepUpView(BaseModel):
    """Goes into the `Step-Up` header of what asks for it."""

    step_up_token: str
    expires_in: int = Field(default=int(STEP_UP_LIFETIME.total_seconds()), description="Seconds.")


class ChangeMe(Model):
    """What one changes about oneself; what is absent stays."""

    name: Name | None = None
    email: Email | None = Field(default=None, description="Patients only: staff sign in with theirs.")
    locale: Annotated[str, StringConstraints(pattern=r"^[a-z]{2,3}(-[A-Z]{2})?$")] | None = None
    timezone: ZoneName | None = None
    preferred_channel: Channel | None = Field(
        default=None, description="By which messages come first; the others follow where it brings nothing."
    )


class DependantInput(Model):
    """Somebody one books for."""

    name: Name
    date_of_birth: Annotated[Date, AfterValidator(plausible_birth)]
    relation: Relation


class ChangeDependant(Model):
    """What changes; what is absent stays."""

    name: Name | None = None
    date_of_birth: Annotated[Date, AfterValidator(plausible_birth)] | None = None
    relation: Relation | None = None


class DependantView(BaseModel):
    """Somebody one books for."""

    id: str
    name: str
    date_of_birth: Date
    relation: str
    minor: bool = Field(description="Under 18: the account's owner answers for them.")
    guardian: str | None = Field(description="A minor's identified adult.")

    @classmethod
    def of(cls, dependant: Dependant, guardian: str | None) -> DependantView:
        """A dependant as their guardian sees them."""
        minor = dependant.is_minor(datetime.now(UTC).date())
        return cls(
            id=dependant.id,
            name=dependant.name,
            date_of_birth=dependant.date_of_birth,
            relation=dependant.relation,
            minor=minor,
            guardian=guardian if minor else None,
        )


class DependantPage(BaseModel):
    """Those one books for."""

    items: list[DependantView]
    next_cursor: str | None = None
