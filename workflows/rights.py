"""A request by right and its clock: those who answer are warned, then a person is called; whoever asked is told."""

from __future__ import annotations

from datetime import datetime, timedelta

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.rights import ReachMark, RightsActivities, TellAnswer
    from models.booking import WaitingFor
    from models.due_clock import MARKS
    from models.operations import WorkflowStatus
    from models.rights import RightsRef, RightsState
    from workflows import attributes
    from workflows.policies import NOTE, local_first, until

PATIENCE = timedelta(days=365)
"""How long it waits for an overdue answer before it looks around by itself; nothing follows from it."""


@workflow.defn(name="RightsWorkflow")
class RightsWorkflow:
    """Stays with one request until it is answered, however late."""

    @workflow.init
    def __init__(self, about: RightsRef) -> None:
        """All state exists before any handler may run."""
        self._about = about
        self._answered = False
        self._waiting: WaitingFor | None = None
        self._done: list[str] = []

    @workflow.run
    async def run(self, about: RightsRef) -> RightsState:
        """Mark the time as it passes, wait for the answer, pass it on."""
        workflow.upsert_search_attributes([attributes.SLA_DEADLINE.value_set(about.due_at)])
        for percent in MARKS:
            await self._wait_until(about.reaches(percent))
            if not self._answered:
                await self._mark(percent)
        while not self._answered:
            await self._wait_until(workflow.now() + PATIENCE)
        await self._tell()
        return RightsState.ANSWERED

    @workflow.signal
    def answered(self) -> None:
        """Somebody has answered; the answer stands in the request."""
        self._answered = True

    @workflow.query
    def status(self) -> WorkflowStatus:
        """What is awaited, until when, and what was done."""
        state = RightsState.ANSWERED if self._answered else RightsState.RECEIVED
        return WorkflowStatus(state=state, waiting_for=self._waiting, done=tuple(self._done))

    async def _wait_until(self, instant: datetime) -> None:
        self._waiting = WaitingFor(event="answer", until=instant)
        workflow.set_current_details(f"due at {self._about.due_at:%Y-%m-%d %H:%M} UTC; waiting for an answer")
        await until(lambda: self._answered, instant, "the answer")

    async def _mark(self, percent: int) -> None:
        """Warn; at the end of the time call a person. A request whose answer's word was lost is found here too."""
        step = ReachMark(about=self._about, percent=percent, at=workflow.now())
        if not await local_first(RightsActivities.reach, step, NOTE, f"{percent} % of the time is used"):
            self._answered = True
            return
        self._done.append(f"{percent} % of the time is used")
        if percent == MARKS[-1]:
            attributes.call_a_human()

    async def _tell(self) -> None:
        step = TellAnswer(about=self._about, at=workflow.now())
        await local_first(RightsActivities.tell, step, NOTE, "tell whoever asked")
        self._done.append("told")
        self._waiting = None
        workflow.upsert_search_attributes([attributes.NEEDS_HUMAN.value_set(value=False)])
        workflow.set_current_details("answered")
