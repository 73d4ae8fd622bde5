"""Names that a clinic may have, and the settings a tenant may make."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from models.policy import TenantPolicy
from models.providers import Clinic, TenantRecord
from models.tenancy import RESERVED_NAMES, SLUG_LENGTH, Branding, Domain, TenantSettings, slug_problem


@pytest.mark.parametrize(
    ("slug", "problem"),
    [
        ("arogya-indiranagar", None),
        ("24x7", None),
        ("a" * 40, None),
        ("abc", None),
        ("ab", "length"),
        ("", "length"),
        ("a" * 41, "length"),
        ("Arogya", "characters"),
        ("aro_gya", "characters"),
        ("aro.gya", "characters"),
        ("अरोग्य", "characters"),
        ("aro gya", "characters"),
        ("-arogya", "hyphen"),
        ("arogya-", "hyphen"),
        ("xn--80ak6aa92e", "hyphen"),
        ("ab--cd", "hyphen"),
        ("admin", "reserved"),
        ("api", "reserved"),
        ("www", "reserved"),
    ],
)
def test_a_slug_is_a_label_that_nobody_can_mistake(slug: str, problem: str | None) -> None:
    assert slug_problem(slug) == problem


@given(st.from_regex(r"[a-z0-9-]{1,45}", fullmatch=True))
def test_whatever_is_free_of_problems_is_a_slug_of_the_models(slug: str) -> None:
    if slug_problem(slug) is None:
        TenantRecord(id="tnt_a", slug=slug, name="A")
        Domain(host=f"{slug}.example", tenant_id="tnt_a", clinic_id="cln_a")
        assert len(slug) in SLUG_LENGTH


def test_reserved_names_are_labels_themselves() -> None:
    assert all(name == name.lower() and name.replace("-", "").isalnum() for name in RESERVED_NAMES)
    assert "slug" in Clinic.model_fields


def test_settings_without_a_word_are_the_contract_s_defaults() -> None:
    shown = TenantSettings().model_dump(mode="json")
    assert shown["payment_window_seconds"] == 600
    assert shown["refund_schedule"] == [{"hours_before": 12, "percent": 100}, {"hours_before": 2, "percent": 50}]
    assert shown["reminder_leads_minutes"] == [1440, 120]
    assert shown["quiet_hours"] == {"start": "21:00", "end": "08:00"}
    assert shown["languages"] == ["en"]
    assert shown["branding"] == {"display_name": None, "logo_url": None, "color": None}
    assert TenantSettings().policy == TenantPolicy()


def test_what_is_shown_can_be_sent_back() -> None:
    settings = TenantSettings(
        payment_window_seconds=5, languages=("hi", "en"), branding=Branding(display_name="A", color="#aabbcc")
    )
    assert TenantSettings.model_validate_json(settings.model_dump_json()) == settings
    assert TenantSettings.of(settings.policy, settings.languages, settings.branding) == settings


def test_a_policy_kept_long_ago_is_still_read() -> None:
    kept = {"quiet_hours": {"start": "21:30:00", "end": "07:00:00"}}
    assert TenantPolicy.model_validate(kept).model_dump(mode="json")["quiet_hours"] == {
        "start": "21:30",
        "end": "07:00",
    }


@pytest.mark.parametrize(
    "wrong",
    [
        {"payment_window_seconds": 0},
        {"payment_window_seconds": None},
        {"refund_schedule": [{"hours_before": 2, "percent": 50}, {"hours_before": 12, "percent": 100}]},
        {"refund_schedule": [{"hours_before": float(hours), "percent": 1} for hours in range(21, 0, -1)]},
        {"reminder_leads_minutes": [0]},
        {"reminder_leads_minutes": [60] * 11},
        {"quiet_hours": {"start": 75600, "end": "08:00"}},
        {"quiet_hours": {"start": "21:00Z", "end": "08:00"}},
        {"quiet_hours": {"start": "24:00", "end": "08:00"}},
        {"languages": []},
        {"languages": ["en", "en"]},
        {"languages": ["English"]},
        {"branding": {"logo_url": "javascript:alert(1)"}},
        {"branding": {"logo_url": 'https://x/"onload='}},
        {"branding": {"color": "red"}},
        {"branding": {"display_name": "a\nb"}},
        {"tenant_id": "tnt_other"},
        {"policy_version": 7},
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TenantSettings.model_validate(wrong)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "a..b", "-a.example", "A.example", "a.example:80", "a.1"])
def test_a_domain_is_a_name_of_the_public_internet(host: str) -> None:
    with pytest.raises(ValidationError):
        Domain(host=host, tenant_id="tnt_a", clinic_id="cln_a")
