"""Being forgotten: time for second thoughts, then no use of anything, then store by store nothing left of it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.deletions import Decided, DeletionActivities, Noted, Step, Tell
    from activities.erasure import ErasureActivities
    from models.booking import WaitingFor
    from models.data_classes import RetentionClass
    from models.deletions import QUIET, DeletionRef, DeletionState, Plan, Retained
    from models.erasure import STORES, EraseStore, ErasureReceipt, Store
    from models.messaging import Template
    from models.operations import WorkflowStatus
    from workflows import attributes
    from workflows.policies import ERASE, FORGET, heartbeating, local_first, regular, until

FIRST_LOOK = timedelta(seconds=1)
LAST_LOOK_GAP = timedelta(hours=1)
"""Refunds take days; nobody waits for what is erased."""

State = DeletionState


@workflow.defn(name="DeletionWorkflow")
class DeletionWorkflow:
    """Stays with one deletion to its certificate. What a law keeps longer, a daily schedule erases in its time."""

    @workflow.init
    def __init__(self, about: DeletionRef) -> None:
        """All state exists before any handler may run."""
        self._about = about
        self._state = State.IDENTITY_CONFIRMED
        self._cancelled = False
        self._look_again = False
        self._waiting: WaitingFor | None = None
        self._done: list[str] = []

    @workflow.run
    async def run(self, about: DeletionRef) -> tuple[Retained, ...]:
        """Wait out the grace, close the account, settle what is open, erase, certify; what stays and until when."""
        workflow.upsert_search_attributes([attributes.SLA_DEADLINE.value_set(about.grace_until)])
        await self._begin()
        await self._grace()
        if not await self._restrict():
            return ()
        await self._settle()
        plan = await self._plan()
        await self._erase(plan)
        return await self._certify()

    # Messages: an update owes an answer, a signal reports a fact, a query is for operators.

    @workflow.update
    async def begun(self) -> DeletionState:
        """That the account serves only to take it back from now on."""
        await workflow.wait_condition(lambda: self._state is not State.IDENTITY_CONFIRMED)
        return self._state

    @workflow.signal
    def cancelled(self) -> None:
        """It was taken back; the deletion itself says whether in time."""
        self._cancelled = True

    @workflow.signal
    def changed(self) -> None:
        """A hold was placed or lifted, or something that is waited for has ended."""
        self._look_again = True

    @workflow.query
    def status(self) -> WorkflowStatus:
        """What is awaited, until when, and what was done."""
        return WorkflowStatus(state=self._state, waiting_for=self._waiting, done=tuple(self._done))

    # Second thoughts

    async def _begin(self) -> None:
        self._enter(await local_first(DeletionActivities.begin, self._step(), FORGET, "let second thoughts begin"))
        if self._state is State.GRACE:
            await self._tell(Template.DELETION_BEGUN)

    async def _grace(self) -> None:
        if self._about.notice_at is not None:
            await self._wait_until(self._about.notice_at)
            if self._state is State.GRACE:
                await self._tell(Template.DELETION_DUE)
        await self._wait_until(self._about.grace_until)

    async def _wait_until(self, instant: datetime) -> None:
        """Wait on, whatever anybody signals, unless the deletion itself says that it was taken back."""
        while self._state is State.GRACE and workflow.now() < instant:
            self._wait_for("second thoughts", instant)
            await until(lambda: self._cancelled, instant, "second thoughts")
            if self._cancelled:
                self._cancelled = False
                self._enter(await local_first(DeletionActivities.look, self._step(), FORGET, "was it taken back"))

    async def _tell(self, template: Template) -> None:
        step = Tell(about=self._about, at=workflow.now(), template=template)
        await local_first(DeletionActivities.tell, step, FORGET, f"tell: {template}")
        self._done.append(f"told: {template}")

    # Restricted

    async def _restrict(self) -> bool:
        """Close the account, unless it was taken back in time."""
        self._enter(await regular(DeletionActivities.restrict, self._step(), FORGET, "close the account"))
        if self._state is State.CANCELLED:
            await self._tell(Template.DELETION_CANCELLED)
            self._wait_for(None, None)
            return False
        await self._tell(Template.ACCOUNT_CLOSED)
        return True

    async def _settle(self) -> None:
        """Look until nothing is open, and once more when nothing can come in any more."""
        closed_at, gap = workflow.now(), FIRST_LOOK
        while True:
            settled = await heartbeating(DeletionActivities.settle, self._step(), ERASE, "settle what is open")
            quiet_at = closed_at + QUIET
            if not settled.waits_for and workflow.now() >= quiet_at:
                self._done.append("nothing is open")
                return
            again = workflow.now() + gap if settled.waits_for else quiet_at
            await self._until_changed(", ".join(settled.waits_for) or "quiet", again)
            gap = min(gap * 2, LAST_LOOK_GAP)

    async def _plan(self) -> Plan:
        """What goes and what stays; as long as a hold keeps what would go, everything waits."""
        while True:
            plan = await regular(DeletionActivities.plan, self._step(), FORGET, "plan what goes and what stays")
            if plan.held_until is None:
                return plan
            self._enter(State.LEGAL_HOLD)
            await self._until_changed("the end of a legal hold", plan.held_until)

    async def _until_changed(self, event: str, instant: datetime) -> None:
        self._wait_for(event, instant)
        await until(lambda: self._look_again, instant, event)
        self._look_again = False

    # Erased

    async def _erase(self, plan: Plan) -> None:
        """Store by store; the keys last, and together, since each is waited for until nobody remembers it."""
        decided = Decided(about=self._about, at=workflow.now(), plan=plan)
        await regular(DeletionActivities.decide, decided, FORGET, "decide what goes")
        self._enter(State.ERASING)
        self._wait_for(None, None)
        if self._about.dependant_id is not None:
            gone = await regular(DeletionActivities.forget_child, self._step(), FORGET, "forget somebody's dependant")
            await self._note(gone)
            return
        for store in STORES:
            if store is Store.KEYS:
                await asyncio.gather(*(self._erase_in(store, one) for one in plan.due))
                continue
            for one in plan.due:
                await self._erase_in(store, one)

    async def _erase_in(self, store: Store, data_class: RetentionClass) -> None:
        step = EraseStore(
            subject_id=self._about.subject_id,
            store=store,
            data_class=data_class,
            at=workflow.now(),
            deletion_id=self._about.deletion_id,
        )
        receipts = await heartbeating(ErasureActivities.erase, step, ERASE, f"erase in {store}: {data_class}")
        await self._note(receipts)
        self._done.append(f"{store}: {data_class}")

    async def _note(self, receipts: Sequence[ErasureReceipt]) -> None:
        step = Noted(about=self._about, at=workflow.now(), receipts=tuple(receipts))
        await local_first(DeletionActivities.note, step, FORGET, "keep the receipts")

    async def _certify(self) -> tuple[Retained, ...]:
        retained = await regular(DeletionActivities.certify, self._step(), FORGET, "sign the certificate")
        self._enter(State.ERASED)
        workflow.set_current_details(f"erased; {len(retained)} classes stay for their time")
        return retained

    # Small things

    def _step(self) -> Step:
        return Step(about=self._about, at=workflow.now())

    def _enter(self, state: DeletionState) -> None:
        if state is not self._state:
            self._done.append(state)
        self._state = state

    def _wait_for(self, event: str | None, instant: datetime | None) -> None:
        if event is None or instant is None:
            self._waiting = None
            workflow.set_current_details(f"{self._state}; nothing is awaited")
            return
        self._waiting = WaitingFor(event=event, until=instant)
        workflow.set_current_details(f"{self._state}; waiting for {event} until {instant:%Y-%m-%d %H:%M:%S} UTC")
