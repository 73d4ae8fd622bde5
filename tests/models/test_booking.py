"""The appointment's transition table and its command."""

from datetime import UTC, datetime, timedelta

import pytest

from models.booking import (
    CANCELLABLE,
    FINAL_STATES,
    TRANSITIONS,
    Actor,
    ActorKind,
    AppointmentState,
    PlaceBooking,
    ServiceSnapshot,
    sources_of,
)
from models.ids import appointment_id, keyless_refund_id, reference, refund_id
from models.money import Money
from models.payments import PaymentState
from models.policy import TenantPolicy
from models.providers import PaymentMode, VisitMode

START = datetime(2027, 1, 4, 4, 30, tzinfo=UTC)
STATES = AppointmentState


def command(payment: PaymentMode, fee: int) -> PlaceBooking:
    return PlaceBooking(
        appointment_id="apt_1",
        tenant_id="ten_1",
        clinic_id="cln_1",
        provider_id="prv_1",
        practitioner_id="prc_1",
        subject_id="usr_1",
        actor=Actor(kind=ActorKind.PATIENT, id="usr_1"),
        body_hash="h",
        service=ServiceSnapshot(
            id="srv_1",
            name="Consultation",
            duration_minutes=15,
            buffer_before_minutes=0,
            buffer_after_minutes=5,
            fee=Money(amount=fee),
            mode=VisitMode.IN_PERSON,
            payment=payment,
        ),
        start=START,
        end=START + timedelta(minutes=15),
        claim_start=START,
        claim_end=START + timedelta(minutes=20),
        timezone="Asia/Kolkata",
        policy=TenantPolicy(),
        policy_version=1,
    )


def test_the_table_covers_every_state_and_knows_only_states() -> None:
    assert set(TRANSITIONS) == set(STATES)
    assert all(after <= set(STATES) for after in TRANSITIONS.values())


def test_final_states_lead_nowhere_and_every_other_state_leads_on() -> None:
    assert {state for state, after in TRANSITIONS.items() if not after} == FINAL_STATES


def test_what_expired_or_was_cancelled_never_comes_back() -> None:
    for dead in (STATES.EXPIRED, STATES.CANCELLED):
        assert sources_of(STATES.CONFIRMED).isdisjoint({dead})
        assert dead not in CANCELLABLE


def test_only_a_hold_expires_and_only_a_hold_is_confirmed() -> None:
    assert sources_of(STATES.EXPIRED) == {STATES.HELD}
    assert sources_of(STATES.CONFIRMED) == {STATES.HELD}


@pytest.mark.parametrize(
    ("mode", "fee", "needs", "state"),
    [
        (PaymentMode.ONLINE, 50_000, True, PaymentState.PENDING),
        (PaymentMode.AT_CLINIC, 50_000, False, PaymentState.DUE_AT_CLINIC),
        (PaymentMode.FREE, 0, False, PaymentState.NOT_REQUIRED),
    ],
)
def test_what_a_service_asks_for(mode: PaymentMode, fee: int, needs: bool, state: PaymentState) -> None:  # noqa: FBT001  a table's column
    placed = command(mode, fee)
    assert placed.needs_payment is needs
    assert placed.first_payment_state is state


def test_the_workflow_stays_a_day_longer_than_the_visit() -> None:
    assert command(PaymentMode.FREE, 0).closes_at == START + timedelta(minutes=15, hours=24)


def test_ids_are_found_again_and_by_nobody_else() -> None:
    first = appointment_id(b"k", "ten", "usr", "route", "key")
    assert first == appointment_id(b"k", "ten", "usr", "route", "key")
    others = {
        appointment_id(b"k", "ten", "usr", "route", "key2"),
        appointment_id(b"k", "ten", "usr2", "route", "key"),
        appointment_id(b"k", "ten2", "usr", "route", "key"),
        appointment_id(b"k2", "ten", "usr", "route", "key"),
        # Parts never run together.
        appointment_id(b"k", "tenu", "sr", "route", "key"),
    }
    assert first not in others
    assert len(others) == 5
    assert len(first) == 30


def test_a_refund_id_is_an_idempotency_key_of_the_gateway() -> None:
    for made in (refund_id(b"k", "a", "b"), keyless_refund_id("apt_1", "cancelled")):
        assert len(made) >= 10
        assert made.replace("_", "").replace("-", "").isalnum()


def test_references_have_no_look_alikes() -> None:
    text = "".join(reference(f"apt_{number}") for number in range(200)).replace("VN-", "")
    assert not set(text) & set("01IO")
