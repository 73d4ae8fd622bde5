from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from icalendar import Calendar, Event
from pydantic import ValidationError

from models.calendar import CalendarEntry, CalendarStatus, appointment_calendar

ENTRY = CalendarEntry(
    uid="apt_k5x2",
    sequence=3,
    stamp=datetime(2026, 3, 1, 8, 15, 30, tzinfo=UTC),
    start=datetime(2026, 3, 2, 4, 0, tzinfo=UTC),
    end=datetime(2026, 3, 2, 4, 20, tzinfo=UTC),
    status=CalendarStatus.CONFIRMED,
    summary="Dr. Asha Rao",
    location="12 Hill Road, Bandra; Mumbai",
    organizer_name="Hill Road Clinic",
    organizer_uri="https://visitnow.example/clinics/hill-road",
)

prose = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)


def changed(**changes: object) -> CalendarEntry:
    return CalendarEntry.model_validate({**ENTRY.model_dump(), **changes})


def parsed(entry: CalendarEntry) -> tuple[Calendar, Event]:
    calendar = Calendar.from_ical(appointment_calendar(entry))
    assert isinstance(calendar, Calendar)
    (event,) = calendar.subcomponents
    assert isinstance(event, Event)
    assert event.errors == []
    return calendar, event


def test_the_file_to_the_letter() -> None:
    assert appointment_calendar(ENTRY).decode().split("\r\n") == [
        "BEGIN:VCALENDAR",
        "VERSION:2.0",
        "PRODID:-//Illajwala//VisitNow//EN",
        "METHOD:PUBLISH",
        "BEGIN:VEVENT",
        "SUMMARY:Dr. Asha Rao",
        "DTSTART:20260302T040000Z",
        "DTEND:20260302T042000Z",
        "DTSTAMP:20260301T081530Z",
        "UID:apt_k5x2",
        "SEQUENCE:3",
        "CLASS:PRIVATE",
        "LOCATION:12 Hill Road\\, Bandra\\; Mumbai",
        'ORGANIZER;CN="Hill Road Clinic":https://visitnow.example/clinics/hill-road',
        "STATUS:CONFIRMED",
        "END:VEVENT",
        "END:VCALENDAR",
        "",
    ]


@pytest.mark.parametrize(
    ("status", "method"),
    [
        (CalendarStatus.TENTATIVE, "PUBLISH"),
        (CalendarStatus.CONFIRMED, "PUBLISH"),
        (CalendarStatus.CANCELLED, "CANCEL"),
    ],
)
def test_a_cancelled_appointment_is_taken_out_of_the_calendar(status: CalendarStatus, method: str) -> None:
    calendar, event = parsed(changed(status=status))
    assert calendar["METHOD"] == method
    assert event["STATUS"] == status.value
    assert event["UID"] == ENTRY.uid


def test_times_are_in_utc_whatever_zone_they_came_in() -> None:
    start = ENTRY.start.astimezone(timezone(timedelta(hours=5, minutes=30)))
    assert appointment_calendar(changed(start=start)) == appointment_calendar(ENTRY)


def test_a_later_version_differs_in_what_changed_only() -> None:
    before, after = (
        appointment_calendar(entry).decode().split("\r\n")
        for entry in (ENTRY, changed(sequence=4, start=ENTRY.start - timedelta(minutes=5)))
    )
    differing = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    assert differing == [
        ("DTSTART:20260302T040000Z", "DTSTART:20260302T035500Z"),
        ("SEQUENCE:3", "SEQUENCE:4"),
    ]


def test_long_text_is_folded_into_lines_of_75_octets() -> None:
    address = "१२ हिल रोड, " * 20
    content = appointment_calendar(changed(location=address))
    assert max(len(line) for line in content.split(b"\r\n")) <= 75
    _, event = parsed(changed(location=address))
    assert event["LOCATION"] == address


@given(prose, prose, prose)
def test_no_text_can_add_a_line_of_its_own(summary: str, location: str, organizer: str) -> None:
    entry = changed(summary=summary, location=location, organizer_name=organizer)
    content = appointment_calendar(entry).decode()
    names = [line.partition(":")[0].partition(";")[0] for line in content.replace("\r\n ", "").split("\r\n")]
    plain = appointment_calendar(ENTRY).decode()
    assert names == [line.partition(":")[0].partition(";")[0] for line in plain.split("\r\n")]
    assert not any(ord(character) < 32 and character not in "\r\n\t" for character in content)
    parsed(entry)


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=200))
def test_printable_text_arrives_as_it_was(summary: str) -> None:
    _, event = parsed(changed(summary=summary))
    assert event["SUMMARY"] == summary


def test_line_breaks_survive_and_control_characters_do_not() -> None:
    _, event = parsed(changed(summary="Dr. Rao\r\nATTENDEE:mallory\nx\x00\x1by"))
    assert event["SUMMARY"] == "Dr. Rao\nATTENDEE:mallory\nx  y"
    assert "ATTENDEE" not in event


@pytest.mark.parametrize(
    "changes",
    [
        {"uid": "apt 1"},
        {"uid": "a\r\nATTENDEE:x"},
        {"sequence": -1},
        {"start": datetime(2026, 3, 2, 4, 0)},  # noqa: DTZ001  naive is what must be refused
        {"status": "DONE"},
        {"organizer_uri": "no address"},
        {"organizer_uri": "https://a\r\nATTENDEE:x"},
        {"reason": "fever"},
    ],
)
def test_what_is_no_entry_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        changed(**changes)
