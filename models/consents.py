"""What people have agreed to: one question for every step that needs it, answered from a ledger of their answers.

An answer is to one version of a notice (Digital Personal Data Protection Rules 2025, rule 3). Nothing is ever changed
in the ledger: saying something else later is another line, and a no is as easy as a yes (the Act, section 6(4)).
"""

from __future__ import annotations

import hashlib
import json
from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field, StringConstraints

from models.base import Id, Model, UtcDatetime


class Purpose(StrEnum):
    """What personal data is used for (Digital Personal Data Protection Act 2023, sections 5 to 7)."""

    CARE = "care"
    """To find, hold, pay and keep one's appointments: what was asked for, so it is assumed until withdrawn."""
    FOLLOW_UP = "follow_up"
    """To ask how a visit was and to remind of the next one: likewise."""
    WHATSAPP = "whatsapp"
    """To be written to on WhatsApp: only after a yes."""
    PROMOTION = "promotion"
    """To be told of offers: only after a yes."""


ASSUMED = frozenset({Purpose.CARE, Purpose.FOLLOW_UP})
"""Where nothing was said: the person gave the data for that very purpose and has not objected (section 7(a))."""

OF_DEPENDANTS: Final = (Purpose.CARE, Purpose.FOLLOW_UP)
"""What is asked about those one books for; messages go to whoever has the account, and no child is advertised to."""

_THE_READERS: Final = frozenset({Purpose.CARE, Purpose.WHATSAPP})
"""What concerns whoever has the account alone: to hear of a visit that they have booked, and by which way."""

LANGUAGES: Final = ("en", "hi")
"""What notices are written in: English and languages of the Constitution's Eighth Schedule (section 5(3))."""

Language = Annotated[str, StringConstraints(pattern="^[a-z]{2,3}$")]
Words = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2000)]


class ConsentNotice(Model):
    """One version of what a person is told before they answer, itemised as rule 3 wants; it stands by itself."""

    purpose: Purpose
    version: int = Field(ge=1)
    language: Language
    title: Words
    use: Words = Field(description="What the data is used for, and nothing else.")
    data: tuple[Words, ...] = Field(min_length=1, description="Each kind of data that is used.")
    services: tuple[Words, ...] = Field(min_length=1, description="What is offered with it.")
    without: Words = Field(description="What a no means.")
    withdraw: Words = Field(description="How to take a yes back.")
    rights: Words = Field(description="How to see, correct and erase one's data.")
    complain: Words = Field(description="How to complain, to us and to the Data Protection Board.")

    @property
    def digest(self) -> str:
        """The hash of every word of it: what an answer was given to."""
        text = json.dumps(self.model_dump(mode="json"), ensure_ascii=False, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


class Capacity(StrEnum):
    """As what somebody answers."""

    SELF = "self"
    GUARDIAN = "guardian"
    """For a child, who cannot answer (section 9(1))."""
    REPRESENTATIVE = "representative"
    """For an adult whom they book for and who has no account."""


class Means(StrEnum):
    """How an answer reached us."""

    ACCOUNT = "account"
    """Signed in."""
    LINK = "link"
    """By a link in a message."""
    REPLY = "reply"
    """By a word sent back to a message."""


class Answer(Model):
    """What somebody says to one notice."""

    subject_id: Id
    """The account that answers."""
    about: Id
    """Whose data it is about: the account itself, or somebody whom it books for."""
    purpose: Purpose
    granted: bool
    notice_version: int
    language: Language
    notice_sha256: str
    means: Means = Means.ACCOUNT
    capacity: Capacity = Capacity.SELF


class Consent(Answer):
    """A line of the ledger: an answer, which of them it is, and when it was given."""

    id: Id
    number: int = Field(ge=1)
    """Counts the answers about one person and purpose, without gaps; the highest is the one that holds."""
    at: UtcDatetime

    @property
    def answer(self) -> Answer:
        """What was said."""
        return Answer.model_validate(self.model_dump(include=set(Answer.model_fields)))


def holds(purpose: Purpose, last: Consent | None, version: int) -> bool:
    """Whether data may be used for that now, after the last answer, where `version` is the notice's of today.

    A no holds whatever the notice says later. A yes to an older notice is none to the new one, so what needs a yes has
    to be asked again.
    """
    if last is None:
        return purpose in ASSUMED
    return last.granted and (purpose in ASSUMED or last.notice_version >= version)


def whose_answers(purpose: Purpose, account: str, dependant: str | None) -> tuple[str, ...]:
    """About whom an answer counts before an account is told of a visit; every one of them must allow it.

    What a dependant's visit is used for beyond the visit itself needs their answer beside the account's own, and a no
    to either ends it (the Act, section 6(4)). Where nobody was asked about them it is as everywhere: to follow up is
    assumed, and an offer, which is never asked about them, is never made because of their visits (section 9(3)).
    """
    return (account,) if dependant is None or purpose in _THE_READERS else (account, dependant)


def needs_answer(last: Consent | None, version: int) -> bool:
    """Whether the person is to be shown the notice of today, since they have not answered this one."""
    return last is None or last.notice_version < version
