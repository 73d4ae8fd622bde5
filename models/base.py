"""The base of every model and the value types that all of them share."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, StringConstraints


class Model(BaseModel):
    """A frozen value that refuses fields it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def _to_utc(value: datetime) -> datetime:
    try:
        return value.astimezone(UTC)
    except OverflowError as error:  # the first and the last hours of the calendar have no UTC counterpart
        msg = "outside the calendar"
        raise ValueError(msg) from error


def _known_zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (KeyError, ValueError, OSError) as error:
        msg = "not an IANA time zone"
        raise ValueError(msg) from error
    return value


UtcDatetime = Annotated[AwareDatetime, AfterValidator(_to_utc)]
"""An aware instant, normalised to UTC."""

ZoneName = Annotated[str, StringConstraints(max_length=64), AfterValidator(_known_zone)]
"""The name of an IANA time zone."""

Id = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_:.-]{1,100}$")]
"""An opaque identifier: no spaces, no operators, nothing that a query could read as more than a value."""
