"""An appointment as a calendar file (RFC 5545, with the methods of RFC 5546)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

from icalendar import CLASS, STATUS, Calendar, Event, vCalAddress
from pydantic import Field

from models.base import Id, Model, UtcDatetime
from models.booking import Appointment, AppointmentState

_PRODUCT = "-//Illajwala//VisitNow//EN"

# RFC 5545, section 3.1: text has no control characters but the tab; line breaks are written as `\n`.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


class CalendarStatus(StrEnum):
    """How firm the appointment is, in RFC 5545's words."""

    TENTATIVE = "TENTATIVE"
    CONFIRMED = "CONFIRMED"
    CANCELLED = "CANCELLED"


_STATUS: Mapping[AppointmentState, CalendarStatus] = {
    AppointmentState.HELD: CalendarStatus.TENTATIVE,
    AppointmentState.EXPIRED: CalendarStatus.CANCELLED,
    AppointmentState.CANCELLED: CalendarStatus.CANCELLED,
}
"""Every other state is firm."""


class Place(NamedTuple):
    """Where it is, and whose."""

    slug: str
    name: str
    address: str


class CalendarEntry(Model):
    """What a patient's calendar is told of one appointment.

    `uid` never changes; `sequence` rises with each change, so that a calendar replaces what it has; `stamp` is when
    this state came about. `organizer_uri` identifies the clinic (RFC 5546 demands an organizer).
    """

    uid: Id
    sequence: int = Field(ge=0, le=2**31 - 1)
    stamp: UtcDatetime
    start: UtcDatetime
    end: UtcDatetime
    status: CalendarStatus
    summary: str
    location: str
    organizer_name: str
    organizer_uri: str = Field(pattern=r"^[a-z][a-z0-9+.-]*:[!-~]+$")
    attendee: str | None = None
    """The mailbox that it is sent to; absent where somebody fetches the file."""


def appointment_calendar(entry: CalendarEntry) -> bytes:
    """A VCALENDAR with this one event, UTF-8 with CRLF line ends, times in UTC.

    METHOD is PUBLISH, for a file that is sent to somebody REQUEST, and CANCEL for a cancelled appointment, which takes
    it out of the calendar again. The event is private: a shared calendar shows others only that the time is taken.
    """
    organizer = vCalAddress(entry.organizer_uri)
    organizer.params["CN"] = _text(entry.organizer_name)
    event = Event.new(
        uid=entry.uid,
        sequence=entry.sequence,
        stamp=entry.stamp,
        start=entry.start,
        end=entry.end,
        summary=_text(entry.summary),
        location=_text(entry.location),
        organizer=organizer,
        status=STATUS(entry.status.value),
        classification=CLASS.PRIVATE,
    )
    if entry.attendee is not None:
        attendee = vCalAddress(f"mailto:{entry.attendee}")
        attendee.params["ROLE"] = "REQ-PARTICIPANT"
        attendee.params["PARTSTAT"] = "ACCEPTED"
        attendee.params["RSVP"] = "FALSE"
        event.add("attendee", attendee)
    calendar = Calendar()
    calendar.add("prodid", _PRODUCT)
    calendar.add("version", "2.0")
    calendar.add("method", method_of(entry))
    calendar.add_component(event)
    content: bytes = calendar.to_ical()
    return content


def method_of(entry: CalendarEntry) -> str:
    """What a calendar is asked to do with it (RFC 5546, section 1.4)."""
    if entry.status is CalendarStatus.CANCELLED:
        return "CANCEL"
    return "PUBLISH" if entry.attendee is None else "REQUEST"


def entry_of(
    appointment: Appointment, place: Place, provider_name: str, public_url: str, attendee: str | None = None
) -> CalendarEntry:
    """The appointment as a calendar is told of it; it says neither who comes nor why."""
    return CalendarEntry(
        uid=appointment.id,
        sequence=appointment.version,
        stamp=appointment.updated_at,
        start=appointment.start,
        end=appointment.end,
        status=_STATUS.get(appointment.state, CalendarStatus.CONFIRMED),
        summary=f"{appointment.service.name}, {provider_name}",
        location=f"{place.name}, {place.address}",
        organizer_name=place.name,
        organizer_uri=f"{public_url}/clinics/{place.slug}",
        attendee=attendee,
    )


def _text(value: str) -> str:
    return _CONTROL.sub(" ", value.replace("\r\n", "\n"))
