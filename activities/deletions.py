"""Steps of being forgotten: who leaves is shut out, what is still to come is called off, what went is put on paper.

Payloads carry ids and instants only; every step may be repeated, whoever died in the first try.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from temporalio import activity

from activities.certificates import Certificates
from activities.failures import typed_failures
from models.base import Model, UtcDatetime
from models.data_classes import RetentionClass
from models.deletions import GONE, Deletion, DeletionRef, DeletionState, Plan, Retained, Times, child_plan, plan_of
from models.deletions_ports import (
    Answers,
    Children,
    Deletions,
    ExportStops,
    Leaver,
    OpenWork,
    SessionEnds,
    SubjectVisits,
    Told,
    Visits,
)
from models.erasure import ErasureReceipt, Store, with_earlier_tries
from models.errors import Code, VisitNowError, not_found
from models.holds import LegalHold, LegalHolds
from models.identity import PLATFORM, Account, Subject, System
from models.identity_ports import Users
from models.ids import message_workflow_id
from models.messaging import Message, Template
from models.notice_ports import Messenger
from models.policy import TenantPolicy
from models.ports import Tenancy
from models.sessions import EndReason

FORGETTING: Final = System("a person is to be forgotten at whichever tenant")
WORTH: Final = timedelta(days=2)
"""How long it is tried to tell somebody."""
LAST_WORD: Final = timedelta(minutes=10)
"""How long erasing waits for the last message to leave."""
AWAITED: Final = {"booking": "visit", "refund": "refund", "late-payment": "late payment"}
"""Kinds of workflows that move money or a visit, and what they are waited for."""


class Step(Model):
    """One step, now."""

    about: DeletionRef
    at: UtcDatetime


class Tell(Step):
    """Somebody is to be told how far it is."""

    template: Template


class Decided(Step):
    """It is decided what goes and what stays."""

    plan: Plan


class Noted(Step):
    """What stores have let go of."""

    receipts: tuple[ErasureReceipt, ...]


class Settled(Model):
    """What is still waited for: what kinds of things, empty where nothing is."""

    waits_for: tuple[str, ...] = ()


class Household(NamedTuple):
    """What is known of those whom somebody books for."""

    children: Children
    told: Told
    answers: Answers


class Sources(NamedTuple):
    """The stores that are read and written."""

    deletions: Deletions
    users: Users
    sessions: SessionEnds
    visits: SubjectVisits
    holds: LegalHolds
    tenancy: Tenancy
    family: Household
    exports: ExportStops


class DeletionActivities:
    """Shuts out, calls off, plans and certifies."""

    def __init__(
        self,
        sources: Sources,
        leaver: Leaver,
        work: OpenWork,
        messenger: Messenger,
        certificates: Certificates,
        *,
        link: Callable[[str], str],
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """The stores, the ways to workflows and people, and what signs; `link` leads to a deletion by its id."""
        self._deletions, self._users, self._sessions, self._visits, self._holds, self._tenancy = sources[:6]
        self._family, self._exports = sources.family, sources.exports
        self._leaver = leaver
        self._work = work
        self._messenger = messenger
        self._certificates = certificates
        self._link = link
        self._clock = clock

    @activity.defn(name="deletions.begin")
    async def begin(self, step: Step) -> DeletionState:
        """Let the time for second thoughts begin: from now on a sign-in serves only to take it back."""
        with typed_failures():
            found = await self._found(step.about)
            if found.state is DeletionState.IDENTITY_CONFIRMED and found.dependant_id is None:
                await self._sessions.end_all(step.about.subject_id, EndReason.LEAVING)
            return (await self._advance(step, DeletionState.GRACE)).state

    @activity.defn(name="deletions.look")
    async def look(self, step: Step) -> DeletionState:
        """How far it is."""
        with typed_failures():
            return (await self._found(step.about)).state

    @activity.defn(name="deletions.tell")
    async def tell(self, step: Tell) -> str | None:
        """Write to whoever leaves, once for each thing; the message's id, None where there is no address."""
        about = step.about
        with typed_failures():
            account = await self._users.find(Subject(about.subject_id), about.subject_id)
            message = None if account is None else self._message(step, account)
            if message is not None:
                await self._messenger.send(message)
        return None if message is None else message.id

    def _message(self, step: Tell, account: Account) -> Message | None:
        about = step.about
        if account.surest_address is None:
            return None
        channel, to = account.surest_address
        until = about.grace_until.astimezone(ZoneInfo(account.timezone))
        params = {"until": f"{until:%Y-%m-%d %H:%M}", "link": self._link(about.deletion_id)}
        if about.dependant_id is not None:
            params["dependant"] = "yes"
        return Message(
            id=_message_id(about, step.template),
            tenant_id=PLATFORM,
            subject_id=about.subject_id,
            channel=channel,
            to=to,
            template=step.template,
            params=params,
            locale=account.locale,
            expires_at=step.at + (LAST_WORD if step.template is Template.ACCOUNT_CLOSED else WORTH),
        )

    @activity.defn(name="deletions.restrict")
    async def restrict(self, step: Step) -> DeletionState:
        """Close the account, unless it was taken back: nothing is done any more with what is kept.

        The number that it was found by is free from then on: whoever signs in with it is somebody new.
        """
        about = step.about
        with typed_failures():
            deletion = await self._found(about)
            if step.at >= about.grace_until:
                deletion = await self._advance(step, DeletionState.RESTRICTED)
            if deletion.state not in GONE:
                return deletion.state
            await self._stop_exports(step)
            await self._certificates.log(deletion, step.at)
            if about.dependant_id is not None:
                return deletion.state
            await self._users.remove(Subject(about.subject_id), about.subject_id, step.at)
            await self._sessions.end_all(about.subject_id, EndReason.LEAVING)
        return deletion.state

    async def _stop_exports(self, step: Step) -> None:
        for export_id in await self._exports.stop(FORGETTING, step.about.subject_id, step.at):
            await self._leaver.stop_export(export_id)

    @activity.defn(name="deletions.settle")
    async def settle(self, step: Step) -> Settled:
        """Call off what is still to come, stop what nobody needs, and say what has to be waited for."""
        about = step.about
        with typed_failures():
            visits = await self._theirs(about, self._clock())
            for appointment_id in visits.to_cancel:
                await self._cancel(appointment_id, about.subject_id)
                activity.heartbeat()
            for appointment_id in visits.to_close:
                await self._leaver.let_go(appointment_id)
            running = await self._work.running(list(visits.workflows))
            waits = {visits.workflows[one] for one in running} | {"visit" for _ in visits.to_cancel}
            activity.heartbeat()
            if about.dependant_id is None:
                waits |= await self._stop_others(about)
            await self._deletions.note_waiting(Subject(about.subject_id), about.deletion_id, waits)
        return Settled(waits_for=tuple(sorted(waits)))

    async def _theirs(self, about: DeletionRef, now: datetime) -> Visits:
        """The account's visits; of somebody whom it books for those that were booked for them."""
        visits = await self._visits.look(FORGETTING, about.subject_id, now)
        if about.dependant_id is None:
            return visits
        mine = {one.appointment_id for one in visits.visits if one.dependant_id == about.dependant_id}
        return visits.only(mine | await self._named(about, about.dependant_id, visits))

    async def _named(self, about: DeletionRef, dependant_id: str, visits: Visits) -> set[str]:
        """Those that keep nobody's id, but the name and the birthday that the child has today."""
        unsaid = [one.appointment_id for one in visits.visits if one.dependant_id is None]
        child = await self._family.children.find(Subject(about.subject_id), dependant_id)
        if child is None or not unsaid:
            return set()
        told = await self._family.told.intakes(FORGETTING, unsaid)
        patients = {one: words.patient for one, words in told.items() if words is not None}
        return {one for one, patient in patients.items() if patient is not None and child.is_meant_by(patient)}

    async def _cancel(self, appointment_id: str, subject_id: str) -> None:
        """Where its workflow has ended, or the visit has just begun, the next look tells."""
        try:
            await self._leaver.cancel_by_patient(appointment_id, subject_id)
        except VisitNowError as error:
            if error.code is not Code.STATE_CONFLICT:
                raise

    async def _stop_others(self, about: DeletionRef) -> set[str]:
        """What goes on for them beside visits and money: the last word is waited for, everything else ends."""
        own = message_workflow_id(_message_id(about, Template.ACCOUNT_CLOSED))
        waits = set[str]()
        for workflow_id in await self._work.of_subject(about.subject_id):
            kind = workflow_id.partition(":")[0]
            if kind in AWAITED:
                waits.add(AWAITED[kind])
            elif workflow_id == own:
                waits.add("message")
            else:
                await self._work.end(workflow_id)
        return waits

    @activity.defn(name="deletions.plan")
    async def plan(self, step: Step) -> Plan:
        """What goes now and what stays; where a hold keeps what would go, that is noted."""
        about, now = step.about, self._clock()
        with typed_failures():
            deletion = await self._found(about)
            visits = await self._theirs(about, now)
            times = Times(deletion.restricted_at or now, visits.last_visit, visits.last_payment)
            holds = await self._holds_on(about, now)
            policy = await platform_policy(self._tenancy)
            plan = (plan_of if about.dependant_id is None else child_plan)(policy, times, holds, now)
            if plan.held_until is not None:
                await self._advance(step, DeletionState.LEGAL_HOLD)
                await self._deletions.note_waiting(Subject(about.subject_id), about.deletion_id, {"legal hold"})
        return plan

    async def _holds_on(self, about: DeletionRef, now: datetime) -> list[LegalHold]:
        """What stands on the account; for a child what is about either: a hold on its siblings keeps nothing of it."""
        holds = await self._holds.standing(FORGETTING, about.subject_id, now)
        if about.dependant_id is None:
            return holds
        on_it = await self._holds.standing(FORGETTING, about.dependant_id, now)
        return [*on_it, *(one for one in holds if one.subject_id == about.subject_id)]

    @activity.defn(name="deletions.decide")
    async def decide(self, step: Decided) -> None:
        """From here on nothing turns back: what goes is written where no restored backup of ours undoes it."""
        about = step.about
        with typed_failures():
            deletion = await self._advance(step, DeletionState.ERASING)
            await self._deletions.plan(Subject(about.subject_id), about.deletion_id, step.plan.retained)
            await self._look_again(about, step)
            await self._deletions.note_waiting(Subject(about.subject_id), about.deletion_id, ())
            planned = deletion.model_copy(update={"retained": step.plan.retained})
            await self._certificates.log(planned, step.at, step.plan.due)

    async def _look_again(self, about: DeletionRef, step: Decided) -> None:
        """A hold that was lifted after the plan and before it was noted found nothing to free."""
        held = {one.hold_id for one in step.plan.retained if one.hold_id is not None}
        if held:
            held -= {one.id for one in await self._holds_on(about, self._clock())}
        for hold_id in held:
            await self._deletions.look_again(FORGETTING, about.subject_id, hold_id, step.at)

    @activity.defn(name="deletions.forget_child")
    async def forget_child(self, step: Step) -> list[ErasureReceipt]:
        """Remove somebody whom the account books for, and what was answered about them."""
        about = step.about
        with typed_failures():
            if about.dependant_id is None:
                return []
            child, scope, of = about.dependant_id, Subject(about.subject_id), (Store.MONGODB, RetentionClass.NONE)
            there = {
                "consents": await self._family.answers.count(scope, child),
                "dependants": int(await self._family.children.find(scope, child) is not None),
            }
            found = await self._deletions.found(scope, about.deletion_id, of, there)
            gone = {
                "consents": await self._family.answers.forget(scope, child),
                "dependants": int(await self._family.children.remove(scope, child)),
            }
            # Whatever was asked for since the closing may have the child in it; what is asked for now has not.
            await self._stop_exports(step)
        (store, data_class), at = of, self._clock()
        receipts = [
            ErasureReceipt(store=store, part=part, data_class=data_class, erased=count, at=at)
            for part, count in gone.items()
        ]
        return with_earlier_tries(receipts, found, {})

    @activity.defn(name="deletions.note")
    async def note(self, step: Noted) -> None:
        """Keep a store's receipts."""
        with typed_failures():
            await self._deletions.receive(Subject(step.about.subject_id), step.about.deletion_id, step.receipts)

    @activity.defn(name="deletions.certify")
    async def certify(self, step: Step) -> tuple[Retained, ...]:
        """Sign what was done, then end; what stays behind."""
        about = step.about
        with typed_failures():
            deletion = await self._found(about)
            if deletion.state is not DeletionState.ERASED:
                deletion = await self._certificates.issue(about.deletion_id, step.at)
                await self._advance(step, DeletionState.ERASED)
        return deletion.retained

    async def _advance(self, step: Step, to: DeletionState) -> Deletion:
        scope = Subject(step.about.subject_id)
        return await self._deletions.advance(scope, step.about.deletion_id, to, step.at)

    async def _found(self, about: DeletionRef) -> Deletion:
        found = await self._deletions.find(Subject(about.subject_id), about.deletion_id)
        if found is None:
            raise not_found()
        return found


async def platform_policy(tenancy: Tenancy) -> TenantPolicy:
    """The platform's settings, which hold for every tenant: the law does."""
    try:
        return (await tenancy.settings(FORGETTING, PLATFORM)).settings
    except VisitNowError as error:
        if error.code is not Code.NOT_FOUND:
            raise
        return TenantPolicy()


def _message_id(about: DeletionRef, template: Template) -> str:
    return f"msg_{about.deletion_id}_{template}"
