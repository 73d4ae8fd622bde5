"""Whose work begins where an appointment changes."""

from __future__ import annotations

from models.booking import Event
from models.notice_ports import Notifier
from models.notices import notices_of


class EventNotices:
    """Implements `models.ports.Follower`: people are told what happened to their appointments."""

    def __init__(self, notifier: Notifier) -> None:
        """`notifier` tells each notice once, however often it is given."""
        self._notifier = notifier

    async def follow(self, event: Event) -> None:
        """Have everybody told whom it concerns."""
        for notice in notices_of(event):
            await self._notifier.notify(notice)
