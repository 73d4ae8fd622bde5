"""Deletions over the wire."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import BaseModel, Field, StringConstraints

from api.deletions import Asked, Certified
from models.base import Id, Model, UtcDatetime
from models.data_classes import RetentionClass
from models.deletions import Deletion, DeletionState, Retained, Words


class AskDeletion(Model):
    """A wish to be forgotten."""

    reason: Words | None = None
    dependant_id: Id | None = Field(
        default=None, description="Somebody whom one books for and answers for, like a child; absent: oneself."
    )


class ConfirmDeletion(Model):
    """The code that was sent to the account's phone."""

    code: Annotated[str, StringConstraints(pattern=r"^[0-9]{6}$")]


class DeletionAsked(BaseModel):
    """What is needed to confirm it, and to see what becomes of it when the account is gone."""

    id: str
    state: DeletionState
    request_token: str = Field(
        description="Keep it: as Bearer token or `?request_token=` it opens this request when the account is gone."
    )
    challenge_id: str

    @classmethod
    def of(cls, asked: Asked) -> Self:
        """As it stands now."""
        deletion, token = asked
        return cls(id=deletion.id, state=deletion.state, request_token=token, challenge_id=deletion.challenge_id)


class RetainedView(BaseModel):
    """What a rule keeps for a time, locked away from every other use."""

    retained_under: RetentionClass
    rule: str
    until: UtcDatetime
    legal_hold: bool = Field(description="Whether a legal hold keeps it longer than its rule would.")
    erased_at: UtcDatetime | None = Field(description="When it went at last.")

    @classmethod
    def of(cls, retained: Retained) -> Self:
        """As it stands now."""
        kept = retained.model_dump(exclude={"hold_id", "own_until"})
        return cls(**kept, legal_hold=retained.hold_id is not None)


class DeletionView(BaseModel):
    """A request and how far it is."""

    id: str
    dependant_id: str | None = Field(description="Whom it is about, if not the account itself.")
    state: DeletionState
    requested_at: UtcDatetime
    confirmed_at: UtcDatetime | None
    grace_until: UtcDatetime | None = Field(description="Until when it may be taken back.")
    restricted_at: UtcDatetime | None = Field(description="Since when the account is closed and nothing of it used.")
    erased_at: UtcDatetime | None
    cancelled_at: UtcDatetime | None
    waits_for: list[str] = Field(description="What has to end before anything is erased.")
    retained: list[RetainedView] = Field(description="What stays for a time, under which rule.")
    certificate_ready: bool
    timezone: str = "UTC"

    @classmethod
    def of(cls, deletion: Deletion) -> Self:
        """As it stands now."""
        shown = deletion.model_dump(include=set(cls.model_fields) - {"retained", "timezone"})
        return cls(
            **shown,
            retained=[RetainedView.of(one) for one in deletion.retained],
            certificate_ready=deletion.certificate is not None,
        )


class DeletionPage(BaseModel):
    """One's requests."""

    items: list[DeletionView]
    next_cursor: str | None = None


class CertificateView(BaseModel):
    """What went, from which store, when; what stays until when; when the last backup is gone too."""

    certificate: dict[str, object] = Field(
        description="Each store's receipts and each class that stays, in plain JSON; what the signature is of."
    )
    signature: str = Field(
        description="A JWS (RFC 7515, type `deletion-certificate+jwt`) of the certificate; it can be checked against "
        "`/.well-known/jwks.json`."
    )

    @classmethod
    def of(cls, certified: Certified) -> Self:
        """As it is downloaded."""
        facts: Mapping[str, object] = certified.facts
        return cls(certificate=dict(facts), signature=certified.signature)
