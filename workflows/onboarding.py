"""One practice, from the proof of its owner's mailbox to its first bookable hour, and on until it is suspended."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from temporalio import workflow
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from activities.onboarding import Letter, LookAt, OnboardingActivities
    from activities.practices import PracticeActivities, ProvisionStep
    from models.booking import WaitingFor
    from models.errors import Code
    from models.messaging import Template
    from models.onboarding import (
        CLOCK_RUNS,
        FINAL_STATES,
        MARK_EVENTS,
        SYSTEM_ACTOR,
        Answer,
        ApplicationState,
        CheckOutcome,
        Command,
        Decide,
        DecisionKind,
        Finding,
        Move,
        OnboardingActor,
        OnboardingEventType,
        StartOnboarding,
        sources_of,
    )
    from models.operations import WorkflowStatus
    from models.review_clock import MARKS, ReviewClock
    from workflows import attributes
    from workflows.policies import STORE, is_cancelled, local_first, regular, until

REVIEW_PATIENCE = timedelta(days=365)
"""How long a workflow waits for a person before it looks around by itself; nothing follows from it."""
PARTING = timedelta(milliseconds=100)
"""Between the last answer and the end of the workflow; any time at all would do."""
REMINDERS = 10
"""So often the owner is reminded to publish hours; then a person takes over."""

State = ApplicationState
Event = OnboardingEventType

_DECISIONS = {
    DecisionKind.APPROVE: (State.APPROVED, Event.APPROVED, Template.APPLICATION_APPROVED),
    DecisionKind.REQUEST_CHANGES: (
        State.CHANGES_REQUESTED,
        Event.CHANGES_REQUESTED,
        Template.APPLICATION_CHANGES_REQUESTED,
    ),
    DecisionKind.REJECT: (State.REJECTED, Event.REJECTED, Template.APPLICATION_REJECTED),
}


class SagaStep(NamedTuple):
    """One step of making a practice, and what takes it back (None: nothing comes after it that could fail)."""

    do: Callable[[Any, ProvisionStep], Awaitable[object]]
    undo: Callable[[Any, ProvisionStep], Awaitable[None]] | None
    summary: str


PROVISIONING = (
    SagaStep(PracticeActivities.open_tenant, PracticeActivities.remove_tenant, "tenant"),
    SagaStep(PracticeActivities.open_clinic, PracticeActivities.remove_clinic, "clinic"),
    SagaStep(PracticeActivities.open_practitioner, PracticeActivities.remove_practitioner, "practitioner"),
    SagaStep(PracticeActivities.open_provider, PracticeActivities.remove_provider, "profile"),
    SagaStep(PracticeActivities.invite_owner, None, "invitation"),
)
"""What a practice consists of, parents first; the invitation leaves only when all of it stands."""


@workflow.defn(name="OnboardingWorkflow")
class OnboardingWorkflow:
    """Keeps the promise of a review within its time, makes the practice and lets it go live once it can be booked."""

    @workflow.init
    def __init__(self, start: StartOnboarding) -> None:
        """All state exists before any handler may run."""
        self._id = start.application_id
        self._policy = start.policy
        self._state = State.DRAFT
        self._clock = ReviewClock(allowed=start.policy.review, calendar=start.policy.calendar)
        self._marks = 0
        self._checked = False
        self._checks = 0
        self._findings: tuple[Finding, ...] = ()
        self._published = False
        self._failures = 0
        self._reminders = 0
        self._letters: list[tuple[Template, str | None]] = []
        self._waiting: WaitingFor | None = None
        self._done: list[str] = []
        self._commands = asyncio.Lock()

    @workflow.run
    async def run(self, start: StartOnboarding) -> ApplicationState:
        """Wait for the applicant, review, make the practice, wait for its hours, stay with it."""
        await self._be_submitted(workflow.now() + start.policy.draft_days)
        while self._state not in FINAL_STATES:
            if self._is(State.APPROVED):
                await self._provision()
            elif self._is(State.PROVISIONING):
                await self._go_live()
            elif self._is(State.LIVE):
                await self._stay()
            else:
                await self._review()
        await self._end()
        return self._state

    # Messages: an update owes an answer, a signal reports a fact, a query is for operators.

    @workflow.update
    async def submit(self, command: Command) -> Answer:
        """The applicant hands the application in, the first time or after changes were requested."""
        async with self._commands:
            if self._is(State.DRAFT):
                return await self._take(State.SUBMITTED, Event.SUBMITTED, command)
            if self._is(State.CHANGES_REQUESTED):
                self._checked = False
                return await self._take(State.UNDER_REVIEW, Event.RESUBMITTED, command)
            return self._refusal()

    @workflow.update
    async def decide(self, command: Decide) -> Answer:
        """A reviewer decides; the checks come first, and what they found blocking cannot be approved."""
        await workflow.wait_condition(lambda: self._checked or self._state not in CLOCK_RUNS)
        to, event, letter = _DECISIONS[command.kind]
        if self._state not in sources_of(to):
            return self._refusal()
        async with self._commands:
            if self._state not in sources_of(to):
                return self._refusal()
            if command.kind is DecisionKind.APPROVE and self._blocked:
                return Answer(state=self._state, refusal=Code.CHECKS_FAILED)
            act = Command(id=command.decision_id, actor=command.actor)
            answer = await self._take(to, event, act, note_id=command.decision_id)
            if answer.refusal is None:
                self._letters.append((letter, command.decision_id))
            return answer

    @workflow.update
    async def withdraw(self, command: Command) -> Answer:
        """The applicant takes it back, as long as nothing is decided."""
        # While the practice is made the lock is held for as long as that takes: nobody waits for a refusal.
        if self._state not in sources_of(State.WITHDRAWN):
            return self._refusal()
        async with self._commands:
            return await self._take(State.WITHDRAWN, Event.WITHDRAWN, command)

    @workflow.update
    async def suspend(self, command: Command) -> Answer:
        """The platform hides a practice; what patients have booked stays booked."""
        async with self._commands:
            if self._state not in sources_of(State.SUSPENDED):
                return self._refusal()
            hide = LookAt(application_id=self._id, at=workflow.now())
            await local_first(OnboardingActivities.hide, hide, STORE, "hide the practice")
            return await self._take(State.SUSPENDED, Event.SUSPENDED, command)

    @workflow.signal
    def published(self) -> None:
        """The owner has changed services or hours: there may be something to book now."""
        self._published = True

    @workflow.query
    def status(self) -> WorkflowStatus:
        """What is awaited, until when, and what was done."""
        return WorkflowStatus(state=self._state, waiting_for=self._waiting, done=tuple(self._done))

    # Before the review

    async def _be_submitted(self, lapses_at: datetime) -> None:
        """A draft that nobody hands in is withdrawn after a month."""
        self._wait_for("submission", lapses_at)
        await until(lambda: not self._is(State.DRAFT), lapses_at, "the draft lapses")
        async with self._commands:
            if self._is(State.DRAFT):
                await self._take(State.WITHDRAWN, Event.WITHDRAWN, Command(id=f"{self._id}:lapsed", actor=SYSTEM_ACTOR))

    # The review

    async def _review(self) -> None:
        """One turn: check what is new, write what is owed, then wait for a person or the clock's next mark."""
        await self._send_letters()
        if self._state in CLOCK_RUNS and not self._checked:
            await self._check()
            return
        state, mark = self._state, self._next_mark()
        waited = self._clock.reaches(mark) if mark is not None else None
        instant = waited or workflow.now() + REVIEW_PATIENCE
        self._wait_for("decision" if state in CLOCK_RUNS else "answer", self._clock.due_at or instant)
        await until(lambda: self._state is not state or bool(self._letters), instant, "the review's clock")
        async with self._commands:
            if mark is not None and waited is not None and self._state is state and workflow.now() >= waited:
                await self._pass(mark)

    async def _check(self) -> None:
        look = LookAt(application_id=self._id, at=workflow.now())
        findings = await regular(OnboardingActivities.check, look, STORE, "check the application")
        async with self._commands:
            if self._state not in CLOCK_RUNS:
                return
            self._findings = findings
            self._checks += 1
            first = self._is(State.SUBMITTED)
            step = self._move(
                Event.REVIEW_STARTED if first else Event.CHECKED,
                f"{self._id}:checked:{self._checks}",
                State.UNDER_REVIEW if first else None,
            )
            await self._enter(step.model_copy(update={"findings": findings}))
            self._checked = True
            self._done.append("checked")

    @property
    def _blocked(self) -> bool:
        return any(one.outcome is CheckOutcome.BLOCKING for one in self._findings)

    def _next_mark(self) -> int | None:
        return MARKS[self._marks] if self._marks < len(MARKS) and self._state in CLOCK_RUNS else None

    async def _pass(self, mark: int) -> None:
        """Tell the reviewers that time goes by; at its end somebody must look."""
        self._marks += 1
        await self._enter(self._move(MARK_EVENTS[mark], f"{self._id}:mark:{mark}", None))
        if mark == MARKS[-1]:
            attributes.call_a_human()
        await self._write(Template.REVIEW_DUE, f"{self._id}:review:{mark}", reviewers=True)
        self._done.append(f"{mark} % of the review's time")

    # Making the practice

    async def _provision(self) -> None:
        """A saga: each step's undoing is noted before the step is tried."""
        async with self._commands:
            run = f"{self._id}:provisioning:{self._failures}"
            await self._enter(self._move(Event.PROVISIONING, run, State.PROVISIONING))
            undo: list[SagaStep] = []
            try:
                for step in PROVISIONING:
                    undo.append(step)
                    await regular(step.do, self._step(), STORE, f"make the {step.summary}")
                    self._done.append(f"{step.summary} made")
            except ActivityError as error:
                if is_cancelled(error):
                    raise
                await self._take_back(undo)
                return
            await self._enter(self._move(Event.PROVISIONED, f"{run}:done", None))

    async def _take_back(self, undo: list[SagaStep]) -> None:
        """What was refused for good is undone in reverse, and a person looks at it again."""
        self._failures += 1
        for step in reversed(undo):
            if step.undo is not None:
                await regular(step.undo, self._step(), STORE, f"take the {step.summary} back")
                self._done.append(f"{step.summary} taken back")
        attributes.call_a_human()
        self._checked = False
        failed = f"{self._id}:failed:{self._failures}"
        await self._enter(self._move(Event.PROVISIONING_FAILED, failed, State.UNDER_REVIEW))

    def _step(self) -> ProvisionStep:
        return ProvisionStep(application_id=self._id, at=workflow.now())

    # Going live

    async def _go_live(self) -> None:
        """Live as soon as somebody could book; until then the owner is reminded now and then."""
        await self._send_letters()
        remind_at = workflow.now() + self._policy.remind_every
        while self._is(State.PROVISIONING):
            self._published = False
            look = LookAt(application_id=self._id, at=workflow.now())
            found = await regular(OnboardingActivities.readiness, look, STORE, "look whether it can be booked")
            if found.ready:
                await self._show()
                return
            if workflow.now() >= remind_at:
                remind_at = workflow.now() + self._policy.remind_every
                await self._remind(found.missing)
            next_look = min(workflow.now() + self._policy.look_every, remind_at)
            self._wait_for(f"published {found.missing}", next_look)
            await until(lambda: self._published or not self._is(State.PROVISIONING), next_look, "look again")

    async def _show(self) -> None:
        async with self._commands:
            if not self._is(State.PROVISIONING):
                return
            await regular(
                OnboardingActivities.show, LookAt(application_id=self._id, at=workflow.now()), STORE, "show it"
            )
            await self._enter(self._move(Event.LIVE, f"{self._id}:live", State.LIVE))
        await self._write(Template.PRACTICE_LIVE, f"{self._id}:live")

    async def _remind(self, missing: str) -> None:
        self._reminders += 1
        if self._reminders > REMINDERS:
            attributes.call_a_human()
            return
        number = f"{self._id}:reminder:{self._reminders}"
        await self._write(Template.PRACTICE_NOT_YET_LIVE, number, missing=missing)
        async with self._commands:
            if self._is(State.PROVISIONING):
                await self._enter(self._move(Event.REMINDED, number, None))

    async def _stay(self) -> None:
        """A live practice may be suspended whenever that may be."""
        self._wait_for(None, None)
        await workflow.wait_condition(lambda: not self._is(State.LIVE))

    async def _end(self) -> None:
        """Close, once all letters are on their way and all answers are out."""
        await self._send_letters()
        await workflow.wait_condition(workflow.all_handlers_finished)
        # A task that closes the workflow is thrown away with its answers when a message comes at the same time.
        await workflow.sleep(PARTING, summary="let the answers out")
        self._wait_for(None, None)

    # Small things

    def _is(self, state: ApplicationState) -> bool:
        """Whether that is the state now: any await may have let a command change it."""
        return self._state is state

    def _refusal(self) -> Answer:
        return Answer(state=self._state, refusal=Code.STATE_CONFLICT)

    async def _take(
        self, to: ApplicationState, event: OnboardingEventType, command: Command, note_id: str | None = None
    ) -> Answer:
        """Move on by somebody's command, if the state allows it; the caller holds the lock."""
        if self._state not in sources_of(to):
            return self._refusal()
        step = self._move(event, command.id, to, command.actor)
        await self._enter(step.model_copy(update={"note_id": note_id}))
        return Answer(state=self._state)

    def _move(
        self,
        event: OnboardingEventType,
        event_id: str,
        to: ApplicationState | None,
        actor: OnboardingActor = SYSTEM_ACTOR,
    ) -> Move:
        """A step now; the clock runs while it is our turn and stands still while it is the applicant's."""
        now = workflow.now()
        runs = (to or self._state) in CLOCK_RUNS
        self._clock = self._clock.started(now) if runs else self._clock.stopped(now)
        due = self._clock.due_at
        return Move(
            application_id=self._id,
            event=event,
            event_id=event_id,
            at=now,
            actor=actor,
            to=to,
            clock=self._clock,
            waiting_for=None if due is None else WaitingFor(event="decision", until=due),
        )

    async def _enter(self, step: Move) -> None:
        moved = await local_first(OnboardingActivities.advance, step, STORE, str(step.event))
        if moved.state is not self._state:
            self._done.append(moved.state)
        self._state = moved.state
        due = self._clock.due_at
        changes = [attributes.SLA_DEADLINE.value_unset() if due is None else attributes.SLA_DEADLINE.value_set(due)]
        workflow.upsert_search_attributes(changes)
        if step.to is not None and step.to not in CLOCK_RUNS:
            workflow.upsert_search_attributes([attributes.NEEDS_HUMAN.value_set(value=False)])

    async def _send_letters(self) -> None:
        """Write what decisions owe the owner; a decision's answer does not wait for that."""
        while self._letters:
            template, decision_id = self._letters.pop(0)
            await self._write(template, f"{decision_id}:letter", note_id=decision_id)

    async def _write(
        self,
        template: Template,
        message_id: str,
        *,
        reviewers: bool = False,
        note_id: str | None = None,
        missing: str = "",
    ) -> None:
        letter = Letter(
            application_id=self._id,
            template=template,
            message_id=f"msg_{message_id}",
            at=workflow.now(),
            to="reviewers" if reviewers else "owner",
            note_id=note_id,
            missing=missing,
        )
        await regular(OnboardingActivities.write, letter, STORE, f"write: {template}")

    def _wait_for(self, event: str | None, instant: datetime | None) -> None:
        if event is None or instant is None:
            self._waiting = None
            workflow.set_current_details(f"{self._state}; nothing is awaited")
            return
        self._waiting = WaitingFor(event=event, until=instant)
        workflow.set_current_details(f"{self._state}; waiting for {event} until {instant:%Y-%m-%d %H:%M:%S} UTC")
