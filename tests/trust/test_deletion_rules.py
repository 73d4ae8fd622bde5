"""The rules of being forgotten: what may follow what, what goes when, what a hold keeps, which token opens what."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.data_classes import RetentionClass
from models.deletions import (
    GONE,
    LEAVING,
    NOTICE,
    OPEN,
    RULES,
    TRANSITIONS,
    Deletion,
    DeletionRef,
    DeletionState,
    Times,
    certificate_of,
    child_plan,
    grace_until,
    opens,
    plan_of,
    request_token,
    sources_of,
)
from models.errors import Code, VisitNowError
from models.holds import HoldReason, LegalHold, held_by
from models.identity import LEAVING_PERMISSIONS, PLATFORM, Permission, Principal, Role
from models.policy import RetentionDays, RetentionSeconds, TenantPolicy
from tests.trust.holds import a_hold

NOW: Final = datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC)
SECRET: Final = b"s" * 32
S = DeletionState

instants = st.datetimes(datetime(2025, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001  bounds
policies = st.builds(
    lambda days: TenantPolicy(retention_days=RetentionDays(**days)),
    st.fixed_dictionaries({one.value: st.integers(0, 4000) for one in RULES}),
)
holds = st.lists(
    st.builds(
        lambda kept, until, lifted: LegalHold(
            id="hld_a",
            subject_id="usr_a",
            retained_under=kept,
            reason=HoldReason.CLAIM,
            reference="A/1",
            placed_by="usr_b",
            placed_at=NOW,
            until=until,
            lifted_at=NOW if lifted else None,
        ),
        st.sampled_from([None, *RULES]),
        instants,
        st.booleans(),
    ),
    max_size=4,
)
times = st.builds(Times, instants, st.none() | instants, st.none() | instants)


def a_deletion(**changes: object) -> Deletion:
    """One that was asked for."""
    fields: dict[str, object] = {
        "id": "del_a",
        "subject_id": "usr_a",
        "challenge_id": "otp_a",
        "body_hash": "0" * 64,
        "reason": "Canary Kaveri",
        "requested_at": NOW,
    }
    return Deletion.model_validate({**fields, **changes})


def test_every_state_leads_to_an_end_and_none_turns_back_from_closing() -> None:
    for state in S:
        reached = {state}
        while more := {after for one in reached for after in TRANSITIONS[one]} - reached:
            reached |= more
        assert reached & {S.ERASED, S.CANCELLED}, state
        if state in GONE:
            assert not reached & (LEAVING | {S.CANCELLED}), "nobody gets back what was closed"
    assert {S.ERASED, S.CANCELLED} == set(S) - OPEN
    assert sources_of(S.CANCELLED) == {S.REQUESTED, S.IDENTITY_CONFIRMED, S.GRACE}


@given(policies, times, holds, instants)
def test_every_class_either_goes_now_or_stays_until_later(
    policy: TenantPolicy, known: Times, standing: list[LegalHold], now: datetime
) -> None:
    plan = plan_of(policy, known, standing, now)
    kept = [one.retained_under for one in plan.retained]
    assert sorted({*plan.due, *kept} - {RetentionClass.NONE}) == sorted(RULES)
    assert not set(plan.due) & set(kept)
    assert plan.due, "what no rule keeps goes in any case"
    for one in plan.retained:
        assert one.until > now
        assert one.rule == RULES[one.retained_under]
        assert (held_by(standing, one.retained_under, now) is None) == (one.hold_id is None)
    for due in plan.due:
        assert held_by(standing, due, now) is None or plan.held_until is not None


@given(policies, times, instants, st.integers(0, 5000))
def test_what_may_go_once_may_go_ever_after(policy: TenantPolicy, known: Times, now: datetime, days: int) -> None:
    sooner, later = (plan_of(policy, known, [], one).due for one in (now, now + timedelta(days=days)))
    assert set(sooner) - {RetentionClass.NONE} <= set(later)


@given(policies, times, holds, instants)
def test_a_hold_only_waits_for_what_would_go(
    policy: TenantPolicy, known: Times, standing: list[LegalHold], now: datetime
) -> None:
    plan, free = plan_of(policy, known, standing, now), plan_of(policy, known, [], now)
    in_the_way = [held_by(standing, one, now) for one in {*free.due, RetentionClass.NONE}]
    assert plan.held_until == max((one.until for one in in_the_way if one is not None), default=None)


def test_a_hold_on_everything_keeps_what_no_rule_keeps() -> None:
    """Whoever has visits and payments leaves every class behind: what goes at once is held all the same."""
    known = Times(NOW, NOW - timedelta(days=30), NOW - timedelta(days=40))
    until = NOW + timedelta(days=9)
    assert plan_of(TenantPolicy(), known, [a_hold("usr_a", None, NOW, until)], NOW).held_until == until
    on_one_class = a_hold("usr_a", RetentionClass.CLINICAL, NOW, until)
    assert plan_of(TenantPolicy(), known, [on_one_class], NOW).held_until is None, "that class stays anyway"


@given(policies, times, holds, instants)
def test_a_hold_keeps_a_child_as_it_keeps_an_account(
    policy: TenantPolicy, known: Times, standing: list[LegalHold], now: datetime
) -> None:
    plan, free = child_plan(policy, known, standing, now), child_plan(policy, known, [], now)
    in_the_way = [held_by(standing, one, now) for one in (RetentionClass.NONE, RetentionClass.IDENTITY)]
    assert plan.held_until == max((one.until for one in in_the_way if one is not None), default=None)
    assert plan.due == (RetentionClass.NONE,)
    visits = held_by(standing, RetentionClass.CLINICAL, now)
    if visits is None or known.last_visit is None:
        assert plan.retained == free.retained
        return
    [kept] = plan.retained
    own = known.last_visit + policy.retention(RetentionClass.CLINICAL)
    assert (kept.until, kept.hold_id) == (max(own, visits.until), visits.id)


def test_by_default_the_law_keeps_for_years_what_somebody_has() -> None:
    known = Times(NOW, NOW - timedelta(days=30), NOW - timedelta(days=40))
    plan = plan_of(TenantPolicy(), known, [], NOW)
    assert plan.due == (RetentionClass.NONE,)
    assert {one.retained_under: (one.until - NOW).days for one in plan.retained} == {
        RetentionClass.IDENTITY: 365,
        RetentionClass.CLINICAL: 3 * 365 - 30,
        RetentionClass.FINANCIAL: 8 * 365 - 40,
        RetentionClass.LOGS: 365,
    }


def test_what_nobody_has_is_kept_for_nobody() -> None:
    plan = plan_of(TenantPolicy(), Times(NOW, None, None), [], NOW)
    assert set(plan.due) == {RetentionClass.CLINICAL, RetentionClass.FINANCIAL}


def test_seconds_stand_in_for_days_where_they_are_named() -> None:
    policy = TenantPolicy(retention_seconds=RetentionSeconds(identity=5, logs=0))
    assert policy.retention(RetentionClass.IDENTITY) == timedelta(seconds=5)
    assert policy.retention(RetentionClass.LOGS) == timedelta()
    assert policy.retention(RetentionClass.CLINICAL) == timedelta(days=3 * 365)
    assert policy.retention(RetentionClass.NONE) == timedelta()


def test_the_grace_and_its_warning() -> None:
    assert grace_until(TenantPolicy(), NOW) == NOW + timedelta(days=7)
    assert grace_until(TenantPolicy(deletion_grace_seconds=3), NOW) == NOW + timedelta(seconds=3)
    long = DeletionRef.of(a_deletion(confirmed_at=NOW, grace_until=NOW + timedelta(days=7)))
    assert long.notice_at == long.grace_until - NOTICE
    short = DeletionRef.of(a_deletion(confirmed_at=NOW, grace_until=NOW + timedelta(hours=47)))
    assert short.notice_at is None, "the first word says it all"
    with pytest.raises(VisitNowError) as refused:
        DeletionRef.of(a_deletion())
    assert refused.value.code is Code.STATE_CONFLICT


def test_a_token_opens_its_own_deletion_only() -> None:
    token = request_token(SECRET, "del_a")
    assert opens(SECRET, "del_a", token)
    for other in (
        opens(SECRET, "del_b", token),
        opens(b"t" * 32, "del_a", token),
        opens(SECRET, "del_a", token.upper()),
        opens(SECRET, "del_a", ""),
        opens(SECRET, "del_a", "del.ü"),
    ):
        assert not other


def test_a_certificate_is_plain_json_and_says_nothing_of_why() -> None:
    facts = certificate_of(a_deletion(confirmed_at=NOW, erased_at=NOW), NOW, issuer="https://visitnow.example")
    assert "Kaveri" not in json.dumps(facts)
    assert facts["deletion"] == "del_a"
    assert facts["erased_at"] == facts["issued_at"] == "2031-05-06T07:08:09Z"


def test_whoever_leaves_may_only_take_it_back_and_sign_out() -> None:
    somebody = Principal(subject="usr_a", tenant_id=PLATFORM, roles=frozenset({Role.PATIENT}), session_id="ses_a")
    assert Permission.APPOINTMENT_PLACE in somebody.permissions
    assert somebody.model_copy(update={"leaving": True}).permissions == LEAVING_PERMISSIONS
    assert {Permission.DELETION_OWN, Permission.SESSION_OWN} == LEAVING_PERMISSIONS
