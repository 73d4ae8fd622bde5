"""The only door by which the API starts, commands and asks workflows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import (
    Client,
    WithStartWorkflowOperation,
    WorkflowExecution,
    WorkflowFailureError,
    WorkflowQueryFailedError,
    WorkflowQueryRejectedError,
)
from temporalio.common import (
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)
from temporalio.service import RPCError, RPCStatusCode

from activities.webhooks import WebhookRouter
from models.booking import (
    CANCELLABLE,
    Appointment,
    AppointmentState,
    Cancel,
    PlaceBooking,
    Placed,
    RefundEntry,
    RefundOutcome,
    actor_of,
)
from models.errors import Code, UnavailableError, VisitNowError, not_found
from models.identity import Principal, Subject, Tenant, scope_of
from models.ids import appointment_id, booking_workflow_id, refund_id
from models.money import Money
from models.onboarding_ports import Applications
from models.operations import WorkflowStatus, WorkflowView
from models.payments import RefundReason, RefundRecord, RefundState, WebhookEvent
from models.ports import Appointments, Claims, Directory, Payments, Tenancy, WebhookInbox
from models.publishing import LeaveRef
from workflows import attributes
from workflows.absence_gateway import AbsenceGateway
from workflows.booking import BookingWorkflow
from workflows.commands import answer_to
from workflows.deletions_gateway import DeletionGateway
from workflows.exports_gateway import ExportsGateway
from workflows.following_up import FollowUps
from workflows.messenger import DurableMessenger
from workflows.notifier import DurableNotifier
from workflows.onboarding_gateway import OnboardingGateway
from workflows.placement import Placement, Placements, WalkIn, Wish
from workflows.policies import BOOKING_QUEUE, RPC_TIMEOUT, TASK_TIMEOUT
from workflows.reporter import Reporter
from workflows.rights_gateway import RightsGateway
from workflows.starting import begin_and_ask
from workflows.visit_gateway import Move, VisitGateway

TENTATIVE = timedelta(seconds=30)
"""How long a claim lives before its workflow has taken it over; a process that dies in between frees it so."""

LEAVE_PATIENCE = timedelta(seconds=2)
"""How long a person waits for a leave to be taken; what is left of it goes on without them."""

PLACE_ROUTE = "POST /v1/appointments"
WALK_IN_ROUTE = "POST /v1/clinics/{id}/walk-ins"
NEXT_TRIES = 3
"""Several desks may be after the next free time at once."""
REFUND_ROUTE = "POST /v1/appointments/{id}/refunds"
QUERY_TIMEOUT = timedelta(seconds=3)

NotedRefund = tuple[RefundRecord, str | None]
"""A refund and the clinic's words about it, which may have been erased."""

__all__ = [
    "AbsenceGateway",
    "DeletionGateway",
    "DurableMessenger",
    "DurableNotifier",
    "ExportsGateway",
    "Move",
    "Placement",
    "RightsGateway",
    "Stores",
    "WalkIn",
    "WorkflowGateway",
]


@dataclass(frozen=True)
class Stores:
    """The ports that the gateway reads and claims with."""

    directory: Directory
    claims: Claims
    appointments: Appointments
    payments: Payments
    inbox: WebhookInbox
    applications: Applications
    tenancy: Tenancy


class WorkflowGateway:
    """Commands to workflows, with the errors that a person is told."""

    def __init__(self, client: Client, stores: Stores, *, id_secret: bytes, ui_url: str) -> None:
        """`id_secret` keys the ids of retried requests; `ui_url` is the Temporal UI's address."""
        self._client = client
        self._stores = stores
        self._placements = Placements(stores.directory, stores.claims)
        self._reporter = Reporter(client)
        self.visits = VisitGateway(client, stores.appointments, self._placements)
        self.follow_ups = FollowUps(client)
        self.rights = RightsGateway(client, stores.tenancy)
        self.deletions = DeletionGateway(client, stores.tenancy)
        self.onboarding = OnboardingGateway(client, stores.applications, stores.tenancy)
        self._router = WebhookRouter(stores.inbox, stores.appointments, stores.payments, self._reporter)
        self._id_secret = id_secret
        self._ui_url = ui_url.rstrip("/")

    # Placing

    async def place(self, placement: Placement) -> tuple[Appointment, bool]:
        """Book; the appointment and whether this call made it. A refusal costs no workflow.

        Raises `not_found`, `slot_invalid`, `too_soon`, `too_far`, `slot_taken` with alternatives, `too_many_holds`,
        `idempotency_key_reused` and `unavailable`.
        """
        who, scope = placement.principal, placement.scope
        route = PLACE_ROUTE if placement.walk_in is None else WALK_IN_ROUTE
        wanted = appointment_id(self._id_secret, who.tenant_id, who.subject, route, placement.idempotency_key)
        existing = await self._stores.appointments.find(scope, wanted)
        if existing is not None:
            return _same_body(existing, placement), False
        command = await self._claimed(placement, wanted)
        placed = await self._start(command)
        if placed is not None and placed.body_hash != placement.body_hash:
            raise VisitNowError(Code.IDEMPOTENCY_KEY_REUSED)
        if placed is not None and placed.refusal is not None:
            raise await self._refused(placed.refusal, command)
        appointment = await self._stores.appointments.find(scope, wanted, open_sealed=False)
        if appointment is None:
            msg = "the appointment was placed but cannot be read yet"
            raise UnavailableError(msg)
        # The same body was just given in clear: what was sealed of it need not be opened again.
        intake = None if placement.intake.is_empty else placement.intake
        return _same_body(appointment, placement).model_copy(update={"intake": intake}), placed is not None

    async def _claimed(self, placement: Placement, wanted: str) -> PlaceBooking:
        """The command, its time taken; who wants the next free time gets the one after where that has just gone."""
        tries = NEXT_TRIES if placement.start is None else 1
        while True:
            command = await self._placements.command(placement, wanted)
            tries -= 1
            try:
                await self._claim(command, placement)
            except VisitNowError as error:
                if error.code is not Code.SLOT_TAKEN or not tries:
                    raise
            else:
                return command

    async def _claim(self, command: PlaceBooking, placement: Placement) -> None:
        scope = Subject(command.subject_id)
        expires = datetime.now(UTC) + TENTATIVE
        if not await self._stores.claims.tentative(scope, command, placement.intake, expires):
            raise await self._refused(Code.SLOT_TAKEN, command)
        if not command.needs_payment:
            return
        if await self._stores.claims.unpaid_holds(scope) > command.policy.max_unpaid_holds:
            await self._stores.claims.drop_tentative(scope, command.claim)
            raise VisitNowError(Code.TOO_MANY_HOLDS, retry_after=command.policy.payment_window_seconds)

    async def _refused(self, code: Code, command: PlaceBooking) -> VisitNowError:
        if code is not Code.SLOT_TAKEN:
            return VisitNowError(code)
        return VisitNowError(code, alternatives=await self._placements.alternatives(Wish.of(command)))

    async def _start(self, command: PlaceBooking) -> Placed | None:
        """Start the booking and await its placing; None where it is closed already: then its document tells."""
        start = WithStartWorkflowOperation(
            BookingWorkflow.run,
            command,
            id=booking_workflow_id(command.appointment_id),
            task_queue=BOOKING_QUEUE,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY,
            task_timeout=TASK_TIMEOUT,
            search_attributes=_booking_attributes(command),
            static_summary=f"appointment on {command.start:%Y-%m-%d %H:%M} UTC",
        )
        return await begin_and_ask(self._client, start, BookingWorkflow.place, "the booking")

    def published(self, provider_id: str) -> None:
        """Forget what is kept of a profile that has changed."""
        self._placements.published(provider_id)

    # Leave

    async def take_leave(self, leave: LeaveRef) -> None:
        """Have its free time blocked; returns when that is done, or after a moment while it goes on.

        Raises `UnavailableError`; the same leave may be asked for again.
        """
        handle = await self._reporter.begin_leave(leave)
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(LEAVE_PATIENCE.total_seconds()):
                    await handle.result()
        except (RPCError, WorkflowFailureError) as error:
            msg = "the leave was not answered in time; the same request may be sent again"
            raise UnavailableError(msg) from error

    # Later commands

    async def cancel(
        self, principal: Principal, appointment_id: str, reason: str
    ) -> tuple[Appointment, RefundOutcome | None]:
        """Cancel; raises `not_found`, `state_conflict` and `unavailable`.

        A booking that was cancelled is asked as well: where the first request was lost after its deed, its workflow
        does not know of it, and has kept the money.
        """
        scope = scope_of(principal)
        appointment = await self._found(principal, appointment_id)
        if appointment.state not in CANCELLABLE | {AppointmentState.CANCELLED}:
            raise VisitNowError(Code.STATE_CONFLICT)
        await self._stores.appointments.note_cancellation(scope, appointment_id, reason)
        handle = self._client.get_workflow_handle(booking_workflow_id(appointment_id))
        command = Cancel(actor=actor_of(principal.subject, principal.roles))
        asked = handle.execute_update(BookingWorkflow.cancel, command, rpc_timeout=RPC_TIMEOUT)
        outcome = await answer_to(asked, "cancellation")
        if outcome.conflict:
            raise VisitNowError(Code.STATE_CONFLICT)
        return await self._found(principal, appointment_id), outcome.refund

    async def refund(
        self, principal: Principal, appointment_id: str, amount: Money, reason: str, key: str
    ) -> tuple[RefundRecord, bool]:
        """Give money back by a person's decision; the refund and whether this call made it.

        Raises `not_found`, `state_conflict` where nothing was captured, `refund_exceeds_payment`,
        `idempotency_key_reused` and `unavailable`.
        """
        appointment = await self._found(principal, appointment_id)
        scope = Tenant(appointment.tenant_id)
        wanted = refund_id(self._id_secret, principal.tenant_id, principal.subject, REFUND_ROUTE, appointment_id, key)
        existing = await self._refund_of(scope, appointment_id, wanted)
        if existing is not None:
            return _same_refund(existing, amount, reason), False
        if appointment.payment_id is None or appointment.captured == 0:
            raise VisitNowError(Code.STATE_CONFLICT)
        refund = RefundRecord(
            id=wanted,
            tenant_id=appointment.tenant_id,
            appointment_id=appointment_id,
            subject_id=appointment.subject_id,
            payment_id=appointment.payment_id,
            amount=amount.amount,
            reason=RefundReason.GOODWILL,
        )
        promised = _same_refund(await self._promise(principal, appointment, refund, reason), amount, reason)
        await self._reporter.report_refund(promised)
        return promised, True

    async def _promise(
        self, principal: Principal, appointment: Appointment, refund: RefundRecord, note: str
    ) -> NotedRefund:
        """The refund as it stands in the books: of two requests under one key it is the first one's."""
        now = datetime.now(UTC)
        scope = Tenant(appointment.tenant_id)
        entry = RefundEntry(
            id=refund.id,
            amount=refund.amount,
            state=RefundState.PENDING,
            reason=refund.reason,
            payment_id=refund.payment_id,
        )
        actor = actor_of(principal.subject, principal.roles)
        if not await self._stores.appointments.reserve_refund(scope, appointment.id, entry, now, actor):
            found = await self._stores.appointments.find(scope, appointment.id, open_sealed=False)
            reused = found is not None and any(one.id == refund.id for one in found.refunds)
            raise VisitNowError(Code.IDEMPOTENCY_KEY_REUSED if reused else Code.REFUND_EXCEEDS_PAYMENT)
        await self._stores.payments.open_refund(scope, refund, note, now)
        return await self._refund_of(scope, appointment.id, refund.id) or (refund, note)

    async def _refund_of(self, scope: Tenant, appointment_id: str, refund_id: str) -> NotedRefund | None:
        refunds = await self._stores.payments.refunds_of(scope, appointment_id)
        return next(((refund, note) for refund, note in refunds if refund.id == refund_id), None)

    async def report_payment(self, appointment_id: str, order_id: str, payment_id: str | None) -> None:
        """Tell the booking, or the order's guardian, that there is something to look at."""
        await self._reporter.report_payment(appointment_id, order_id, payment_id)

    async def report_refund(self, refund: RefundRecord) -> None:
        """Tell a refund's workflow to look again, starting it where it is gone."""
        await self._reporter.report_refund(refund)

    async def pass_on(self, event: WebhookEvent) -> None:
        """Pass a stored webhook on to its workflow. Raises `UnavailableError`; the sweep tries again."""
        await self._router.pass_on(event)

    async def _found(self, principal: Principal, appointment_id: str) -> Appointment:
        appointment = await self._stores.appointments.find(scope_of(principal), appointment_id)
        if appointment is None:
            raise not_found()
        return appointment

    # Operations

    async def workflow(self, workflow_id: str) -> WorkflowView:
        """One workflow with its own words on what it waits for. Raises `not_found` and `unavailable`."""
        handle = self._client.get_workflow_handle(workflow_id)
        try:
            description = await handle.describe(rpc_timeout=QUERY_TIMEOUT)
        except RPCError as error:
            if error.status in (RPCStatusCode.NOT_FOUND, RPCStatusCode.INVALID_ARGUMENT):
                raise not_found() from error
            msg = "the workflow service does not answer"
            raise UnavailableError(msg) from error
        return await self._view(description)

    async def open_workflows(self, limit: int = 200) -> AsyncIterator[WorkflowView]:
        """Open workflows, at most `limit`."""
        found = self._client.list_workflows('ExecutionStatus = "Running"', limit=limit)
        async for execution in found:
            yield await self._view(execution)

    async def _view(self, execution: WorkflowExecution) -> WorkflowView:
        status = await self._status(execution)
        namespace = self._client.namespace
        return WorkflowView(
            id=execution.id,
            run_id=execution.run_id,
            type=execution.workflow_type,
            status=execution.status.name.lower() if execution.status else "unknown",
            started_at=execution.start_time,
            closed_at=execution.close_time,
            state=status.state if status else None,
            waiting_for=status.waiting_for if status else None,
            done=status.done if status else (),
            temporal_ui_url=f"{self._ui_url}/namespaces/{namespace}/workflows/{execution.id}/{execution.run_id}",
        )

    async def _status(self, execution: WorkflowExecution) -> WorkflowStatus | None:
        """The workflow's `status`; None for one that has none or whose worker does not answer."""
        handle = self._client.get_workflow_handle(execution.id, run_id=execution.run_id)
        try:
            answer: WorkflowStatus = await handle.query("status", result_type=WorkflowStatus, rpc_timeout=QUERY_TIMEOUT)
        except (RPCError, WorkflowQueryFailedError, WorkflowQueryRejectedError):
            return None
        return answer

    async def healthy(self) -> bool:
        """Whether the workflow service answers and somebody works on the booking queue."""
        request = DescribeTaskQueueRequest(
            namespace=self._client.namespace,
            task_queue=TaskQueue(name=BOOKING_QUEUE),
            task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
        )
        try:
            answer = await self._client.workflow_service.describe_task_queue(request, timeout=QUERY_TIMEOUT)
        except RPCError:
            return False
        return len(answer.pollers) > 0


def _same_body(appointment: Appointment, placement: Placement) -> Appointment:
    if appointment.body_hash != placement.body_hash:
        raise VisitNowError(Code.IDEMPOTENCY_KEY_REUSED)
    return appointment


def _same_refund(noted: NotedRefund, amount: Money, reason: str) -> RefundRecord:
    refund, note = noted
    if refund.amount != amount.amount or note != reason:
        raise VisitNowError(Code.IDEMPOTENCY_KEY_REUSED)
    return refund


def _booking_attributes(command: PlaceBooking) -> TypedSearchAttributes:
    state = AppointmentState.HELD if command.needs_payment else AppointmentState.CONFIRMED
    return TypedSearchAttributes(
        [
            SearchAttributePair(attributes.TENANT_ID, command.tenant_id),
            SearchAttributePair(attributes.PROVIDER_REF, command.provider_id),
            SearchAttributePair(attributes.SUBJECT_REF, command.subject_id),
            SearchAttributePair(attributes.BOOKING_STATE, state),
            SearchAttributePair(attributes.PAYMENT_STATE, command.first_payment_state),
        ]
    )
