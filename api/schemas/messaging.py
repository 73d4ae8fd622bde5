"""What people are told, over the wire: the log of messages, and the words of templates."""

from __future__ import annotations

from pydantic import BaseModel, Field

from models.base import Model, UtcDatetime
from models.messaging import Channel, Delivered, MessageState, Template
from models.notices import NoticeRecord, NoticeState
from models.templates import OwnTemplate, Registered, TemplateLanguage, Words


class LogLine(BaseModel):
    """One line of a channel's log."""

    at: UtcDatetime
    what: str = Field(description="`tried`, `not_taken`, or the state that it came into.")
    error_code: str | None


class ChannelView(BaseModel):
    """One channel that was tried for a message."""

    channel: Channel
    state: MessageState
    error_code: str | None = Field(description="The carrier's own code, `erased` or null.")
    attempts: int
    uncertain: int = Field(description="Of these, how many followed one whose outcome nobody knew.")
    created_at: UtcDatetime
    updated_at: UtcDatetime
    log: list[LogLine]

    @classmethod
    def of(cls, delivered: Delivered) -> ChannelView:
        """A try."""
        return cls.model_validate(delivered.model_dump(exclude={"id", "notice_id"}))


class MessageView(BaseModel):
    """One thing that somebody was to be told; its channels are tries of one message. What it said is not shown."""

    id: str
    template: Template
    recipient_id: str
    state: NoticeState
    reason: str | None = Field(description="Why nobody was told.")
    created_at: UtcDatetime
    expires_at: UtcDatetime
    channels: list[ChannelView]

    @classmethod
    def of(cls, record: NoticeRecord, tries: list[Delivered]) -> MessageView:
        """A notice with its tries; a receipt may have come after its telling had ended."""
        arrived = any(one.state is MessageState.DELIVERED for one in tries)
        return cls(
            id=record.notice.id,
            template=record.notice.template,
            recipient_id=record.notice.recipient_id,
            state=NoticeState.DELIVERED if arrived else record.state,
            reason=record.reason,
            created_at=record.created_at,
            expires_at=record.notice.expires_at,
            channels=[ChannelView.of(one) for one in tries],
        )


class MessageList(BaseModel):
    """The messages about one appointment, oldest first; there are never more than a page of them."""

    items: list[MessageView]
    next_cursor: None = None


class ResentView(BaseModel):
    """The message that was begun."""

    id: str


class TemplateView(BaseModel):
    """What is said in one language, and what may be said."""

    key: Template
    language: str
    version: int = Field(description="0: the words that everybody has who has none of their own. It is the ETag.")
    words: Words
    registered: Registered
    variables: list[str] = Field(description="What the words may name.")
    promotional: bool = Field(description="Whether it keeps to the hours of what nobody asked for.")
    changed_by: str | None
    changed_at: UtcDatetime | None

    @classmethod
    def of(
        cls, own: OwnTemplate | None, key: Template, language: str, words: Words, rules: tuple[list[str], bool]
    ) -> TemplateView:
        """A tenant's own words, or else everybody's; `rules` are the variables and whether it is promotional."""
        return cls(
            key=key,
            language=language,
            version=own.version if own else 0,
            words=own.words if own else words,
            registered=own.registered if own else Registered(),
            variables=rules[0],
            promotional=rules[1],
            changed_by=own.changed_by if own else None,
            changed_at=own.changed_at if own else None,
        )


class TemplateList(BaseModel):
    """Every template in every language that there are words in."""

    items: list[TemplateView]
    next_cursor: None = None


class TemplateInput(Registered):
    """A tenant's own words in one language."""

    language: TemplateLanguage
    words: Words


class PreviewInput(Model):
    """What is looked at: these words, or without any those that are said now."""

    language: TemplateLanguage = "en"
    words: Words | None = None


class PreviewView(BaseModel):
    """How it would look, filled with the example of a visit."""

    short: str
    segments: int = Field(description="How many text messages the short one is (GSM 03.38 or UCS-2).")
    subject: str
    text: str
