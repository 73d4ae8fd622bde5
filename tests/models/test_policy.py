"""What a cancellation gives back, and until when."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from models.policy import (
    RefundStep,
    TenantPolicy,
    cancel_until,
    refund_amount,
    refund_percent,
    reschedule_until,
)

START = datetime(2027, 3, 1, 4, 30, tzinfo=UTC)
POLICY = TenantPolicy()


@pytest.mark.parametrize(
    ("before", "percent"),
    [
        (timedelta(days=3), 100),
        (timedelta(hours=12), 100),
        (timedelta(hours=12) - timedelta(milliseconds=1), 50),
        (timedelta(hours=2), 50),
        (timedelta(hours=2) - timedelta(milliseconds=1), 0),
        (timedelta(), 0),
        (timedelta(hours=-1), 0),
    ],
)
def test_default_schedule(before: timedelta, percent: int) -> None:
    assert refund_percent(POLICY, START, START - before) == percent


@given(
    captured=st.integers(0, 10**8),
    earlier=st.timedeltas(timedelta(), timedelta(days=60)),
    later=st.timedeltas(timedelta(), timedelta(days=60)),
)
def test_waiting_never_gives_more_back_and_never_more_than_was_paid(
    captured: int, earlier: timedelta, later: timedelta
) -> None:
    first, second = sorted([START - earlier, START - later])
    assert 0 <= refund_amount(POLICY, START, second, captured) <= refund_amount(POLICY, START, first, captured)
    assert refund_amount(POLICY, START, first, captured) <= captured


def test_no_schedule_gives_nothing_back() -> None:
    policy = TenantPolicy(refund_schedule=())
    assert refund_percent(policy, START, START - timedelta(days=30)) == 0
    assert cancel_until(policy, START) == START


def test_windows() -> None:
    assert cancel_until(POLICY, START) == START - timedelta(hours=12)
    assert reschedule_until(POLICY, START) == START - timedelta(hours=4)


def test_a_schedule_must_fall() -> None:
    with pytest.raises(ValidationError):
        TenantPolicy(refund_schedule=(RefundStep(hours_before=2, percent=50), RefundStep(hours_before=12, percent=100)))
    with pytest.raises(ValidationError):
        TenantPolicy(refund_schedule=(RefundStep(hours_before=2, percent=50), RefundStep(hours_before=2, percent=10)))
