"""A doctor is away: everybody affected is told, may choose until a deadline, and is refunded after it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.absence import AbsenceActivities, Page
    from models.absence import OfferTally
    from models.base import Model
    from models.booking import WaitingFor
    from models.operations import WorkflowStatus
    from models.publishing import LeaveRef
    from workflows import attributes
    from workflows.policies import FAN_OUT, Step, regular, until

PAUSE: Final = timedelta(seconds=1)
"""Between two pages: whoever carries messages or moves money is not run over."""
LATECOMERS: Final = timedelta(seconds=40)
"""A booking that was under way when the leave was taken is certain, or gone, by then."""
LOOK_AGAIN: Final = timedelta(seconds=20)
"""Between two looks while somebody's booking is not certain yet."""
PAGES: Final = 200
"""After so many the workflow goes on as a new run: everything that it knows is noted with the offers."""


class Absence(Model):
    """One leave's absence; for so long from now on bookings that were under way are looked for."""

    leave: LeaveRef
    latecomers: timedelta = LATECOMERS


@workflow.defn(name="AbsenceWorkflow")
class AbsenceWorkflow:
    """Sees one leave's patients through; it may run again at any time, since each offer ends once."""

    @workflow.init
    def __init__(self, absence: Absence) -> None:
        """All state exists before any handler may run."""
        self._leave = absence.leave
        self._looks_until = workflow.now() + absence.latecomers
        self._changed = False
        self._pages = 0
        self._tally = OfferTally()
        self._waiting: WaitingFor | None = None

    @workflow.run
    async def run(self, absence: Absence) -> OfferTally:
        """Find, tell, settle, count; then wait for the next deadline, until no offer is open."""
        workflow.upsert_search_attributes([attributes.TENANT_ID.value_set(absence.leave.tenant_id)])
        while True:
            self._changed = False
            found = await regular(AbsenceActivities.find, self._leave, FAN_OUT, "who is affected")
            await self._pages_of(AbsenceActivities.tell, "tell some of them")
            due = await self._pages_of(AbsenceActivities.settle, "settle what is due")
            self._tally = await regular(AbsenceActivities.count, self._leave, FAN_OUT, "count")
            looks_on = found.away and (found.unsure or workflow.now() < self._looks_until)
            if not looks_on and not self._tally.offered:
                break
            if self._pages >= PAGES:
                left = max(timedelta(), self._looks_until - workflow.now())
                workflow.continue_as_new(Absence(leave=self._leave, latecomers=left))
            await self._wait(due, looks_on=looks_on)
        self._close()
        return self._tally

    @workflow.signal
    def changed(self) -> None:
        """The leave was ended, or something else is to be looked at at once."""
        self._changed = True

    @workflow.query
    def status(self) -> WorkflowStatus:
        """What is awaited, until when, and how the offers stand."""
        done = tuple(f"{count} {state}" for state, count in self._tally if count)
        return WorkflowStatus(state="offering" if self._waiting else "settled", waiting_for=self._waiting, done=done)

    async def _pages_of(self, step: Step[LeaveRef, Page], summary: str) -> datetime | None:
        """Work through pages, with a pause after each; when the next is due."""
        while True:
            page = await regular(step, self._leave, FAN_OUT, summary)
            self._pages += 1
            if not page.more or self._pages >= PAGES:
                return page.next_due
            await workflow.sleep(PAUSE, summary="no more at once")

    async def _wait(self, due: datetime | None, *, looks_on: bool) -> None:
        now = workflow.now()
        again = min(self._looks_until, now + LOOK_AGAIN) if now < self._looks_until else now + LOOK_AGAIN
        instants = [one for one in (due, again if looks_on else None) if one is not None]
        # What is open is due some time; a step that was postponed meanwhile is looked at again.
        wake_at = max(min(instants, default=now + LOOK_AGAIN), now + PAUSE)
        self._waiting = WaitingFor(event="choices", until=wake_at)
        workflow.set_current_details(
            f"{self._tally.offered} of {sum(count for _, count in self._tally)} may still choose; "
            f"next look at {wake_at:%Y-%m-%d %H:%M:%S} UTC"
        )
        await until(lambda: self._changed, wake_at, "the next deadline")

    def _close(self) -> None:
        self._waiting = None
        if self._tally.undecided:
            attributes.call_a_human()
        counts = ", ".join(f"{count} {state}" for state, count in self._tally if count)
        workflow.set_current_details(counts or "nobody was affected")
