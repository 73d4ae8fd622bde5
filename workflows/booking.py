"""One appointment, from the hold to the end of the visit."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, ApplicationErrorCategory, FailureError

with workflow.unsafe.imports_passed_through():
    from activities.booking import BookingActivities, CloseBooking
    from activities.payments import AskPayment, LateOrder, OpenOrder, PaymentActivities, PaymentAnswer
    from models.booking import (
        CANCELLABLE,
        RESCHEDULABLE,
        STANDING,
        SYSTEM,
        TRANSITIONS,
        Actor,
        Advance,
        Advanced,
        AppointmentState,
        Cancel,
        Cancellation,
        Cancelled,
        EventType,
        PlaceBooking,
        Placed,
        RefundOutcome,
        WaitingFor,
    )
    from models.errors import Code
    from models.operations import WorkflowStatus
    from models.payments import PaymentFact, PaymentState, RefundReason, RefundState
    from models.visits import MOST_MOVES, STEPS, Attend, Attended, Reschedule, Rescheduled
    from workflows import attributes, booking_steps
    from workflows.payments import Parties, answered, capture, give_back, guard
    from workflows.policies import GATEWAY_READ, GATEWAY_WRITE, STORE, is_refusal, local, local_first, regular, until

NO_SHOW = "no-show"
"""Bookings of before stay confirmed until their day is over."""
PARTING = timedelta(milliseconds=100)
"""Between the last answer and the end of the workflow; any time at all would do."""

State = AppointmentState


@workflow.defn(name="BookingWorkflow")
class BookingWorkflow:
    """Holds a time, waits for its payment, confirms it and stays with the appointment until its visit is over."""

    @workflow.init
    def __init__(self, command: PlaceBooking) -> None:
        """All state exists before any handler may run."""
        self._command = command
        begins = command.begins
        self._state, self._payment_state = begins.state, begins.payment_state
        self._order_id, self._payment, self._steps = begins.order_id, begins.payment, begins.steps
        self._placed: Placed | None = None
        self._reported = self._let_go = self._day_is_over = False
        self._settling: str | None = None
        self._waiting: WaitingFor | None = None
        self._done: list[str] = []
        self._commands = asyncio.Lock()
        self._parties = Parties.of(command)
        self._deadline = workflow.now() + command.policy.payment_window
        self._release_at = self._deadline + command.policy.payment_grace

    @workflow.run
    async def run(self, command: PlaceBooking) -> AppointmentState:
        """Place, be paid, wait for the visit; the whole command is the argument, so no lost update leaves an orphan."""
        self._placed = await self._place()
        if (refusal := self._placed.refusal) is not None:
            await self._part()
            raise ApplicationError(refusal, type=refusal, category=ApplicationErrorCategory.BENIGN)
        if command.needs_payment:
            await self._be_paid()
        if self._stands:
            await self._see_the_visit_through()
        await self._part()
        return self._state

    # Messages: an update owes an answer, a signal reports a fact, a query is for operators.

    @workflow.update
    async def place(self) -> Placed:
        """The outcome of placing."""
        await workflow.wait_condition(lambda: self._placed is not None)
        if self._placed is None:
            raise RuntimeError("woken before the placing was done")
        return self._placed

    @workflow.update
    async def cancel(self, command: Cancel) -> Cancelled:
        """Cancel the appointment; what becomes of the money follows the policy it was booked under."""
        await workflow.wait_condition(lambda: self._placed is not None)
        # Awaits inside let other messages in: the lock keeps commands and the payment's settling apart.
        async with self._commands:
            if not self._may_be_cancelled() or command.only_at not in {None, self._command.start}:
                return Cancelled(state=self._state, conflict=True)
            if self._is(State.HELD):
                return await self._cancel_unpaid(command)
            return await self._cancel_confirmed(command)

    @workflow.update
    async def reschedule(self, command: Reschedule) -> Rescheduled:
        """Move the visit to another time; asked for the time that it has, nothing changes."""
        await self._settled()
        async with self._commands:
            if self._state not in RESCHEDULABLE or self._day_is_over:
                return Rescheduled(state=self._state, refusal=Code.STATE_CONFLICT)
            if command.time.start == self._command.start:
                return Rescheduled(state=self._state)
            if self._steps >= MOST_MOVES or command.comes_too_late(self._command, workflow.now()):
                return Rescheduled(state=self._state, refusal=Code.WINDOW_CLOSED)
            return await self._move(command)

    @workflow.update
    async def check_in(self, command: Attend) -> Attended:
        """The patient is here."""
        return await self._attend(State.CHECKED_IN, command)

    @workflow.update
    async def start_consultation(self, command: Attend) -> Attended:
        """The doctor sees the patient."""
        return await self._attend(State.IN_CONSULTATION, command)

    @workflow.update
    async def complete(self, command: Attend) -> Attended:
        """The visit has been."""
        return await self._attend(State.COMPLETED, command)

    @workflow.update
    async def mark_no_show(self, command: Attend) -> Attended:
        """The patient has not come; checking them in later takes it back."""
        return await self._attend(State.NO_SHOW, command)

    @workflow.signal
    def payment_reported(self, payment_id: str | None) -> None:
        """Somebody says that there is something to look at; the gateway is asked before anything is believed.

        A further word about the payment that settles the booking tells nothing new.
        """
        if payment_id is None or payment_id != self._settling:
            self._reported = True

    @workflow.signal
    def let_go(self) -> None:
        """The patient is to be forgotten: the day of a visit that is over ends at once."""
        self._let_go = True

    @workflow.query
    def status(self) -> WorkflowStatus:
        """What is awaited, until when, and what was done."""
        return WorkflowStatus(state=self._state, waiting_for=self._waiting, done=tuple(self._done))

    # Placing

    async def _place(self) -> Placed:
        command = self._command
        if command.standing is not None:
            self._enter(self._state, self._payment_state)
            return Placed(body_hash=command.body_hash)
        step = booking_steps.hold_step(command, workflow.now(), self._deadline, self._release_at)
        refusal = await local_first(BookingActivities.hold, step, STORE, "hold the time")
        if refusal is not None:
            return Placed(body_hash=command.body_hash, refusal=refusal)
        self._done.append("held" if command.needs_payment else "confirmed")
        if command.needs_payment:
            self._wait_for("payment", self._release_at)
            return await self._open_order()
        self._state = State.CONFIRMED
        workflow.upsert_search_attributes([attributes.BOOKING_STATE.value_set(self._state)])
        return Placed(body_hash=command.body_hash)

    async def _open_order(self) -> Placed:
        """Within the step's local time-out the answer carries the order; after that it follows by the feed."""
        placed = Placed(body_hash=self._command.body_hash)
        step = booking_steps.order_step(self._command, workflow.now())
        try:
            self._order_id = await local(PaymentActivities.open_order, step, "open the order")
        except FailureError as error:
            if is_refusal(error):
                await self._refuse_order()
                return placed
            self._placed = placed
            await self._open_order_later(step)
        if self._order_id is not None:
            self._done.append("order opened")
        return placed

    async def _open_order_later(self, step: OpenOrder) -> None:
        """Keep asking for the order until the booking ends first."""
        asking = asyncio.create_task(regular(PaymentActivities.open_order, step, GATEWAY_WRITE, "open the order"))
        await until(lambda: asking.done() or not self._is(State.HELD), self._release_at, "release the hold")
        if not asking.done():
            asking.cancel()
            async with self._commands:
                if self._is(State.HELD):
                    await self._close(State.EXPIRED, EventType.EXPIRED, SYSTEM, None)
            return
        try:
            self._order_id = await asking
        except ActivityError:
            async with self._commands:
                if self._is(State.HELD):
                    await self._refuse_order()

    async def _refuse_order(self) -> None:
        """The gateway refuses the order for good: nobody can pay, so nothing stays held."""
        attributes.call_a_human()
        await self._close(State.CANCELLED, EventType.CANCELLED, SYSTEM, None)

    # Payment

    async def _be_paid(self) -> None:
        while self._is(State.HELD):
            await until(lambda: self._reported or not self._is(State.HELD), self._release_at, "release the hold")
            if not self._is(State.HELD):
                return
            self._reported = False
            last_look = workflow.now() >= self._release_at
            answer = await self._ask()
            async with self._commands:
                # Whatever came in while the gateway was asked comes first; it may have looked before the money came.
                if not self._is(State.HELD):
                    unseen = answer.settles is not None and answer.settles.payment_id != self._settling
                    self._reported |= unseen or bool(answer.strays)
                    return
                if answer.settles is not None:
                    await self._settle(answer.settles)
                elif last_look:
                    await self._close(State.EXPIRED, EventType.EXPIRED, SYSTEM, None)
                # What nobody is owed goes back once it is clear what becomes of the booking.
                self._reported |= bool(answer.strays) and not self._is(State.HELD)

    async def _ask(self) -> PaymentAnswer:
        return await answered(local_first(PaymentActivities.ask, self._question(), GATEWAY_READ, "ask the gateway"))

    def _question(self) -> AskPayment:
        return booking_steps.question(self._command, self._order_id, self._payment)

    async def _settle(self, fact: PaymentFact) -> None:
        """First the time, then the money, then the word."""
        self._settling = fact.payment_id
        if not await local_first(BookingActivities.book, self._command.claim, STORE, "book the time"):
            await self._close(State.EXPIRED, EventType.EXPIRED, SYSTEM, fact)
            return
        self._done.append("time booked")
        if not await capture(self._parties, fact):
            await self._close(State.EXPIRED, EventType.EXPIRED, SYSTEM, fact)
            return
        self._done.append("payment captured")
        await self._confirm(fact)
        if self._stands:
            self._payment = fact
            return
        # A worker that died had ended it before anybody knew: then the money that was just taken goes back.
        await self._close(State.EXPIRED, EventType.EXPIRED, SYSTEM, fact.model_copy(update={"captured": True}))

    async def _confirm(self, fact: PaymentFact) -> None:
        step = booking_steps.confirm_step(self._command, fact, workflow.now())
        confirmed = await local_first(BookingActivities.advance, step, STORE, "confirm")
        self._enter(confirmed.state, confirmed.payment_state)

    # Ending without a visit

    async def _cancel_unpaid(self, command: Cancel) -> Cancelled:
        """Nobody has paid as far as we know; one quick look tells whether money is on its way.

        Where the gateway does not answer, the order's guardian asks again.
        """
        fact: PaymentFact | None = None
        if self._order_id is not None:
            try:
                answer = await local(PaymentActivities.ask, self._question(), "ask the gateway")
                fact, self._reported = answer.settles, bool(answer.strays)
            except FailureError:
                workflow.logger.warning("cancelled without the gateway's word")
                self._reported = True
            self._settling = fact.payment_id if fact else None
        refund = await self._close(State.CANCELLED, EventType.CANCELLED, command.actor, fact)
        if self._stands:
            # A worker that died had confirmed it before anybody here knew.
            self._payment = fact or (await self._ask()).settles
            return await self._cancel_confirmed(command)
        return Cancelled(state=self._state, refund=refund)

    async def _cancel_confirmed(self, command: Cancel) -> Cancelled:
        cancelled = Cancellation(by=command.actor.kind, at=workflow.now())
        while self._may_be_cancelled():
            ended = await self._end(State.CANCELLED, EventType.CANCELLED, command.actor, self._payment_state)
            # An earlier request may have been lost after its deed: then that one decides about the money.
            cancelled = ended.cancelled or cancelled
        if not self._is(State.CANCELLED):
            return Cancelled(state=self._state, conflict=True)
        return Cancelled(state=self._state, refund=await self._return_payment(cancelled))

    async def _return_payment(self, cancelled: Cancellation) -> RefundOutcome | None:
        if self._payment is None:
            return None
        return await self._give_back(self._payment, *booking_steps.owed(self._command, cancelled, self._payment.amount))

    async def _stand(self, advanced: Advanced) -> None:
        """Where a step has left the appointment: maybe cancelled, by a request that was lost before it was written."""
        self._enter(advanced.state, advanced.payment_state)
        if advanced.cancelled is not None:
            await self._return_payment(advanced.cancelled)

    async def _close(
        self, to: AppointmentState, event: EventType, actor: Actor, fact: PaymentFact | None
    ) -> RefundOutcome | None:
        """End a booking that never was confirmed. Authorized money is never taken; taken money goes back whole.

        Where it turns out to have been confirmed, it stays so.
        """
        voids = fact is not None and not fact.captured
        await self._end(to, event, actor, PaymentState.VOIDED if voids else self._payment_state)
        if fact is None or self._stands:
            return None
        if voids:
            if self._payment_state is not PaymentState.VOIDED:
                await self._note_voided(fact)
            return RefundOutcome(amount=fact.amount, state=PaymentState.VOIDED)
        await self._book_unwanted(fact)
        return await self._give_back(fact, fact.amount, RefundReason.LATE_PAYMENT)

    async def _note_voided(self, fact: PaymentFact) -> None:
        """The booking had ended before the money came."""
        step = self._advance(EventType.PAYMENT_VOIDED, None, PaymentState.VOIDED, SYSTEM, fact.payment_id)
        noted = await local_first(BookingActivities.advance, step, STORE, "leave the money to its payer")
        self._enter(noted.state, noted.payment_state)

    async def _book_unwanted(self, fact: PaymentFact) -> None:
        await capture(self._parties, fact, stray=True)
        step = booking_steps.unwanted_step(self._command, self._state, fact, workflow.now())
        await local_first(BookingActivities.advance, step, STORE, "note the late money")
        self._enter(self._state, PaymentState.CAPTURED)

    async def _end(self, to: AppointmentState, event: EventType, actor: Actor, payment: PaymentState) -> Advanced:
        change = None if payment is self._payment_state else payment
        # Only from the state that is known here: what happens to the money depends on it.
        advance = self._advance(event, to, change, actor).model_copy(update={"sources": frozenset({self._state})})
        step = CloseBooking(advance=advance, claim=self._command.claim)
        ended = await local_first(BookingActivities.close, step, STORE, f"{to}: give the time back")
        # A step that is run again after its worker's death may be decided otherwise: the appointment itself counts.
        self._enter(ended.state, ended.payment_state)
        return ended

    async def _give_back(self, fact: PaymentFact, amount: int, reason: RefundReason) -> RefundOutcome | None:
        refund = await give_back(self._parties, fact, amount, reason) if amount > 0 else None
        if refund is None:
            return None
        self._done.append(f"refund of {refund.amount} paise started")
        return RefundOutcome(id=refund.id, amount=refund.amount, state=RefundState.PENDING)

    # The visit

    @property
    def _stands(self) -> bool:
        """Whether it was made and has not been cancelled; as with every state, any await may have changed it."""
        return self._state in STANDING

    async def _settled(self) -> None:
        """Who speaks of a visit has seen it confirmed, maybe by a worker that has died since: so wait until it is."""
        await workflow.wait_condition(lambda: not self._is(State.HELD) or self._is_refused())

    async def _attend(self, to: AppointmentState, command: Attend) -> Attended:
        await self._settled()
        async with self._commands:
            if to not in TRANSITIONS[self._state] or self._day_is_over:
                return Attended(state=self._state, conflict=True)
            return await self._step_to(to, command)

    async def _step_to(self, to: AppointmentState, command: Attend) -> Attended:
        self._steps += 1
        paid = PaymentState.PAID_AT_CLINIC if command.paid else None
        step = self._advance(STEPS[to], to, paid, command.actor, str(self._steps))
        advanced = await local_first(BookingActivities.advance, step, STORE, to)
        await self._stand(advanced)
        return Attended(state=advanced.state, conflict=not advanced.applied)

    async def _move(self, command: Reschedule) -> Rescheduled:
        """Claim and appointment change one after the other, so the step is written down first; a local one is not."""
        self._steps += 1
        step = booking_steps.move_step(self._command, command.time, command.actor, workflow.now(), str(self._steps))
        moved = await regular(BookingActivities.move, step, STORE, "move the visit")
        await self._stand(moved)
        if not moved.applied:
            refusal = Code.SLOT_TAKEN if moved.state in RESCHEDULABLE else Code.STATE_CONFLICT
            return Rescheduled(state=moved.state, refusal=refusal)
        self._command = step.command
        self._done.append("moved")
        return Rescheduled(state=moved.state)

    async def _see_the_visit_through(self) -> None:
        """Stay until the day is over: the visit takes place or moves, and money that comes twice goes back."""
        while self._stands and not self._day_is_over:
            due = await self._something_happens()
            if self._reported and self._stands:
                self._reported = False
                await self._return_strays()
            elif self._may_go or workflow.now() >= due:
                await self._turn()

    async def _something_happens(self) -> datetime:
        """Wait for a command or a report, at most until its turn; when that is."""
        seen, due = (self._state, self._command.start), self._next_turn()
        waiting = booking_steps.awaited(self._command, self._state)
        self._wait_for(waiting.event if waiting else None, due)
        await until(
            lambda: self._reported or self._may_go or (self._state, self._command.start) != seen, due, "its end"
        )
        return due

    @property
    def _may_go(self) -> bool:
        """Whether nobody waits for the end of the day any more."""
        return self._let_go and self._state in (State.COMPLETED, State.NO_SHOW)

    def _next_turn(self) -> datetime:
        """When something happens by itself: who has not come is taken not to come any more, and every day ends."""
        command, now = self._command, workflow.now()
        if self._is(State.CONFIRMED) and (now < command.no_show_at or workflow.patched(NO_SHOW)):
            return command.no_show_at
        return command.closes_at

    async def _turn(self) -> None:
        async with self._commands:
            if not self._stands:
                return
            if self._may_go or workflow.now() >= self._command.closes_at:
                await self._close_the_day()
            elif self._is(State.CONFIRMED) and workflow.now() >= self._command.no_show_at and workflow.patched(NO_SHOW):
                await self._step_to(State.NO_SHOW, Attend(actor=SYSTEM))

    async def _close_the_day(self) -> None:
        """Nothing is awaited any more; a consultation that nobody has called complete was one all the same."""
        if self._is(State.IN_CONSULTATION):
            await self._step_to(State.COMPLETED, Attend(actor=SYSTEM))
        step = self._advance(EventType.CLOSED, None, None, SYSTEM).model_copy(update={"sources": STANDING})
        closed = await local_first(BookingActivities.advance, step, STORE, "close the day")
        if closed.cancelled is not None:
            await self._stand(closed)
        self._day_is_over = True

    async def _return_strays(self) -> None:
        if self._order_id is None:
            return
        answer = await self._ask()
        async with self._commands:
            if not self._stands:
                self._reported |= bool(answer.strays)
                return
            for stray in answer.strays:
                await self._book_unwanted(stray)
                await self._give_back(stray, stray.amount, RefundReason.DUPLICATE_PAYMENT)

    async def _part(self) -> None:
        """Close, once all answers are out.

        A task that closes the workflow is thrown away with every answer in it when a message comes at the same time:
        so what was answered is written down first. What was reported meanwhile is for the order's guardian.
        """
        await workflow.wait_condition(workflow.all_handlers_finished)
        self._wait_for("closing", workflow.now() + PARTING)
        await workflow.sleep(PARTING, summary="let the answers out")
        self._wait_for(None, None)
        if self._reported and self._order_id is not None:
            await guard(LateOrder(order_id=self._order_id, appointment_id=self._command.appointment_id))

    # Small things

    def _is(self, state: AppointmentState) -> bool:
        """Whether that is the state now: any await may have let a command change it."""
        return self._state is state

    def _advance(
        self, event: EventType, to: State | None, payment: PaymentState | None, actor: Actor, occurrence: str = "once"
    ) -> Advance:
        return booking_steps.advance_step(
            self._command, event, to, payment, actor, at=workflow.now(), occurrence=occurrence
        )

    def _is_refused(self) -> bool:
        return self._placed is not None and self._placed.refusal is not None

    def _may_be_cancelled(self) -> bool:
        return self._state in CANCELLABLE and not self._is_refused() and not self._day_is_over

    def _enter(self, state: AppointmentState, payment: PaymentState) -> None:
        if state is not self._state:
            self._done.append(state)
        self._state, self._payment_state = state, payment
        booking_steps.show(state, payment)

    def _wait_for(self, event: str | None, until: datetime | None) -> None:
        self._waiting = booking_steps.waits(self._state, event, until)
