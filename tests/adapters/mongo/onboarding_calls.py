"""An application with a bit of everything, and every method on applications and on the practices made of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from adapters.mongo.repositories import Repositories
from models.identity import PLATFORM, Scope, Subject, System, Tenant
from models.onboarding import ApplicationQuery, ApplicationState, Move, OnboardingEventType
from models.providers import Clinic, Practitioner, Provider, TenantRecord
from models.review_clock import ReviewClock
from tests.adapters.mongo.builders import DAY, minutes, new
from tests.onboarding.support import a_document, details

Call = Callable[[Scope], Awaitable[object]]
WORLD = System("the tests' world")
REVIEWERS = Tenant(PLATFORM)


async def an_application(stores: Repositories) -> str:
    """A submitted application whose review has begun."""
    application = new("app")
    applicant = Subject(application)
    assert await stores.applications.insert(applicant, application, details(new("a").replace("_", "-")), "hash", DAY)
    await stores.applications.add_document(applicant, application, a_document(), DAY)
    await stores.applications.keep_note(applicant, application, "dec_1", "a note")
    await stores.applications.verify_email(applicant, application, DAY)
    assert (await stores.applications.advance(WORLD, _submission(application))).applied
    return application


def _submission(application: str) -> Move:
    return Move(
        application_id=application,
        event=OnboardingEventType.SUBMITTED,
        event_id=f"{application}:submitted",
        at=DAY,
        to=ApplicationState.SUBMITTED,
        clock=ReviewClock(allowed=minutes(60)).started(DAY),
    )


def on_applications(stores: Repositories, application: str) -> dict[str, Call]:
    """Methods on one application, which is its own subject."""
    applications = stores.applications
    fresh, told = new("app"), details(new("b").replace("_", "-"))
    review = Move(
        application_id=application,
        event=OnboardingEventType.REVIEW_STARTED,
        event_id=f"{application}:started",
        at=DAY,
        to=ApplicationState.UNDER_REVIEW,
    )
    return {
        "applications.insert": lambda scope: applications.insert(scope, fresh, told, "hash", DAY),
        "applications.find": lambda scope: applications.find(scope, application),
        "applications.verify_email": lambda scope: applications.verify_email(scope, application, DAY),
        "applications.keep_note": lambda scope: applications.keep_note(scope, application, "dec_2", "words"),
        "applications.advance": lambda scope: applications.advance(scope, review),
    }


def on_practices(stores: Repositories, clinic: Clinic, provider: Provider) -> dict[str, Call]:
    """Methods on what is made of an application; what patients see is never removed."""
    practices, other = stores.practices, new("ten")
    return {
        "practices.remove_tenant": lambda scope: practices.remove_tenant(scope, other),
        "practices.remove_clinic": lambda scope: practices.remove_clinic(scope, clinic.id),
        "practices.remove_practitioner": lambda scope: practices.remove_practitioner(scope, new("app")),
        "practices.remove_provider": lambda scope: practices.remove_provider(scope, provider.id),
        "practices.set_live": lambda scope: practices.set_live(scope, clinic.tenant_id, live=True),
    }


def of_the_platform(stores: Repositories, clinic: Clinic, provider: Provider) -> dict[str, Call]:
    """Methods that only reviewers and processes of ours use."""
    applications, practices = stores.applications, stores.practices
    tenant = TenantRecord(id=clinic.tenant_id, slug=clinic.slug, name="Arogya")
    person = Practitioner(id=new("prc"), name="Dr. X", gender="unstated", registration=provider.registration)

    async def draft(_: Scope) -> None:
        application = new("app")
        applicant = Subject(application)
        told = details(new("c").replace("_", "-"))
        await applications.insert(applicant, application, told, "hash", DAY)
        await applications.add_document(applicant, application, a_document(), DAY)
        await applications.amend(applicant, application, 2, told, DAY)

    async def drain(_: Scope) -> None:
        await applications.drained(await applications.events(5))

    async def pages(_: Scope) -> None:
        for query in (
            ApplicationQuery(limit=1),
            ApplicationQuery(limit=1, state=ApplicationState.SUBMITTED),
            ApplicationQuery(limit=1, overdue_at=DAY + minutes(600)),
        ):
            page = await applications.page(REVIEWERS, query, None)
            if page.next_cursor is not None:
                await applications.page(REVIEWERS, query, page.next_cursor)

    return {
        "applications.amend": draft,
        "applications.add_document": draft,
        "applications.page": pages,
        "applications.events": lambda _: applications.events(5),
        "applications.drained": drain,
        "practices.slug_taken": lambda _: practices.slug_taken(WORLD, clinic.slug, new("ten")),
        "practices.practitioner_by_registration": lambda _: practices.practitioner_by_registration(WORLD, "none"),
        "practices.open_tenant": lambda _: practices.open_tenant(WORLD, tenant),
        "practices.open_clinic": lambda _: practices.open_clinic(WORLD, clinic),
        "practices.open_practitioner": lambda _: practices.open_practitioner(WORLD, person, new("app")),
        "practices.open_provider": lambda _: practices.open_provider(WORLD, provider),
    }
