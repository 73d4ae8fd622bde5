"""What the words of a notice may name, computed from the appointment and what belongs to it.

A new variable is a line in `VARIABLES`; only those that a template names are computed. Everything is text in the
reader's language. The doctor's registration stands in each message (Telemedicine Practice Guidelines 2020, 3.2).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from babel.dates import format_datetime
from babel.numbers import format_currency

from models.booking import Appointment
from models.identity import Account
from models.ids import reference
from models.links import Link, LinkPurpose, link_token
from models.notices import Notice
from models.onboarding_letters import practice_link
from models.payments import PaymentState, RefundState
from models.providers import Clinic, Provider, VisitMode
from models.tenancy import TenantSettings

LINKS_PATH: Final = "/v1/links/"
"""Below it each token is a page that works without signing in."""

PAISE: Final = 100
_WHEN: Final = "EEE d MMM y, h:mm a"

LINK_LIFE: Mapping[LinkPurpose, timedelta] = {
    LinkPurpose.ATTEND: timedelta(),
    LinkPurpose.CHOOSE: timedelta(days=14),
    LinkPurpose.REVIEW: timedelta(days=30),
    LinkPurpose.SUMMARY: timedelta(days=30),
    LinkPurpose.UNSUBSCRIBE: timedelta(days=180),
}
"""How long after the visit's start, or from now where that is later, a link opens its page."""


class Site(NamedTuple):
    """Where links lead and what signs them."""

    public_url: str
    secret: bytes


class Facts(NamedTuple):
    """Everything that words may be made from."""

    notice: Notice
    appointment: Appointment
    clinic: Clinic
    provider: Provider
    settings: TenantSettings
    recipient: Account
    language: str
    """In which it is worded: one that there are words in."""
    site: Site
    now: datetime


def language_of(locale: str) -> str:
    """A locale's language."""
    return locale.replace("_", "-").partition("-")[0].lower()


def link(facts: Facts, purpose: LinkPurpose) -> str:
    """A page of this appointment that its recipient opens without signing in."""
    life = LINK_LIFE[purpose]
    expires_at = facts.appointment.start + life
    opens = Link(
        purpose=purpose,
        tenant_id=facts.notice.tenant_id,
        appointment_id=facts.notice.appointment_id,
        subject_id=facts.notice.recipient_id,
        expires_at=max(expires_at, facts.now + life),
    )
    return f"{facts.site.public_url}{LINKS_PATH}{link_token(facts.site.secret, opens)}"


def when(facts: Facts) -> str:
    """The visit's time on the wall where it is: the clinic's, and for a video visit the reader's own.

    The place is named where the reader's clock and the clinic's show different times.
    """
    return _on_the_wall(facts, facts.appointment.start)


def _on_the_wall(facts: Facts, instant: datetime) -> str:
    video = facts.appointment.service.mode is VisitMode.VIDEO
    zones = facts.appointment.timezone, facts.recipient.timezone
    there, here = (instant.astimezone(ZoneInfo(zone)) for zone in zones)
    pattern = _WHEN if there.utcoffset() == here.utcoffset() else f"{_WHEN} '('VVV')'"
    # CLDR puts narrow spaces into times, which would make every text message a longer one.
    return " ".join(format_datetime(here if video else there, pattern, locale=f"{facts.language}_IN").split())


def _registration(facts: Facts) -> str:
    registration = facts.provider.registration
    return f"{registration.council} {registration.number}"


def _refund_amount(facts: Facts) -> str:
    mine = (one for one in facts.appointment.refunds if facts.notice.occurrence.startswith(one.id))
    refund = next(mine, None)
    if refund is None:
        return ""
    rupees = refund.amount / PAISE
    return format_currency(rupees, facts.appointment.service.fee.currency, locale=f"{facts.language}_IN")


def _refunded(facts: Facts) -> str:
    promised = any(one.state is not RefundState.FAILED for one in facts.appointment.refunds)
    return "yes" if promised else ""


def _voided(facts: Facts) -> str:
    return "yes" if facts.appointment.payment_state is PaymentState.VOIDED else ""


VARIABLES: Mapping[str, Callable[[Facts], str]] = {
    "name": lambda facts: facts.recipient.name or "",
    "clinic": lambda facts: facts.settings.branding.display_name or facts.clinic.name,
    "address": lambda facts: facts.clinic.address,
    "doctor": lambda facts: facts.provider.name,
    "registration": _registration,
    "service": lambda facts: facts.appointment.service.name,
    "reference": lambda facts: reference(facts.appointment.id),
    "when": when,
    "refund_amount": _refund_amount,
    "refunded": _refunded,
    "voided": _voided,
    "attend_link": lambda facts: link(facts, LinkPurpose.ATTEND),
    "choose_until": lambda facts: _on_the_wall(facts, facts.notice.expires_at),
    "choose_link": lambda facts: link(facts, LinkPurpose.CHOOSE),
    "review_link": lambda facts: f"{link(facts, LinkPurpose.REVIEW)}/review",
    "summary_link": lambda facts: f"{link(facts, LinkPurpose.SUMMARY)}/summary",
    "unsubscribe_link": lambda facts: f"{link(facts, LinkPurpose.UNSUBSCRIBE)}/unsubscribe",
    "book_link": lambda facts: (
        f"{practice_link(facts.site.public_url, facts.clinic.slug)}/providers/{facts.provider.id}"
    ),
}
"""Every variable that words may name."""


EXAMPLE: Mapping[str, str] = {
    "name": "Asha Patil",
    "clinic": "Arogya Clinic",
    "address": "1 Station Road, Nashik 422001",
    "doctor": "Dr. Meera Deshpande",
    "registration": "Maharashtra Medical Council 48213",
    "service": "Consultation",
    "reference": "VN-7K3M9QRT",
    "when": "Tue 24 Nov 2026, 10:15 am",
    "choose_until": "Mon 23 Nov 2026, 6:00 pm",
    "refund_amount": "\u20b9600.00",
    "refunded": "yes",
    "voided": "yes",
    **{name: f"https://example.com{LINKS_PATH}lnk" for name in VARIABLES if name.endswith("_link")},
}
"""A visit to look at words with."""


def params_of(facts: Facts, names: tuple[str, ...]) -> dict[str, str]:
    """The values of these variables."""
    return {name: VARIABLES[name](facts) for name in names}
