"""What is told of what happens, when it is worth telling, by which channels and in which hours."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.booking import SYSTEM, AppointmentState, Event, EventType
from models.channels import USUAL, Reach, channels_for
from models.consents import Purpose
from models.identity import PLATFORM, Account, Role
from models.ids import notice_of_try, notice_try_id
from models.messaging import Channel, Template
from models.notice_facts import VARIABLES
from models.notice_kinds import INDIA, KINDS, NoticeKind, not_before
from models.notices import TOLD, again, notices_of
from models.payments import PaymentState
from models.policy import PromotionalHours

NOW = datetime(2027, 1, 5, 10, tzinfo=UTC)
READER = Account(
    id="usr_1", tenant_id=PLATFORM, roles=frozenset({Role.PATIENT}), phone="+919812345678", email="a@example.in"
)
OFFER = NoticeKind((), purpose=Purpose.PROMOTION)
ZONES = ("Asia/Kolkata", "America/New_York", "Australia/Lord_Howe", "America/Havana", "Europe/London", "UTC")


def an_event(kind: EventType, event_id: str = "apt_1:event:once") -> Event:
    return Event(
        id=event_id,
        type=kind,
        at=NOW,
        actor=SYSTEM,
        tenant_id="tnt_1",
        clinic_id="cln_1",
        appointment_id="apt_aaaaaaaaaaaaaaaaaaaaaaaaaa",
        subject_id="usr_1",
        state=AppointmentState.CONFIRMED,
        payment_state=PaymentState.CAPTURED,
        version=2,
    )


@pytest.mark.parametrize("kind", EventType)
def test_each_event_tells_its_patient_one_thing_or_nothing(kind: EventType) -> None:
    notices = notices_of(an_event(kind))
    assert [one.template for one in notices] == ([TOLD[kind].template] if kind in TOLD else [])
    for one in notices:
        assert (one.recipient_id, one.occurrence) == ("usr_1", "apt_1:event:once")
        assert one.expires_at > NOW
        assert one.template in KINDS


def test_the_same_event_is_the_same_notice_and_another_one_is_not() -> None:
    [first], [same] = (notices_of(an_event(EventType.RESCHEDULED)) for _ in range(2))
    [second] = notices_of(an_event(EventType.RESCHEDULED, "apt_1:event:twice"))
    assert first.id == same.id != second.id
    told = again(first, "key", NOW)
    assert told.id not in {first.id, second.id}
    assert told == again(first, "key", NOW) != again(first, "other", NOW)
    assert told.occurrence.startswith(first.occurrence)


@pytest.mark.parametrize("template", KINDS)
def test_a_try_leads_back_to_its_notice(template: Template) -> None:
    [notice] = notices_of(an_event(EventType.CONFIRMED))
    notice = notice.model_copy(update={"template": template})
    for channel in Channel:
        message_id = notice_try_id(notice.id, channel)
        assert len(message_id) <= 100
        assert notice_of_try(message_id) == notice.id
    for other in ("msg_1", "inv_1", notice.id, ""):
        assert notice_of_try(other) is None
    assert set(KINDS[template].variables) <= VARIABLES.keys()


# Channels


@given(
    preferred=st.none() | st.sampled_from(Channel),
    configured=st.frozensets(st.sampled_from(Channel)),
    whatsapp=st.booleans(),
    phone=st.booleans(),
    email=st.booleans(),
)
def test_channels_are_those_that_lead_somewhere_the_preferred_one_first(
    preferred: Channel | None, configured: frozenset[Channel], *, whatsapp: bool, phone: bool, email: bool
) -> None:
    reader = READER.model_copy(
        update={"phone": READER.phone if phone else None, "email": READER.email if email else None}
    )
    found = channels_for(Reach(reader, configured, whatsapp, preferred))
    assert len(set(found)) == len(found)
    assert set(found) <= configured
    assert whatsapp or Channel.WHATSAPP not in found
    assert phone or not {Channel.SMS, Channel.WHATSAPP} & set(found)
    assert email or Channel.EMAIL not in found
    assert preferred not in found or found[0] == preferred
    rest = [one for one in found if one != preferred]
    assert rest == [one for one in USUAL if one in rest]


# Hours


@given(
    seconds=st.integers(0, 3 * 365 * 86_400),
    zone=st.sampled_from(ZONES),
    hours=st.sampled_from([PromotionalHours(), PromotionalHours(start=time(0, 30), end=time(3))]),
)
def test_offers_are_told_within_their_hours_on_the_readers_wall(
    seconds: int, zone: str, hours: PromotionalHours
) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    reader = READER.model_copy(update={"phone": "+15005550006", "timezone": zone})
    earliest = not_before(OFFER, reader, hours, now)
    told = (earliest or now).astimezone(ZoneInfo(zone))
    assert earliest is None or now < earliest <= now + timedelta(hours=26)
    # A change of clocks may skip the hour in which the window opens: then it opens where the clock goes on.
    slack = timedelta(hours=1)
    since_midnight = timedelta(hours=told.hour, minutes=told.minute, seconds=told.second)
    begin, end = (timedelta(hours=one.hour, minutes=one.minute) for one in (hours.start, hours.end))
    assert begin <= since_midnight < end + slack
    assert not_before(OFFER, reader, hours, earliest or now) is None


@given(seconds=st.integers(0, 365 * 86_400), zone=st.sampled_from(ZONES))
def test_an_indian_number_has_indias_hours(seconds: int, zone: str) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    reader = READER.model_copy(update={"timezone": zone})
    told = (not_before(OFFER, reader, PromotionalHours(), now) or now).astimezone(ZoneInfo(INDIA))
    assert time(10) <= told.time() < time(21)


@given(seconds=st.integers(0, 365 * 86_400), template=st.sampled_from(sorted(KINDS)))
def test_what_a_visit_needs_is_told_at_any_hour(seconds: int, template: Template) -> None:
    kind = KINDS[template]
    if kind.is_promotional:
        return
    now = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    assert not_before(kind, READER, PromotionalHours(), now) is None
