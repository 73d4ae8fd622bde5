"""What follows one completed visit: its summary, how it was, and the way back to the doctor. It ends by itself."""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.follow_up import FollowUpActivities, FollowUpOf, LookAfter, RaiseTask
    from models.booking import WaitingFor
    from models.follow_up import TEMPLATES, Decision, Fate, Outcome, Part, Tell, Wake
    from models.notices import Notice
    from models.operations import WorkflowStatus
    from workflows.notices import notify
    from workflows.policies import NOTE, local_first, until


@workflow.defn(name="FollowUpWorkflow")
class FollowUpWorkflow:
    """Sleeps until something is due or has happened, looks how things stand, and does what is right then."""

    @workflow.init
    def __init__(self, about: FollowUpOf) -> None:
        """All state exists before any handler may run."""
        self._about = about
        self._changed = False
        self._unnoted: list[Outcome] = []
        self._waiting: WaitingFor | None = None
        self._done: list[str] = []

    @workflow.run
    async def run(self, about: FollowUpOf) -> tuple[str, ...]:
        """Look, act or sleep, until there is nothing more to do; what became of each part."""
        del about
        while True:
            decision = await self._look()
            if self._changed:
                continue
            if decision.tells or decision.raises:
                await self._act(decision)
            elif decision.wake is not None:
                await self._sleep_until(decision.wake)
            else:
                return self._end()

    # Messages: a signal reports a fact, a query is for operators.

    @workflow.signal
    def changed(self) -> None:
        """A summary was written, a review given, or the like; what it is now is looked up."""
        self._changed = True

    @workflow.query
    def status(self) -> WorkflowStatus:
        """What is awaited, until when, and what became of each part so far."""
        state = "ended" if self._waiting is None else "waiting"
        return WorkflowStatus(state=state, waiting_for=self._waiting, done=tuple(self._done))

    # Steps

    async def _look(self) -> Decision:
        """How things stand now, with what was done since the last look noted."""
        self._changed, done = False, tuple(self._unnoted)
        step = LookAfter(about=self._about, at=workflow.now(), done=done)
        decision = await local_first(FollowUpActivities.look, step, NOTE, "look how things stand")
        del self._unnoted[: len(done)]
        self._done += [f"{one.key}: {one.fate}" for one in (*done, *decision.skipped)]
        return decision

    async def _act(self, decision: Decision) -> None:
        """Have the patient told and the practice given its task; nothing of it twice, whoever died in between."""
        for tell in decision.tells:
            await notify(self._notice(tell))
            self._unnoted.append(Outcome(part=tell.part, key=tell.key, fate=Fate.TOLD, at=workflow.now()))
        if decision.raises:
            task = RaiseTask(about=self._about, at=workflow.now())
            await local_first(FollowUpActivities.raise_task, task, NOTE, "have the practice get in touch")
            raised = Outcome(part=Part.LOW_RATING, key=Part.LOW_RATING, fate=Fate.RAISED, at=workflow.now())
            self._unnoted.append(raised)

    def _notice(self, tell: Tell) -> Notice:
        return Notice(
            tenant_id=self._about.tenant_id,
            appointment_id=self._about.appointment_id,
            recipient_id=self._about.subject_id,
            template=TEMPLATES[tell.part],
            occurrence=tell.key,
            expires_at=tell.expires_at,
        )

    async def _sleep_until(self, wake: Wake) -> None:
        self._waiting = WaitingFor(event=wake.event, until=wake.at)
        workflow.set_current_details(f"waiting for {wake.event} until {wake.at:%Y-%m-%d %H:%M:%S} UTC")
        await until(lambda: self._changed, wake.at, wake.event)

    def _end(self) -> tuple[str, ...]:
        self._waiting = None
        workflow.set_current_details("nothing more follows")
        return tuple(self._done)
