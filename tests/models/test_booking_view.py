"""What an appointment offers to whom and when."""

from datetime import UTC, datetime, timedelta

import pytest

from models.booking import FINAL_STATES, Appointment, AppointmentState, ServiceSnapshot
from models.booking_view import STEPS, Action, actions, cancel_terms, payment_offer
from models.identity import PLATFORM, Principal, Role
from models.money import Money
from models.payments import PaymentState
from models.policy import RefundStep, TenantPolicy, reschedule_until
from models.providers import PaymentMode, VisitMode

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
START = NOW + timedelta(days=2)
State = AppointmentState

PATIENT = Principal(subject="usr_1", tenant_id=PLATFORM, roles=frozenset({Role.PATIENT}), session_id="ses_1")
STAFF = Principal(subject="usr_2", tenant_id="tnt_1", roles=frozenset({Role.STAFF}), session_id="ses_2")
DOCTOR = Principal(
    subject="usr_3", tenant_id="tnt_1", roles=frozenset({Role.DOCTOR}), session_id="ses_3", provider_id="prv_1"
)
ADMIN = Principal(subject="usr_4", tenant_id="tnt_1", roles=frozenset({Role.ADMIN}), session_id="ses_4")


def _appointment(**changes: object) -> Appointment:
    held = Appointment(
        id="apt_1",
        tenant_id="tnt_1",
        clinic_id="cln_1",
        provider_id="prv_1",
        practitioner_id="prc_1",
        subject_id="usr_1",
        service=ServiceSnapshot(
            id="srv_1",
            name="Consultation",
            duration_minutes=20,
            buffer_before_minutes=0,
            buffer_after_minutes=5,
            fee=Money(amount=50_000),
            mode=VisitMode.IN_PERSON,
            payment=PaymentMode.ONLINE,
        ),
        start=START,
        end=START + timedelta(minutes=20),
        timezone="Asia/Kolkata",
        state=State.HELD,
        payment_state=PaymentState.PENDING,
        version=2,
        body_hash="0" * 64,
        policy=TenantPolicy(),
        deadline=NOW + timedelta(minutes=10),
        order_id="order_1",
        payment_id=None,
        captured=0,
        refund_reserved=0,
        refunds=(),
        waiting_for=None,
        history=(),
        closes_at=START + timedelta(days=1),
        created_at=NOW,
        updated_at=NOW,
    )
    return held.model_copy(update=changes)


def _confirmed(**changes: object) -> Appointment:
    paid = {
        "state": State.CONFIRMED,
        "payment_state": PaymentState.CAPTURED,
        "payment_id": "pay_1",
        "captured": 50_000,
        "deadline": None,
    }
    return _appointment(**{**paid, **changes})


def test_a_held_time_can_be_paid_or_given_up_by_the_patient() -> None:
    assert actions(_appointment(), PATIENT, NOW) == (Action.PAY, Action.CANCEL)


@pytest.mark.parametrize("viewer", [STAFF, DOCTOR, ADMIN])
def test_the_clinic_never_pays_for_the_patient(viewer: Principal) -> None:
    assert actions(_appointment(), viewer, NOW) == (Action.CANCEL,)


@pytest.mark.parametrize(
    "changes",
    [
        {"order_id": None},
        {"deadline": NOW},
        {"payment_state": PaymentState.AUTHORIZED},
    ],
)
def test_nothing_is_paid_without_an_order_after_the_deadline_or_twice(changes: dict[str, object]) -> None:
    assert Action.PAY not in actions(_appointment(**changes), PATIENT, NOW)


def test_only_the_desk_and_the_admin_refund_and_only_what_is_left() -> None:
    at_the_clinic = (Action.CANCEL, Action.RESCHEDULE, Action.CHECK_IN, Action.NO_SHOW)
    assert actions(_confirmed(), STAFF, NOW) == (*at_the_clinic, Action.REFUND)
    assert actions(_confirmed(), ADMIN, NOW) == (*at_the_clinic, Action.REFUND)
    assert actions(_confirmed(), DOCTOR, NOW) == at_the_clinic
    assert actions(_confirmed(), PATIENT, NOW) == (Action.CANCEL, Action.RESCHEDULE)
    assert Action.REFUND not in actions(_confirmed(refund_reserved=50_000), STAFF, NOW)
    assert Action.REFUND in actions(_confirmed(refund_reserved=49_999), STAFF, NOW)


@pytest.mark.parametrize(
    ("state", "offered"),
    [
        (State.HELD, set()),
        (State.CONFIRMED, {Action.CHECK_IN, Action.NO_SHOW}),
        (State.CHECKED_IN, {Action.START, Action.NO_SHOW}),
        (State.IN_CONSULTATION, {Action.COMPLETE}),
        (State.NO_SHOW, {Action.CHECK_IN}),
        (State.COMPLETED, set()),
        (State.CANCELLED, set()),
    ],
)
def test_each_step_of_a_visit_is_offered_to_the_clinic_when_it_is_next(
    state: AppointmentState, offered: set[Action]
) -> None:
    seen = _confirmed(state=state)
    for viewer in (STAFF, DOCTOR, ADMIN):
        assert set(actions(seen, viewer, NOW)) & set(STEPS) == offered
        assert not set(actions(seen, viewer, seen.closes_at)) & set(STEPS)
    assert not set(actions(seen, PATIENT, NOW)) & set(STEPS)


def test_patients_move_their_visits_until_the_policy_s_hours_before_and_clinics_any_time() -> None:
    seen = _confirmed()
    last = reschedule_until(seen.policy, seen.start)
    assert Action.RESCHEDULE in actions(seen, PATIENT, last - timedelta(seconds=1))
    assert Action.RESCHEDULE not in actions(seen, PATIENT, last)
    assert Action.RESCHEDULE in actions(seen, STAFF, last)
    for state in set(State) - {State.CONFIRMED}:
        assert Action.RESCHEDULE not in actions(_confirmed(state=state), STAFF, NOW)


@pytest.mark.parametrize("state", sorted(FINAL_STATES | {State.IN_CONSULTATION, State.NO_SHOW}))
def test_what_is_over_or_under_way_is_not_cancelled(state: AppointmentState) -> None:
    assert Action.CANCEL not in actions(_confirmed(state=state), PATIENT, NOW)
    assert Action.CANCEL not in actions(_confirmed(state=state), STAFF, NOW)


def test_after_the_clinic_s_day_nothing_is_cancelled() -> None:
    closed = _confirmed()
    assert actions(closed, PATIENT, closed.closes_at) == ()
    assert actions(closed, PATIENT, closed.closes_at - timedelta(seconds=1)) == (Action.CANCEL,)


def test_there_is_something_to_pay_only_while_the_time_is_held() -> None:
    offer = payment_offer(_appointment())
    assert offer is not None
    assert (offer.status, offer.order_id, offer.amount) == ("ready", "order_1", Money(amount=50_000))
    preparing = payment_offer(_appointment(order_id=None))
    assert preparing is not None
    assert preparing.status == "preparing"
    for state in set(State) - {State.HELD}:
        assert payment_offer(_appointment(state=state)) is None


@pytest.mark.parametrize(
    ("before_start", "percent"),
    [
        (timedelta(hours=12), 100),
        (timedelta(hours=12) - timedelta(seconds=1), 50),
        (timedelta(hours=2), 50),
        (timedelta(hours=2) - timedelta(seconds=1), 0),
        (timedelta(0), 0),
    ],
)
def test_what_cancelling_gives_the_patient_falls_with_time_and_never_for_the_clinic(
    before_start: timedelta, percent: int
) -> None:
    now = START - before_start
    assert cancel_terms(_confirmed(), PATIENT, now).refund_percent_now == percent
    assert cancel_terms(_confirmed(), STAFF, now).refund_percent_now == 100


def test_the_terms_are_those_of_the_policy_that_was_booked_under() -> None:
    policy = TenantPolicy(refund_schedule=(RefundStep(hours_before=48, percent=100),), reschedule_until_hours=6)
    terms = cancel_terms(_confirmed(policy=policy), PATIENT, NOW)
    assert terms.cancel_until == START - timedelta(hours=48)
    assert terms.reschedule_until == START - timedelta(hours=6)
