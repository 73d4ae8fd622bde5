"""What a link in a message shows."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, Field

from api.schemas.providers import ClinicView, ProviderRef
from models.base import UtcDatetime
from models.booking import AppointmentState


class LinkAction(StrEnum):
    """What the holder of a link may do now; each is a route of its own."""

    CONFIRM = "confirm"
    RESCHEDULE = "reschedule"
    CANCEL = "cancel"


class LinkedVisitView(BaseModel):
    """A visit as its link shows it: nothing about who comes or why."""

    reference: str
    state: AppointmentState
    attending: bool = Field(description="Whether the patient has said that they come at this time.")
    provider: ProviderRef
    clinic: ClinicView
    service: str
    start: UtcDatetime
    end: UtcDatetime
    timezone: str = Field(description="IANA zone of the clinic.")
    actions: list[LinkAction] = Field(description="What the link's holder may do now.")
    is_paid: bool
    refund_percent_now: int = Field(description="What cancelling now gives back of what was paid.")
    times: list[UtcDatetime] = Field(description="The next free times that the visit may be moved to.")
    choose_until: UtcDatetime | None = Field(
        description="Where the doctor is away: afterwards the visit is cancelled, and all that was paid goes back."
    )
    expires_at: UtcDatetime = Field(description="Until when the link opens anything.")
