"""Commands about a leave that affects patients: what they decide themselves, and that it was ended."""

from __future__ import annotations

from datetime import UTC, datetime

from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from models.absence import OPEN, Offer, OfferState
from models.absence_ports import Counted, Offers
from models.booking import Actor, ActorKind, Appointment, AppointmentState
from models.errors import Code, UnavailableError, VisitNowError
from models.identity import Subject, Tenant
from models.ids import absence_workflow_id
from workflows.absence import AbsenceWorkflow
from workflows.commander import Commander
from workflows.policies import RPC_TIMEOUT
from workflows.visit_gateway import Move, VisitGateway


class AbsenceGateway:
    """What patients decide is done at once; the leave's workflow finds it done at its next look."""

    def __init__(self, client: Client, visits: VisitGateway, offers: Offers, counted: Counted) -> None:
        """Where visits are moved and offers kept."""
        self._client = client
        self._visits = visits
        self._bookings = Commander(client)
        self._offers = offers
        self._counted = counted

    async def ended(self, leave_id: str) -> None:
        """Have a leave's workflow look at once that the leave is over. Raises `UnavailableError`."""
        handle = self._client.get_workflow_handle(absence_workflow_id(leave_id))
        try:
            await handle.signal(AbsenceWorkflow.changed, rpc_timeout=RPC_TIMEOUT)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                msg = "the workflow service does not answer"
                raise UnavailableError(msg) from error

    async def open_offer(self, appointment: Appointment) -> Offer | None:
        """What the patient is offered for a visit whose doctor is away at its time; None where there is no such."""
        if appointment.state is not AppointmentState.CONFIRMED:
            return None
        offer = await self._offers.latest(Subject(appointment.subject_id), appointment.id)
        return offer if offer is not None and offer.is_open_at(appointment.start) else None

    async def choose(self, offer: Offer, start: datetime) -> None:
        """Move the visit to another time; the policy's time until which patients may move it does not count.

        Raises what `VisitGateway.reschedule` does.
        """
        move = Move(
            scope=Subject(offer.subject_id),
            actor=Actor(kind=ActorKind.PATIENT, id=offer.subject_id),
            appointment_id=offer.appointment_id,
            start=start,
            bound=False,
        )
        await self._visits.reschedule(move)
        await self._note(offer, OfferState.REBOOKED)

    async def give_back(self, offer: Offer) -> None:
        """Cancel the visit as the clinic, now instead of at the deadline; all that was paid goes back.

        Raises `state_conflict` where the visit was moved or is over, and `unavailable`.
        """
        cancelled = await self._bookings.cancel_by_clinic(offer.appointment_id, offer.leave_id, offer.start)
        if cancelled.conflict:
            raise VisitNowError(Code.STATE_CONFLICT)
        await self._note(offer, OfferState.CANCELLED)

    async def _note(self, offer: Offer, ended: OfferState) -> None:
        """Should nobody come to note it, the leave's workflow sees it from the appointment."""
        scope = Tenant(offer.tenant_id)
        await self._offers.advance(scope, offer, ended, datetime.now(UTC), sorted(OPEN))
        await self._counted.count(scope, offer.leave_id, await self._offers.tally(scope, offer.leave_id))
