"""`--policy KEY=VALUE`: what is read, and what is refused with a reason."""

from __future__ import annotations

import pytest
import typer

from cli.policy import parse_policy
from models.policy import RefundStep, TenantPolicy


def test_without_settings_it_is_the_default() -> None:
    assert parse_policy([]) == TenantPolicy()


def test_numbers_lists_and_objects_are_json() -> None:
    policy = parse_policy(
        [
            "payment_window_seconds=5",
            "day_grace_hours=0.5",
            'refund_schedule=[{"hours_before": 1, "percent": 100}]',
            'quiet_hours={"start": "22:00", "end": "07:00"}',
        ]
    )
    assert policy.payment_window_seconds == 5
    assert policy.day_grace_hours == 0.5
    assert policy.refund_schedule == (RefundStep(hours_before=1, percent=100),)
    assert policy.quiet_hours.start.hour == 22


def test_one_number_stands_for_a_list_of_one() -> None:
    assert parse_policy(["reminder_lead_seconds=3"]).reminder_lead_seconds == (3,)
    assert parse_policy(["reminder_lead_seconds=[5, 3]"]).reminder_lead_seconds == (5, 3)


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ("payment_window", "payment_window_seconds"),
        ("payment_window_secnods=5", "payment_window_seconds"),
        ("payment_window_seconds=soon", "payment_window_seconds"),
        ("payment_window_seconds=0", "payment_window_seconds"),
        ("payment_window_seconds=", "payment_window_seconds"),
    ],
)
def test_what_no_policy_has_is_refused_by_name(setting: str, reason: str) -> None:
    with pytest.raises(typer.BadParameter, match=reason):
        parse_policy([setting])
