"""Steps around a request by right: the clock's marks, and the word that it was answered. Payloads carry ids only."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from pydantic import Field
from temporalio import activity

from activities.failures import typed_failures
from models.base import Model, UtcDatetime
from models.due_clock import due_letter
from models.identity import PLATFORM, Account, Subject, Tenant
from models.messaging import Message, Template
from models.notice_ports import Accounts, Messenger
from models.rights import RightsRef
from models.rights_ports import RightsRequests

WORTH: Final = timedelta(days=3)
"""How long it is tried to tell somebody."""


class ReachMark(Model):
    """The clock of a request is so far."""

    about: RightsRef
    percent: int = Field(ge=1, le=100)
    at: UtcDatetime


class TellAnswer(Model):
    """Somebody has answered."""

    about: RightsRef
    at: UtcDatetime


class RightsActivities:
    """Warns those who answer, and tells whoever asked."""

    def __init__(
        self,
        requests: RightsRequests,
        accounts: Accounts,
        messenger: Messenger,
        *,
        public_url: str,
        officers: str | None,
    ) -> None:
        """`officers` is the mailbox of those who see to it that requests are answered in time."""
        self._requests = requests
        self._accounts = accounts
        self._messenger = messenger
        self._public_url = public_url
        self._officers = officers

    @activity.defn(name="rights.reach")
    async def reach(self, step: ReachMark) -> bool:
        """Note the mark and write to the officers; False where it was answered meanwhile."""
        about = step.about
        with typed_failures():
            waits = await self._requests.reach(Tenant(about.tenant_id), about.request_id, step.percent)
            if waits and self._officers is not None:
                letter = due_letter(self._officers, about.request_id, step.percent, about.due_at, step.at + WORTH)
                await self._messenger.send(letter)
        return waits

    @activity.defn(name="rights.tell")
    async def tell(self, step: TellAnswer) -> None:
        """Tell whoever asked that there is an answer, not what it says; who was erased meanwhile is not told."""
        about = step.about
        with typed_failures():
            account = await self._accounts.find(Subject(about.subject_id), about.subject_id)
            message = None if account is None else self._message(about, account, step.at)
            if message is not None:
                await self._messenger.send(message)

    def _message(self, about: RightsRef, account: Account, at: datetime) -> Message | None:
        if account.surest_address is None or account.removed_at is not None:
            return None
        channel, to = account.surest_address
        return Message(
            id=f"msg_{about.request_id}_answered",
            tenant_id=PLATFORM,
            subject_id=about.subject_id,
            channel=channel,
            to=to,
            template=Template.RIGHTS_ANSWERED,
            params={"link": f"{self._public_url}/privacy", "received": f"{about.received_at:%Y-%m-%d}"},
            locale=account.locale,
            expires_at=at + WORTH,
        )
