"""What a restored database promises, held against the workflows that run; what was lost of them is taken up again."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from adapters.connections import connect_temporal, mongo_addresses
from adapters.mongo.promises import MongoPromises
from adapters.mongo.repositories import Repositories
from adapters.settings import Settings
from adapters.temporal.search_attributes import register_search_attributes
from cli.closing import Closer
from models.booking import AppointmentState
from models.deletions import GONE, DeletionRef
from models.errors import UnavailableError
from models.identity import System
from models.promises import Kept, Promise, PromiseKind, compared
from workflows import attributes
from workflows.policies import RPC_TIMEOUT
from workflows.reviving import Reviver

_REVIVING: Final = System("visits and deletions whose workflows were lost are taken up again")
_TAKEN_UP: Final = frozenset({PromiseKind.APPOINTMENT, PromiseKind.DELETION})


async def promises_kept(settings: Settings) -> Kept:
    """What is open in the database against the workflows that run; lost ones of visits and deletions begin anew.

    May be run again: what was taken up runs then. Raises `UnavailableError`.
    """
    addresses, temporal = mongo_addresses(settings), await connect_temporal(settings)
    stores = Repositories.connect(addresses, on_time_changed=_nobody, appname="visitnow-promises")
    known = MongoPromises(addresses.url, addresses.database)
    try:
        running = await _running(temporal)
        unknown = [
            one
            for one in running
            if one.startswith("booking:") and not await known.has_appointment(one.removeprefix("booking:"))
        ]
        promises = await known.all(datetime.now(UTC))
        lost = [one for one in promises if one.kind in _TAKEN_UP and one.workflow_id not in running]
        reviver, closer = Reviver(temporal), Closer(stores)
        cancelled = [one for one in lost if await _cancelled(temporal, stores, closer, one)]
        left = [one for one in promises if one not in cancelled]
        revived = [one.workflow_id for one in lost if one in left and await _revived(reviver, stores, one)]
        kept = compared(left, running, unknown, frozenset(revived))
        return kept.model_copy(update={"cancelled": tuple(one.id for one in cancelled)})
    finally:
        known.close()
        await stores.close()


async def _running(temporal: Client) -> Mapping[str, str | None]:
    """Workflows by their ids, bookings with the state that they say they are in."""
    try:
        await register_search_attributes(temporal)  # a new Temporal knows none
        return {
            one.id: one.typed_search_attributes.get(attributes.BOOKING_STATE)
            async for one in temporal.list_workflows('ExecutionStatus = "Running"')
        }
    except RPCError as error:
        raise UnavailableError("the workflow service does not answer") from error


async def _cancelled(temporal: Client, stores: Repositories, closer: Closer, lost: Promise) -> bool:
    """Whether it is a visit whose workflow was not lost, but has ended since the backup, cancelled: so is the visit."""
    if lost.kind is not PromiseKind.APPOINTMENT:
        return False
    try:
        ended = await temporal.get_workflow_handle(lost.workflow_id).describe(rpc_timeout=RPC_TIMEOUT)
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return False
        raise UnavailableError("the workflow service does not answer") from error
    if ended.typed_search_attributes.get(attributes.BOOKING_STATE) != AppointmentState.CANCELLED:
        return False
    found = await stores.appointments.find(_REVIVING, lost.id, open_sealed=False)
    return found is not None and await closer.close(found)


async def _revived(reviver: Reviver, stores: Repositories, lost: Promise) -> bool:
    if lost.kind is PromiseKind.DELETION:
        deletion = await stores.deletions.find(_REVIVING, lost.id)
        # One that has not taken effect may have been taken back since.
        return deletion is not None and deletion.state in GONE and await reviver.resume(DeletionRef.of(deletion))
    found = await stores.appointments.find(_REVIVING, lost.id, open_sealed=False)
    return found is not None and await reviver.revive(found)


async def _nobody(practitioner_id: str) -> None:
    """Looking changes nobody's time."""
