"""The visit over the wire: moving it, and what the front desk and the doctor say of it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from api.schemas.values import Instant, Text
from models.base import Model


class Override(Model):
    """Why the clinic grants a time outside its hours or without notice; stored sealed, its use audited."""

    reason: Annotated[Text, StringConstraints(max_length=500)]


class RescheduleAppointment(Model):
    """Another time for the same visit."""

    start: Instant
    override: Override | None = Field(
        default=None, description="Clinics only: hours and notice do not bind; what is taken stays taken."
    )


class Arrival(Model):
    """A patient's arrival, or their leaving."""

    paid: bool = Field(default=False, description="The fee that was due at the clinic has been paid there.")
