"""Making a practice of an approved application, one idempotent step after the other, and taking it back."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from temporalio import activity

from activities.failures import typed_failures
from models.base import Id, Model, UtcDatetime
from models.errors import Code, VisitNowError, not_found
from models.identity import Invitation, Role, System
from models.money import Money
from models.onboarding import Application, ApplicationDetails, PracticeIds, registration_key
from models.onboarding_ports import Applications, Practices
from models.ports import Invites
from models.providers import Clinic, PaymentMode, Practitioner, Provider, Registration, Service, TenantRecord

PROVISIONING: Final = System("a practice is made before anybody belongs to it")
INVITATION_LIFETIME: Final = timedelta(days=14)

FIRST_SERVICE_MINUTES: Final = 15
FIRST_SERVICE_FEE: Final = Money(amount=500_00)
"""What a practice starts with, paid at its desk; the owner sets their own before publishing hours."""


class ProvisionStep(Model):
    """One step for one application."""

    application_id: Id
    at: UtcDatetime


class PracticeActivities:
    """The steps of the saga; the ids of what they make follow from the application's."""

    def __init__(self, applications: Applications, practices: Practices, invites: Invites) -> None:
        """Where the application is read, where the practice is written, and how its owner is invited."""
        self._applications = applications
        self._practices = practices
        self._invites = invites

    @activity.defn(name="practices.open_tenant")
    async def open_tenant(self, step: ProvisionStep) -> None:
        """The tenant with the default policy. Refused where somebody else has its name."""
        with typed_failures():
            made, details = await self._application(step)
            tenant = TenantRecord(id=made.tenant_id, slug=details.slug, name=details.practice_name)
            await self._practices.open_tenant(PROVISIONING, tenant)

    @activity.defn(name="practices.open_clinic")
    async def open_clinic(self, step: ProvisionStep) -> None:
        """Its clinic, which nobody sees yet. Refused where somebody else has its name."""
        with typed_failures():
            made, details = await self._application(step)
            clinic = Clinic(
                id=made.clinic_id,
                tenant_id=made.tenant_id,
                slug=details.slug,
                name=details.practice_name,
                timezone=details.clinic.timezone,
                address=details.clinic.address,
                city=details.clinic.town,
                location=details.clinic.location,
            )
            await self._practices.open_clinic(PROVISIONING, clinic)

    @activity.defn(name="practices.open_practitioner")
    async def open_practitioner(self, step: ProvisionStep) -> str:
        """The person, or the one who has this registration already; their id."""
        with typed_failures():
            _, details = await self._application(step)
            person = practitioner_of(details)
            return await self._practices.open_practitioner(PROVISIONING, person, step.application_id)

    @activity.defn(name="practices.open_provider")
    async def open_provider(self, step: ProvisionStep) -> None:
        """The person's profile at the clinic with a first service, and what search will find it by; not live yet."""
        with typed_failures():
            made, details = await self._application(step)
            person = practitioner_of(details)
            practitioner_id = await self._practices.open_practitioner(PROVISIONING, person, step.application_id)
            provider = Provider(
                id=made.provider_id,
                tenant_id=made.tenant_id,
                clinic_id=made.clinic_id,
                practitioner_id=practitioner_id,
                name=person.name,
                gender=person.gender,
                specialties=details.practitioner.specialties,
                languages=details.practitioner.languages,
                registration=person.registration,
                services=(first_service(made.service_id),),
                live=False,
            )
            await self._practices.open_provider(PROVISIONING, provider)

    @activity.defn(name="practices.invite_owner")
    async def invite_owner(self, step: ProvisionStep) -> None:
        """An invitation to the owner's mailbox to be the tenant's admin: the last step, so that none is called back."""
        with typed_failures():
            made, details = await self._application(step)
            invitation = Invitation(
                id=made.invitation_id,
                tenant_id=made.tenant_id,
                email=details.owner.email,
                role=Role.ADMIN,
                expires_at=step.at + INVITATION_LIFETIME,
            )
            await self._invites.issue(PROVISIONING, invitation)

    # Taking back: each tolerates that its step never happened.

    @activity.defn(name="practices.remove_tenant")
    async def remove_tenant(self, step: ProvisionStep) -> None:
        """Undo `open_tenant`."""
        with typed_failures():
            await self._practices.remove_tenant(PROVISIONING, _ids(step).tenant_id)

    @activity.defn(name="practices.remove_clinic")
    async def remove_clinic(self, step: ProvisionStep) -> None:
        """Undo `open_clinic`."""
        with typed_failures():
            await self._practices.remove_clinic(PROVISIONING, _ids(step).clinic_id)

    @activity.defn(name="practices.remove_practitioner")
    async def remove_practitioner(self, step: ProvisionStep) -> None:
        """Undo `open_practitioner`."""
        with typed_failures():
            await self._practices.remove_practitioner(PROVISIONING, step.application_id)

    @activity.defn(name="practices.remove_provider")
    async def remove_provider(self, step: ProvisionStep) -> None:
        """Undo `open_provider`."""
        with typed_failures():
            await self._practices.remove_provider(PROVISIONING, _ids(step).provider_id)

    async def _application(self, step: ProvisionStep) -> tuple[PracticeIds, ApplicationDetails]:
        application: Application | None = await self._applications.find(PROVISIONING, step.application_id)
        if application is None:
            raise not_found()
        if application.details is None:
            raise VisitNowError(Code.STATE_CONFLICT, "the application was erased")
        return application.made, application.details


def practitioner_of(details: ApplicationDetails) -> Practitioner:
    """The person that an application tells of; the id follows from the registration."""
    told = details.practitioner
    registration = Registration(council=told.council, number=told.registration_number, year=told.registration_year)
    key = registration_key(registration.council, registration.number, registration.year)
    return Practitioner(id=f"prc_{key[:26]}", name=told.name, gender=told.gender, registration=registration)


def first_service(service_id: str) -> Service:
    """What a practice offers until its owner says otherwise."""
    return Service(
        id=service_id,
        name="Consultation",
        duration_minutes=FIRST_SERVICE_MINUTES,
        fee=FIRST_SERVICE_FEE,
        payment=PaymentMode.AT_CLINIC,
    )


def _ids(step: ProvisionStep) -> PracticeIds:
    return PracticeIds.of(step.application_id)
