"""An export and its clock: collected in the background, announced, kept for a while, cleared away."""

from __future__ import annotations

import asyncio
from datetime import datetime

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.exports import ClearExport, Collected, ExportActivities, ReachExportMark, TellExport
    from models.booking import WaitingFor
    from models.due_clock import MARKS
    from models.exports import ExportRef, ExportState
    from models.operations import WorkflowStatus
    from workflows import attributes
    from workflows.policies import COLLECT, FAN_OUT, heartbeating, regular, until


@workflow.defn(name="ExportWorkflow")
class ExportWorkflow:
    """Stays with one export until its file is gone."""

    @workflow.init
    def __init__(self, about: ExportRef) -> None:
        """All state exists before any handler may run."""
        self._about = about
        self._state = ExportState.COLLECTING
        self._stopped = False
        self._waiting: WaitingFor | None = None
        self._done: list[str] = []

    @workflow.run
    async def run(self, about: ExportRef) -> ExportState:
        """Collect while the clock runs, tell, wait until the time is over, clear."""
        workflow.upsert_search_attributes([attributes.SLA_DEADLINE.value_set(about.due_at)])
        collected = await self._collected()
        self._state = collected.state
        if collected.state is ExportState.READY and collected.expires_at is not None:
            await self._tell(collected.expires_at)
            await self._kept_until(collected.expires_at)
        self._state = await self._clear()
        return self._state

    @workflow.signal
    def stop(self) -> None:
        """Whoever it is about is to be forgotten; that stands in its record already."""
        self._stopped = True

    @workflow.query
    def status(self) -> WorkflowStatus:
        """What is awaited, until when, and what was done."""
        return WorkflowStatus(state=self._state, waiting_for=self._waiting, done=tuple(self._done))

    async def _collected(self) -> Collected:
        """The outcome; the time is marked as it passes."""
        collecting = asyncio.create_task(
            heartbeating(ExportActivities.collect, self._about, COLLECT, "collect, pack and read back")
        )
        for percent in MARKS:
            instant = self._about.reaches(percent)
            self._wait("collected", instant)
            await until(collecting.done, instant, "the export")
            if collecting.done():
                break
            await self._mark(percent)
        self._waiting = WaitingFor(event="collected", until=self._about.due_at)
        collected = await collecting
        self._done.append("collected")
        workflow.upsert_search_attributes([attributes.NEEDS_HUMAN.value_set(value=False)])
        return collected

    async def _mark(self, percent: int) -> None:
        step = ReachExportMark(about=self._about, percent=percent, at=workflow.now())
        if not await regular(ExportActivities.reach, step, FAN_OUT, f"{percent} % of the time is used"):
            return
        self._done.append(f"{percent} % of the time is used")
        if percent == MARKS[-1]:
            attributes.call_a_human()

    async def _tell(self, expires_at: datetime) -> None:
        step = TellExport(about=self._about, expires_at=expires_at, at=workflow.now())
        await regular(ExportActivities.tell, step, FAN_OUT, "tell whoever asked")
        self._done.append("told")

    async def _kept_until(self, expires_at: datetime) -> None:
        self._wait("stop", expires_at)
        await until(lambda: self._stopped, expires_at, "the end of its time")

    async def _clear(self) -> ExportState:
        ended = ExportState.EXPIRED if self._state is ExportState.READY and not self._stopped else ExportState.STOPPED
        self._waiting = None
        await regular(
            ExportActivities.clear,
            ClearExport(about=self._about, state=ended, at=workflow.now()),
            FAN_OUT,
            "remove the file",
        )
        self._done.append("cleared")
        workflow.set_current_details(f"{ended}: the file is gone")
        return ended

    def _wait(self, event: str, instant: datetime) -> None:
        self._waiting = WaitingFor(event=event, until=instant)
        workflow.set_current_details(f"{self._state}; {event} or {instant:%Y-%m-%d %H:%M} UTC")
