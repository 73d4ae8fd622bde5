"""The reminders' only step: to look how the visit stands and to note what was decided."""

from __future__ import annotations

from datetime import UTC, datetime

from temporalio import activity

from activities.failures import typed_failures
from models.absence_ports import LatestOffers
from models.base import Id, Model, UtcDatetime
from models.identity import Subject, Tenant
from models.reminder_ports import Confirmations, Readers, Reminders
from models.reminders import Decision, Outcome, decide


class RemindOf(Model):
    """Which appointment somebody is to be reminded of."""

    tenant_id: Id
    appointment_id: Id
    subject_id: Id


class Look(Model):
    """Look again at an instant (UTC), after a reminder of which this became."""

    about: RemindOf
    at: UtcDatetime
    told: Outcome | None = None


class ReminderActivities:
    """Reads the appointment, decides by the rules of `models.reminders` and notes the outcomes there."""

    def __init__(
        self, reminders: Reminders, readers: Readers, confirmations: Confirmations, offers: LatestOffers
    ) -> None:
        """Where appointments, their readers and what these were told and offered are."""
        self._reminders = reminders
        self._readers = readers
        self._confirmations = confirmations
        self._offers = offers

    @activity.defn(name="reminders.look")
    async def look(self, step: Look) -> Decision:
        """What is to be done now; what is not to be told is noted, with why. Repeating it changes nothing.

        An appointment that is not there any more has no reminders.
        """
        about, scope = step.about, Tenant(step.about.tenant_id)
        with typed_failures():
            if step.told is not None:
                await self._reminders.record(scope, about.appointment_id, [step.told])
            planned = await self._reminders.planned(scope, about.appointment_id)
            if planned is None:
                return Decision()
            reader = await self._readers.reader(Subject(about.subject_id), about.subject_id)
            # A step may have been tried for long: what counts is the later of the two clocks.
            now = max(step.at, datetime.now(UTC))
            confirmed_at = await self._confirmations.confirmed_at(scope, about.appointment_id)
            offer = await self._offers.latest(scope, about.appointment_id)
            decision = decide(planned.visit(reader, confirmed_at, offer), now)
            await self._reminders.record(scope, about.appointment_id, decision.skipped)
        return decision
