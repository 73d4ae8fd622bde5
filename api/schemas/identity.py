"""People over the wire: signing in, who one is, one's sessions."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, Field, SecretStr, StringConstraints

from api.schemas.values import Line
from models.addresses import MAX_EMAIL, normal_email
from models.base import Model, UtcDatetime
from models.credentials import MAX_PASSWORD
from models.identity import Account, Role
from models.sessions import ACCESS_LIFETIME

Email = Annotated[Line, StringConstraints(max_length=MAX_EMAIL), AfterValidator(normal_email)]
Secret = Annotated[SecretStr, Field(min_length=1, max_length=MAX_PASSWORD)]
Code = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=6, max_length=32, pattern=r"^[0-9A-Za-z -]+$")
]


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
