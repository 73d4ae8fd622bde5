"""The letter to those who see to it that requests by right are answered in time: so much of the time is used."""

from __future__ import annotations

from datetime import datetime

from models.identity import PLATFORM
from models.messaging import Channel, Message, Template


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
