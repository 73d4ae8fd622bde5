"""The follow-up's steps: to look how it stands and note what was decided, and to give the practice a task."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple

from temporalio import activity

from activities.consents import agreed
from activities.failures import typed_failures
from models.base import Id, Model, UtcDatetime
from models.consents import Purpose
from models.consultation_ports import Consultations
from models.follow_up import Completed, Course, Decision, Outcome, Written, decide
from models.follow_up_ports import FollowUps
from models.identity import Subject, Tenant
from models.ids import review_id
from models.ports import Consents
from models.reminder_ports import Readers
from models.review_ports import Reviews
from models.staff_tasks import StaffTasks, TaskKind, task_of


class FollowUpOf(Model):
    """Which visit is followed up."""

    tenant_id: Id
    appointment_id: Id
    subject_id: Id


class LookAfter(Model):
    """Look how it stands at an instant (UTC), after parts of which this became."""

    about: FollowUpOf
    at: UtcDatetime
    done: tuple[Outcome, ...] = ()


class RaiseTask(Model):
    """Give the practice a task about a visit, noticed at an instant (UTC)."""

    about: FollowUpOf
    at: UtcDatetime


class FollowUpSources(NamedTuple):
    """Where the facts come from."""

    follow_ups: FollowUps
    consultations: Consultations
    reviews: Reviews
    consents: Consents
    readers: Readers


class FollowUpActivities:
    """Reads how things stand, decides by the rules of `models.follow_up` and notes the outcomes at the appointment."""

    def __init__(self, sources: FollowUpSources, tasks: StaffTasks) -> None:
        """Where the facts are, and where tasks go."""
        self._sources = sources
        self._tasks = tasks

    @activity.defn(name="follow_up.look")
    async def look(self, step: LookAfter) -> Decision:
        """What is to be done now; what is not to be told is noted, with why. Repeating it changes nothing.

        A visit that was not completed, or is not there any more, is not followed up.
        """
        about, scope = step.about, Tenant(step.about.tenant_id)
        with typed_failures():
            if step.done:
                await self._sources.follow_ups.record(scope, about.appointment_id, step.done)
            visit = await self._sources.follow_ups.completed(scope, about.appointment_id)
            if visit is None:
                return Decision()
            # A step may have been tried for long: what counts is the later of the two clocks.
            decision = decide(await self._course(visit), max(step.at, datetime.now(UTC)))
            await self._sources.follow_ups.record(scope, about.appointment_id, decision.skipped)
        return decision

    @activity.defn(name="follow_up.raise_task")
    async def raise_task(self, step: RaiseTask) -> None:
        """Have somebody of the practice get in touch with whoever rated so low; once per visit."""
        scope = Tenant(step.about.tenant_id)
        with typed_failures():
            visit = await self._sources.follow_ups.completed(scope, step.about.appointment_id)
            if visit is not None:
                await self._tasks.raise_once(scope, task_of(visit, TaskKind.LOW_RATING, step.at))

    async def _course(self, visit: Completed) -> Course:
        """Everything that counts, as it is now; what the doctor wrote is opened here and only its dates go on."""
        sources, tenant, patient = self._sources, Tenant(visit.tenant_id), Subject(visit.subject_id)
        review = await sources.reviews.find(tenant, review_id(visit.appointment_id))
        reader = await sources.readers.reader(patient, visit.subject_id)
        return Course(
            completed_at=visit.completed_at,
            policy=visit.policy,
            timezone=visit.timezone if reader is None else reader.timezone,
            outcomes=visit.outcomes,
            written=await self._written(visit),
            reviewed=review is not None,
            low=review is not None and review.is_low,
            allowed=await agreed(sources.consents, visit.subject_id, visit.dependant_id, Purpose.FOLLOW_UP),
            booked=await sources.follow_ups.is_booked_again(patient, visit),
        )

    async def _written(self, visit: Completed) -> Written | None:
        newest = await self._sources.consultations.newest(Tenant(visit.tenant_id), visit.appointment_id)
        if newest is None:
            return None
        # Where the patient's key was destroyed there is no date any more.
        day = newest.record.summary.follow_up_on if newest.record is not None else None
        return Written(version=newest.version, at=newest.at, follow_up_on=day)
