"""Every path that an application can take: each plays one and gives its id once its workflow waits or has ended."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Final

from models.availability import Availability, WeeklyRule
from models.identity import Tenant
from models.onboarding import (
    ApplicationState,
    DecisionKind,
    OnboardingEventType,
    OnboardingPolicy,
    PracticeIds,
)
from tests.onboarding.support import Applicant, Office, add_a_document, details

EVERY_DAY: Final = Availability(weekly=tuple(WeeklyRule(weekday=day, start="09:00", end="17:00") for day in range(7)))
QUICK: Final = OnboardingPolicy(review=timedelta(seconds=2))


def a_slug() -> str:
    """A name that nobody has."""
    return f"eye-{secrets.token_hex(5)}"


def a_number() -> str:
    """A registration that nobody has."""
    return f"KMC-{secrets.token_hex(4)}"


async def publish_hours(office: Office, applicant: Applicant) -> None:
    """The owner publishes hours, as the API would."""
    made = PracticeIds.of(applicant.id)
    tenant = Tenant(made.tenant_id)
    published = await office.stores.publications.find(tenant, made.provider_id)
    await office.stores.publications.set_availability(tenant, published.provider, EVERY_DAY, 0)
    await applicant.publish()


async def provisioned(applicant: Applicant) -> None:
    """Wait until the practice is made."""
    await applicant.until(lambda one: one.history[-1].event is OnboardingEventType.PROVISIONED)


async def goes_live(office: Office) -> str:
    """Asked for a document, approved, published, live."""
    applicant = await office.applies(details(a_slug(), a_number()), documents=0)
    await applicant.submit()
    await applicant.decide(DecisionKind.REQUEST_CHANGES, "please send the certificate")
    await add_a_document(office, applicant)
    await applicant.submit()
    await applicant.decide(DecisionKind.APPROVE)
    await provisioned(applicant)
    await publish_hours(office, applicant)
    await applicant.reaches(ApplicationState.LIVE)
    return applicant.id


async def is_suspended(office: Office) -> str:
    """Live, then hidden."""
    application_id = await goes_live(office)
    applicant = office.applicant(application_id)
    await applicant.suspend()
    await applicant.handle.result()
    return application_id


async def is_rejected_late(office: Office) -> str:
    """The promised time runs out, then it is rejected."""
    applicant = await office.applies(details(a_slug(), a_number()), QUICK)
    await applicant.submit()
    await applicant.until(lambda one: one.history[-1].event is OnboardingEventType.REVIEW_OVERDUE)
    await applicant.decide(DecisionKind.REJECT)
    await applicant.handle.result()
    return applicant.id


async def is_withdrawn(office: Office) -> str:
    """Submitted and taken back."""
    applicant = await office.applies(details(a_slug(), a_number()))
    await applicant.submit()
    await applicant.withdraw()
    await applicant.handle.result()
    return applicant.id


async def is_taken_back(office: Office) -> str:
    """Approved, but its owner cannot be invited: everything made is taken back."""
    applicant = await office.applies(details(a_slug(), a_number()))
    await applicant.submit()
    office.invitations.refuses = True
    await applicant.decide(DecisionKind.APPROVE)
    await applicant.until(lambda one: OnboardingEventType.PROVISIONING_FAILED in {each.event for each in one.history})
    office.invitations.refuses = False
    return applicant.id


PRACTICES: Final[Mapping[str, Callable[[Office], Awaitable[str]]]] = {
    "practice_goes_live": goes_live,
    "practice_is_suspended": is_suspended,
    "practice_is_rejected_late": is_rejected_late,
    "practice_is_withdrawn": is_withdrawn,
    "practice_is_taken_back": is_taken_back,
}
"""Every path by its name."""
