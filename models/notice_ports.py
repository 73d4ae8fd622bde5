"""What messages and notices ask of the outside, as `models.ports` does for the rest."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from models.identity import Account, Scope
from models.messaging import Begun, Brand, Delivered, Letter, Message, MessageState, Standing, Word
from models.notices import Ending, Notice, NoticeRecord
from models.templates import OwnTemplate


class Notices(Protocol):
    """The notices' documents: which thing was to be told to whom, and how that ended."""

    async def open(self, scope: Scope, notice: Notice, at: datetime) -> NoticeRecord:
        """Keep a notice once per id; the record as it stands."""
        ...

    async def find(self, scope: Scope, notice_id: str) -> NoticeRecord | None:
        """One notice."""
        ...

    async def of_appointment(self, scope: Scope, appointment_id: str, recipient_id: str | None) -> list[NoticeRecord]:
        """What was to be told about an appointment, to one person or to everybody, oldest first."""
        ...

    async def close(self, scope: Scope, notice_id: str, ending: Ending, at: datetime) -> None:
        """Note how its telling ended, once."""
        ...


class Accounts(Protocol):
    """Who people are and how they can be reached."""

    async def find(self, scope: Scope, user_id: str) -> Account | None:
        """One account; what was erased of it is None."""
        ...


class Messenger(Protocol):
    """How people are written to."""

    async def send(self, message: Message) -> None:
        """Keep the message and see to its delivery, once per id; returns before it is delivered."""
        ...


class Notifier(Protocol):
    """How people are told about appointments; workflows use `workflows.notices.notify`, everybody else this."""

    async def notify(self, notice: Notice) -> None:
        """See to it that it is told, once per notice; returns before it is. The channel is chosen when it is sent."""
        ...


class Notifications(Protocol):
    """The messages' documents, their words sealed."""

    async def keep(self, scope: Scope, message: Message, at: datetime) -> None:
        """Keep a message once per id."""
        ...

    async def begin(self, scope: Scope, message_id: str, at: datetime) -> Begun | None:
        """Note that a try begins; None where it is no longer to be sent: sent, failed, expired or not there."""
        ...

    async def not_taken(self, scope: Scope, message_id: str, at: datetime) -> None:
        """Note that the last try certainly sent nothing."""
        ...

    async def settle(self, scope: Scope, message_id: str, word: Word, at: datetime) -> MessageState | None:
        """Move it forward, never back; the state as it stands, None where there is no such message."""
        ...

    async def state(self, scope: Scope, message_id: str) -> MessageState | None:
        """What became of it so far."""
        ...

    async def tries(self, scope: Scope, notice_ids: Sequence[str]) -> Sequence[Delivered]:
        """What became of the channels that were tried for these notices, oldest first."""
        ...

    async def standing(self, scope: Scope, message_id: str) -> Standing | None:
        """How far it is and what it said."""
        ...

    async def of_provider(self, scope: Scope, provider_id: str) -> str | None:
        """The id of the message that the provider calls by that id."""
        ...


class Texts(Protocol):
    """The words of messages."""

    def language(self, locale: str) -> str:
        """The language that somebody of that locale is written to in."""
        ...

    def html(self, text: str, brand: Brand, language: str) -> str:
        """An e-mail's text with its sender's looks."""
        ...

    def letter(self, message: Message, own: OwnTemplate | None = None) -> Letter:
        """What a message says, in its language or else in English, or in a tenant's own words."""
        ...


class Carrier(Protocol):
    """How messages leave. Raises `DeliveryError` where one is not taken, `UnavailableError` where that is unknown."""

    async def send(self, message: Message, letter: Letter) -> Word:
        """Hand it over; the answer says under which id and how far it is."""
        ...

    async def find(self, message: Message, letter: Letter, since: datetime) -> Word | None:
        """The message as the carrier has it, if it took it after that instant; None also where it cannot tell."""
        ...

    async def fetch(self, message: Message, provider_id: str) -> Word | None:
        """What became of a message that it took; None where it cannot tell."""
        ...
