"""Consents over the wire."""

from __future__ import annotations

from pydantic import BaseModel, Field

from api.consents import Receipt, Standing
from models.base import Model, UtcDatetime
from models.consents import Capacity, Consent, ConsentNotice, Language, Means, Purpose


class AnswerConsent(Model):
    """A yes or a no, and which notice was read."""

    granted: bool = Field(description="False takes a yes back; it is as simple as giving it.")
    notice_version: int = Field(ge=1, lt=2**31)
    language: Language = Field(description="In which language the notice was read: `en` or `hi`.")


class NoticeView(ConsentNotice):
    """What is told before the answer."""

    sha256: str = Field(description="Of every word of it; the ledger keeps it beside each answer.")

    @classmethod
    def shown(cls, notice: ConsentNotice) -> NoticeView:
        """A notice as its reader gets it."""
        return cls(**notice.model_dump(), sha256=notice.digest)


class AnswerView(BaseModel):
    """The last answer."""

    id: str
    granted: bool
    notice_version: int
    language: str
    notice_sha256: str
    at: UtcDatetime
    by: str = Field(description="The account that answered.")
    capacity: Capacity = Field(description="`guardian` where it was for a child.")
    means: Means

    @classmethod
    def of(cls, consent: Consent) -> AnswerView:
        """A line of the ledger."""
        return cls(**consent.model_dump(include=set(cls.model_fields)), by=consent.subject_id)


class ConsentView(BaseModel):
    """How one purpose stands."""

    purpose: Purpose
    granted: bool | None = Field(description="What was said last; null: nothing yet.")
    allowed: bool = Field(description="Whether data is used for this now.")
    needs_answer: bool = Field(description="Nothing was ever said, or the notice has changed since: show it.")
    answer: AnswerView | None
    notice_version: int = Field(description="The notice's version of now: what an answer names.")
    notice: NoticeView

    @classmethod
    def of(cls, standing: Standing) -> ConsentView:
        """As the person sees it."""
        return cls(
            purpose=standing.notice.purpose,
            granted=None if standing.last is None else standing.last.granted,
            allowed=standing.allowed,
            needs_answer=standing.needs_answer,
            answer=None if standing.last is None else AnswerView.of(standing.last),
            notice_version=standing.notice.version,
            notice=NoticeView.shown(standing.notice),
        )


class ConsentPage(BaseModel):
    """Every purpose."""

    items: list[ConsentView]
    next_cursor: str | None = None


class ReceiptView(BaseModel):
    """The proof of an answer, for the person to keep."""

    purpose: Purpose
    about: str = Field(description="Whose data it is about.")
    answer: AnswerView
    notice: NoticeView
    signature: str = Field(
        description="A JWS (RFC 7515, type `consent-receipt+jwt`) of the answer and the notice's hash; it can be "
        "checked against `/.well-known/jwks.json`."
    )

    @classmethod
    def of(cls, receipt: Receipt) -> ReceiptView:
        """As it is downloaded."""
        return cls(
            purpose=receipt.consent.purpose,
            about=receipt.consent.about,
            answer=AnswerView.of(receipt.consent),
            notice=NoticeView.shown(receipt.notice),
            signature=receipt.signature,
        )
