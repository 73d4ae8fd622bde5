"""What a leave offers to whom it affects, until when, and how each offer ends."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.absence import OPEN, Offer, OfferState, OfferTally, Within, offer_for, outcome
from models.booking import ActorKind, Appointment, AppointmentState, EventType, HistoryEntry, ServiceSnapshot
from models.money import Money
from models.payments import PaymentState
from models.policy import TenantPolicy
from models.providers import PaymentMode, VisitMode

State = AppointmentState
NOW = datetime(2031, 3, 3, 4, 30, tzinfo=UTC)
START = NOW + timedelta(days=4)


def a_visit(start: datetime = START, **policy: object) -> Within:
    return Within(
        id="apt_1",
        tenant_id="tnt_1",
        clinic_id="cln_1",
        provider_id="prv_1",
        subject_id="usr_1",
        start=start,
        state=State.CONFIRMED,
        policy=TenantPolicy.model_validate(policy),
    )


@pytest.mark.parametrize(
    ("by", "minutes", "by_hand", "exempt", "unsure"),
    [
        (ActorKind.CLINIC, 1, True, True, False),
        (ActorKind.CLINIC, -1, True, False, False),
        (ActorKind.PATIENT, 1, False, False, False),
        (ActorKind.PATIENT, 1, True, False, False),
        (ActorKind.CLINIC, 1, False, False, False),
        (ActorKind.CLINIC, 9.8, False, False, True),
        (ActorKind.PATIENT, 9.8, False, False, False),
    ],
)
def test_what_the_clinic_gives_by_hand_within_a_leave_stays(
    by: ActorKind, minutes: float, *, by_hand: bool, exempt: bool, unsure: bool
) -> None:
    """The leave was taken at `NOW`, and it is looked at ten minutes later."""
    given_at = NOW + timedelta(minutes=minutes)
    visit = a_visit().model_copy(update={"given_by": by, "given_at": given_at, "by_hand": by_hand})
    assert visit.is_exempt(NOW) is exempt
    assert visit.is_unsure(NOW, NOW + timedelta(minutes=10)) is unsure


OFFER: Offer = offer_for("lve_1", a_visit(), NOW)


def an_appointment(
    state: State, start: datetime = START, by: ActorKind = ActorKind.PATIENT, event: EventType = EventType.CANCELLED
) -> Appointment:
    service = ServiceSnapshot(
        id="svc_1",
        name="Consultation",
        duration_minutes=15,
        buffer_before_minutes=0,
        buffer_after_minutes=0,
        fee=Money(amount=100),
        mode=VisitMode.IN_PERSON,
        payment=PaymentMode.ONLINE,
    )
    return Appointment(
        id="apt_1",
        tenant_id="tnt_1",
        clinic_id="cln_1",
        provider_id="prv_1",
        practitioner_id="prc_1",
        subject_id="usr_1",
        service=service,
        start=start,
        end=start + timedelta(minutes=15),
        timezone="Asia/Kolkata",
        state=state,
        payment_state=PaymentState.CAPTURED,
        version=3,
        body_hash="0",
        policy=TenantPolicy(),
        deadline=None,
        order_id=None,
        payment_id=None,
        captured=100,
        refund_reserved=0,
        refunds=(),
        waiting_for=None,
        history=(
            HistoryEntry(state=State.HELD, at=NOW, by=ActorKind.PATIENT, event=EventType.HELD),
            HistoryEntry(state=state, at=NOW, by=by, event=event),
            HistoryEntry(state=state, at=NOW, by=ActorKind.SYSTEM, event=EventType.REFUND_REQUESTED),
        ),
        closes_at=start + timedelta(days=1),
        created_at=NOW,
        updated_at=NOW,
    )


# Until when


def test_the_policy_says_how_long_one_may_choose() -> None:
    assert OFFER.deadline == NOW + timedelta(hours=24)
    assert offer_for("lve_1", a_visit(absence_choice_hours=2), NOW).deadline == NOW + timedelta(hours=2)
    quick = a_visit(absence_choice_hours=2, absence_choice_seconds=9)
    assert offer_for("lve_1", quick, NOW).deadline == NOW + timedelta(seconds=9)


@given(st.integers(-10_000, 10_000), st.floats(0.01, 336, allow_nan=False))
def test_nobody_may_choose_when_the_visit_would_have_begun(minutes: int, hours: float) -> None:
    start = NOW + timedelta(minutes=minutes)
    offer = offer_for("lve_1", a_visit(start, absence_choice_hours=hours), NOW)
    assert NOW <= offer.deadline <= max(NOW, start)
    assert offer.start == start


# How it ends

ENDS = [
    (State.CANCELLED, ActorKind.CLINIC, True, OfferState.CANCELLED),
    (State.CANCELLED, ActorKind.PATIENT, True, OfferState.WITHDRAWN),
    (State.CANCELLED, ActorKind.SYSTEM, True, OfferState.WITHDRAWN),
    (State.EXPIRED, ActorKind.SYSTEM, True, OfferState.WITHDRAWN),
    (State.CONFIRMED, ActorKind.SYSTEM, True, None),
    (State.CONFIRMED, ActorKind.SYSTEM, False, OfferState.KEPT),
    (State.CHECKED_IN, ActorKind.CLINIC, True, OfferState.KEPT),
    (State.COMPLETED, ActorKind.CLINIC, True, OfferState.KEPT),
    (State.NO_SHOW, ActorKind.SYSTEM, True, OfferState.UNDECIDED),
    (State.NO_SHOW, ActorKind.SYSTEM, False, OfferState.KEPT),
]


@pytest.mark.parametrize(("state", "by", "away", "expected"), ENDS)
def test_what_became_of_the_visit_decides(
    *, state: State, by: ActorKind, away: bool, expected: OfferState | None
) -> None:
    assert outcome(OFFER, an_appointment(state, by=by), away=away) is expected


@pytest.mark.parametrize("state", [State.CONFIRMED, State.CHECKED_IN, State.COMPLETED, State.NO_SHOW])
@pytest.mark.parametrize("away", [True, False])
def test_a_visit_that_has_another_time_is_rebooked(*, state: State, away: bool) -> None:
    moved = an_appointment(state, START + timedelta(days=9))
    assert outcome(OFFER, moved, away=away) is OfferState.REBOOKED


def test_a_visit_that_is_gone_needs_nothing() -> None:
    assert outcome(OFFER, None, away=True) is OfferState.WITHDRAWN


@given(
    state=st.sampled_from(sorted(State)),
    by=st.sampled_from(sorted(ActorKind)),
    away=st.booleans(),
    moved=st.booleans(),
)
def test_only_a_standing_visit_within_a_standing_leave_is_cancelled(
    *, state: State, by: ActorKind, away: bool, moved: bool
) -> None:
    start = START + timedelta(hours=1) if moved else START
    found = outcome(OFFER, an_appointment(state, start, by), away=away)
    assert (found is None) == (state is State.CONFIRMED and away and not moved)
    assert found not in OPEN


def test_a_tally_counts_every_offer_once() -> None:
    counts = {state.value: number for number, state in enumerate(OfferState, 1)}
    tally = OfferTally.of(counts)
    assert sum(count for _, count in tally) == sum(counts.values())
    assert tally.offered == counts["new"] + counts["offered"]
    assert OfferTally.of({}) == OfferTally()
