"""The clock of what the law has us do in time, and the letter to those who see to it: so much of the time is used.

It is that of exports and of requests by right; a review of a practice counts working hours (`models.review_clock`).
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from models.identity import PLATFORM
from models.messaging import Channel, Message, Template

MARKS: Final = (50, 80, 100)
"""Percent of the time at which those who see to it are told: twice a warning, then an escalation."""


def reaches(begun_at: datetime, due_at: datetime, percent: int) -> datetime:
    """When so much of the time is used (UTC); it runs on the wall clock and never stands still."""
    return begun_at + (due_at - begun_at) * percent / 100


def due_letter(officers: str, request_id: str, percent: int, due_at: datetime, expires_at: datetime) -> Message:
    """One for each request and mark, so that nobody gets it twice; `due_at` is shown as its day in UTC."""
    return Message(
        id=f"msg_{request_id}_{percent}",
        tenant_id=PLATFORM,
        subject_id=request_id,
        channel=Channel.EMAIL,
        to=officers,
        template=Template.RIGHTS_DUE,
        params={"percent": str(percent), "request": request_id, "due": f"{due_at:%Y-%m-%d}"},
        expires_at=expires_at,
    )
