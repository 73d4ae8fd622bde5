"""What the telling of notices asks of the outside, as `models.ports` does for the rest."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from models.identity import Account, Scope
from models.notices import Ending, Notice, NoticeRecord


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
