"""An application's life on the real workflow service: review, decisions, making the practice, going live."""

from __future__ import annotations

from datetime import timedelta

from adapters.temporal.in_clear import history_in_clear
from models.errors import Code
from models.identity import PLATFORM, Public, Role, System, Tenant
from models.messaging import Template
from models.money import Money
from models.onboarding import (
    ApplicationState,
    CheckName,
    CheckOutcome,
    DecisionKind,
    OnboardingEventType,
    OnboardingPolicy,
    PracticeIds,
)
from models.providers import PaymentMode, TenantRecord
from tests.onboarding.paths import EVERY_DAY, a_slug, publish_hours
from tests.onboarding.support import Office, add_a_document, details
from tests.stack import eventually

TEST = System("tests")


async def test_from_the_draft_to_the_first_bookable_hour(office: Office) -> None:
    slug = a_slug()
    applicant = await office.applies(details(slug, "KMC-100"))
    assert (await applicant.submit()).state is ApplicationState.SUBMITTED
    approved = await applicant.decide(DecisionKind.APPROVE, "welcome")
    assert (approved.state, approved.refusal) == (ApplicationState.APPROVED, None)
    await applicant.until(lambda one: OnboardingEventType.PROVISIONED in {entry.event for entry in one.history})

    made = PracticeIds.of(applicant.id)
    owner = office.invitations.issued[made.invitation_id]
    assert (owner.tenant_id, owner.email, owner.role) == (made.tenant_id, "nirmala@eyecare.example", Role.ADMIN)
    assert await office.stores.directory.clinic_by_slug(Public(), slug) is None, "nobody sees it yet"
    assert await office.stores.directory.offering(Public(), made.provider_id) is None

    await publish_hours(office, applicant)
    await applicant.reaches(ApplicationState.LIVE)
    clinic = await office.stores.directory.clinic_by_slug(Public(), slug)
    assert clinic is not None
    assert (clinic.id, clinic.city) == (made.clinic_id, "Nashik")
    offering = await office.stores.directory.offering(Public(), made.provider_id)
    assert offering is not None
    [service] = offering.provider.services
    assert (service.fee, service.payment) == (Money(amount=50_000), PaymentMode.AT_CLINIC)
    letters = await eventually(applicant.letters, lambda seen: Template.PRACTICE_LIVE in seen)
    assert letters == [Template.APPLICATION_APPROVED, Template.PRACTICE_LIVE]


async def test_it_is_asked_for_a_document_and_the_clock_stands_still(office: Office) -> None:
    applicant = await office.applies(details(a_slug(), "KMC-101"), documents=0)
    await applicant.submit()
    refused = await applicant.decide(DecisionKind.APPROVE)
    assert refused.refusal is Code.CHECKS_FAILED
    found = {one.check: one.outcome for one in (await applicant.look()).findings}
    assert found == {
        CheckName.REGISTRATION: CheckOutcome.REVIEW,
        CheckName.PRACTITIONER: CheckOutcome.PASSED,
        CheckName.SLUG: CheckOutcome.PASSED,
        CheckName.DOCUMENTS: CheckOutcome.BLOCKING,
    }
    assert (await applicant.look()).due_at is not None
    await applicant.decide(DecisionKind.REQUEST_CHANGES, "please send the certificate")
    waiting = await applicant.look()
    assert waiting.state is ApplicationState.CHANGES_REQUESTED
    assert waiting.due_at is None
    assert waiting.clock is not None
    assert "please send the certificate" in waiting.notes.values()
    [letter] = await eventually(applicant.sent, lambda seen: len(seen) == 1)
    assert letter.params["note"] == "please send the certificate"

    await add_a_document(office, applicant)
    assert (await applicant.submit()).state is ApplicationState.UNDER_REVIEW
    assert (await applicant.decide(DecisionKind.APPROVE)).state is ApplicationState.APPROVED


async def test_the_promised_time_runs_out(office: Office) -> None:
    applicant = await office.applies(details(a_slug(), "KMC-102"), OnboardingPolicy(review=timedelta(seconds=3)))
    await applicant.submit()
    late = await applicant.until(
        lambda one: OnboardingEventType.REVIEW_OVERDUE in {entry.event for entry in one.history}
    )
    marks = [one.event for one in late.history if "review_" in one.event and "started" not in one.event]
    assert marks == [
        OnboardingEventType.REVIEW_HALF,
        OnboardingEventType.REVIEW_NEARLY,
        OnboardingEventType.REVIEW_OVERDUE,
    ]
    assert late.state is ApplicationState.UNDER_REVIEW
    told = await eventually(applicant.letters, lambda seen: len(seen) == 3)
    assert told == [Template.REVIEW_DUE] * 3
    query = f'WorkflowId = "onboarding:{applicant.id}" and NeedsHuman = true'

    async def called() -> int:
        return (await office.client.count_workflows(query)).count

    assert await eventually(called, lambda count: count == 1) == 1
    assert (await applicant.decide(DecisionKind.REJECT, "no such register")).state is ApplicationState.REJECTED
    assert await applicant.handle.result() is ApplicationState.REJECTED
    assert await eventually(called, lambda count: count == 0) == 0


async def test_what_cannot_be_made_is_taken_back_in_reverse(office: Office) -> None:
    slug = a_slug()
    applicant = await office.applies(details(slug, "KMC-103"))
    await applicant.submit()
    office.invitations.refuses = True
    try:
        await applicant.decide(DecisionKind.APPROVE)
        back = await applicant.until(
            lambda one: OnboardingEventType.PROVISIONING_FAILED in {entry.event for entry in one.history}
        )
    finally:
        office.invitations.refuses = False
    assert back.state is ApplicationState.UNDER_REVIEW
    done = (await applicant.status()).done
    assert [one for one in done if one.endswith("taken back")] == [
        "profile taken back",
        "practitioner taken back",
        "clinic taken back",
        "tenant taken back",
    ]
    made = PracticeIds.of(applicant.id)
    database = office.stores.database
    for name, key in (("tenants", made.tenant_id), ("clinics", made.clinic_id), ("providers", made.provider_id)):
        assert await database[name].count_documents({"_id": key}) == 0, name
    assert await database["practitioners"].count_documents({"application_id": applicant.id}) == 0
    # Nothing stands in the way of a second try.
    assert (await applicant.decide(DecisionKind.APPROVE)).state is ApplicationState.APPROVED
    await applicant.until(lambda one: one.history[-1].event is OnboardingEventType.PROVISIONED)
    assert made.invitation_id in office.invitations.issued


async def test_a_name_that_was_lost_meanwhile_goes_back_to_the_reviewer(office: Office) -> None:
    slug = a_slug()
    applicant = await office.applies(details(slug, "KMC-104"))
    await applicant.submit()
    await applicant.until(lambda one: bool(one.findings))
    await office.stores.directory.put_tenant(TEST, TenantRecord(id=f"tnt_{slug}", slug=slug, name="Faster"))
    await applicant.decide(DecisionKind.APPROVE)
    back = await applicant.until(
        lambda one: {found.check: found.outcome for found in one.findings}.get(CheckName.SLUG) is CheckOutcome.BLOCKING
    )
    assert back.state is ApplicationState.UNDER_REVIEW
    assert (await applicant.decide(DecisionKind.APPROVE)).refusal is Code.CHECKS_FAILED


async def test_a_known_practitioner_gets_a_second_profile(office: Office) -> None:
    first = await office.applies(details(a_slug(), "KMC-105"))
    second = await office.applies(details(a_slug(), " kmc-105 "))
    people = []
    for applicant in (first, second):
        await applicant.submit()
        await applicant.decide(DecisionKind.APPROVE)
        await applicant.until(lambda one: one.history[-1].event is OnboardingEventType.PROVISIONED)
        made = PracticeIds.of(applicant.id)
        people.append((await office.stores.publications.find(TEST, made.provider_id)).provider.practitioner_id)
    assert people[0] == people[1]
    found = {one.check: one for one in (await second.look()).findings}[CheckName.PRACTITIONER]
    assert people[0] in found.detail


async def test_the_owner_is_reminded_until_there_are_hours(office: Office) -> None:
    policy = OnboardingPolicy(remind_every=timedelta(seconds=1), look_every=timedelta(seconds=1))
    applicant = await office.applies(details(a_slug(), "KMC-106"), policy)
    await applicant.submit()
    await applicant.decide(DecisionKind.APPROVE)
    await applicant.until(lambda one: [entry.event for entry in one.history].count(OnboardingEventType.REMINDED) >= 2)
    assert Template.PRACTICE_NOT_YET_LIVE in office.letters.about(applicant.id)
    made = PracticeIds.of(applicant.id)
    published = await office.stores.publications.find(Tenant(made.tenant_id), made.provider_id)
    await office.stores.publications.set_availability(Tenant(made.tenant_id), published.provider, EVERY_DAY, 0)
    # Nobody tells the workflow: it looks by itself.
    await applicant.reaches(ApplicationState.LIVE)


async def test_a_suspended_practice_is_hidden(office: Office) -> None:
    slug = a_slug()
    applicant = await office.applies(details(slug, "KMC-107"))
    await applicant.submit()
    assert (await applicant.suspend()).refusal is Code.STATE_CONFLICT
    await applicant.decide(DecisionKind.APPROVE)
    await applicant.until(lambda one: one.history[-1].event is OnboardingEventType.PROVISIONED)
    await publish_hours(office, applicant)
    await applicant.reaches(ApplicationState.LIVE)
    assert (await applicant.withdraw()).refusal is Code.STATE_CONFLICT
    assert (await applicant.suspend()).state is ApplicationState.SUSPENDED
    assert await applicant.handle.result() is ApplicationState.SUSPENDED
    made = PracticeIds.of(applicant.id)
    assert await office.stores.directory.offering(Public(), made.provider_id) is None
    assert await office.stores.directory.clinic_by_slug(Public(), slug) is None


async def test_each_step_tells_how_long_the_one_before_took(office: Office) -> None:
    applicant = await office.applies(details(a_slug(), "KMC-108"))
    await applicant.submit()
    await applicant.withdraw()
    assert await applicant.handle.result() is ApplicationState.WITHDRAWN
    events = [one for one in await office.stores.applications.events(1000) if one.application_id == applicant.id]
    assert [one.state for one in events][-1] is ApplicationState.WITHDRAWN
    assert all(one.seconds >= 0 for one in events)
    assert [one.version for one in events] == sorted({one.version for one in events})
    await office.stores.applications.drained(events)
    left = [one for one in await office.stores.applications.events(1000) if one.application_id == applicant.id]
    assert left == []


async def test_what_is_stored_names_nobody(office: Office) -> None:
    applicant = await office.applies(details(a_slug(), "KMC-SECRET-109"))
    await applicant.submit()
    await applicant.decide(DecisionKind.REQUEST_CHANGES, "ask Nirmala's father")
    stored = str(await office.stores.database["applications"].find_one({"_id": applicant.id}))
    history = await history_in_clear(office.client, applicant.handle.id)
    for secret in ("Nirmala Joshi", "nirmala@", "9812345678", "KMC-SECRET", "father", "certificate.pdf"):
        assert secret not in stored
        assert secret.encode() not in history
    assert f"'tenant_id': '{PLATFORM}'" in stored
    assert b'"decision_id"' in history, "payloads are read in clear"
