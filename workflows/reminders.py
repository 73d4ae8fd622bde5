"""The reminders of one appointment: timers that move with the visit and end with it."""

from __future__ import annotations

from datetime import datetime

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.reminders import Look, ReminderActivities, RemindOf
    from models.booking import WaitingFor
    from models.messaging import Template
    from models.notices import Notice
    from models.operations import WorkflowStatus
    from models.reminders import Decision, Fate, Outcome, Tell
    from workflows.notices import notify
    from workflows.policies import NOTE, local_first, until


@workflow.defn(name="ReminderWorkflow")
class ReminderWorkflow:
    """Sleeps until a reminder is due, looks how the visit stands, and has it told if that is still right."""

    @workflow.init
    def __init__(self, about: RemindOf) -> None:
        """All state exists before any handler may run."""
        self._about = about
        self._changed = False
        self._told: Outcome | None = None
        self._waiting: WaitingFor | None = None
        self._done: list[str] = []

    @workflow.run
    async def run(self, about: RemindOf) -> tuple[str, ...]:
        """Look, tell or sleep, until no reminder is left; what became of each."""
        del about
        while True:
            decision = await self._look()
            if decision.tell is not None and not self._changed:
                await self._tell(decision.tell)
            elif decision.wake_at is not None:
                await self._sleep_until(decision.wake_at)
            elif not self._changed:
                return self._end()

    # Messages: a signal reports a fact, a query is for operators.

    @workflow.signal
    def changed(self) -> None:
        """Something happened to the appointment; how it stands is looked up."""
        self._changed = True

    @workflow.query
    def status(self) -> WorkflowStatus:
        """What is awaited, until when, and what became of each reminder so far."""
        state = "ended" if self._waiting is None else "waiting"
        return WorkflowStatus(state=state, waiting_for=self._waiting, done=tuple(self._done))

    # Steps

    async def _look(self) -> Decision:
        """How the visit stands now, with what was told since the last look noted."""
        self._changed, told = False, self._told
        step = Look(about=self._about, at=workflow.now(), told=told)
        decision = await local_first(ReminderActivities.look, step, NOTE, "look how the visit stands")
        self._told = None
        self._done += [_said(one) for one in (*((told,) if told else ()), *decision.skipped)]
        return decision

    async def _tell(self, tell: Tell) -> None:
        """Have it told; the same reminder of the same time never twice, whoever died in between."""
        await notify(
            Notice(
                tenant_id=self._about.tenant_id,
                appointment_id=self._about.appointment_id,
                recipient_id=self._about.subject_id,
                template=Template.APPOINTMENT_REMINDER,
                occurrence=tell.reminder.occurrence,
                expires_at=tell.expires_at,
            )
        )
        self._told = Outcome(reminder=tell.reminder, fate=Fate.TOLD, at=workflow.now())

    async def _sleep_until(self, instant: datetime) -> None:
        self._waiting = WaitingFor(event="reminder", until=instant)
        workflow.set_current_details(f"the next reminder is due at {instant:%Y-%m-%d %H:%M:%S} UTC")
        await until(lambda: self._changed, instant, "the next reminder")

    def _end(self) -> tuple[str, ...]:
        self._waiting = None
        workflow.set_current_details("no reminder is left")
        return tuple(self._done)


def _said(outcome: Outcome) -> str:
    """One line for operators: which reminder, and what became of it."""
    reminder = outcome.reminder
    lead = f"{reminder.lead_seconds} s before {reminder.start:%Y-%m-%d %H:%M} UTC"
    return f"{lead if reminder.lead_seconds else 'at once'}: {outcome.fate}"
