"""How a booking ended, in words that two runs of the same path share: no ids, no instants."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Final

from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from models.ids import booking_workflow_id, late_payment_workflow_id, refund_workflow_id
from tests.booking.paths import PATIENCE_SECONDS, Path
from tests.stack import Json, Stack

_DETOURS: Final = frozenset({"refund.unknown"})
"""What only an interrupted run tells on its way to the same end."""


async def ending(stack: Stack, temporal: Client, appointment_id: str) -> Json:
    """Everything that the database, the gateway and the workflow service say of a booking, without ids and times."""
    mine = {"appointment_id": appointment_id}
    appointment = stack.db.appointments.find_one({"_id": appointment_id})
    if appointment is None:
        return {"state": "there is no such appointment"}
    refunds = list(stack.db.refunds.find(mine).sort("created_at"))
    return {
        **{name: appointment[name] for name in ("state", "payment_state", "captured", "refund_reserved")},
        "waiting_for": (appointment.get("waiting_for") or {}).get("event"),
        "has_order": appointment["order_id"] is not None,
        "has_payment": appointment["payment_id"] is not None,
        "has_words": "clinical" in appointment.get("sealed", {}),
        "shown_refunds": [(one["amount"], one["state"], one["reason"]) for one in appointment["refunds"]],
        "refunds": [
            (one["amount"], one["state"], one["reason"], one["gateway_refund_id"] is not None) for one in refunds
        ],
        "history": [
            (one["event"], one["state"], one["by"]) for one in appointment["history"] if one["event"] not in _DETOURS
        ],
        "untold": len(appointment["outbox"]),
        "audit": sorted(
            one["action"] for one in stack.db.audit.find({"target": appointment_id}) if one["action"] not in _DETOURS
        ),
        "claim": _claim(stack, appointment_id),
        "payments": sorted((one["amount"], one["stray"]) for one in stack.db.payments.find(mine)),
        "ledger": sorted(
            (one["kind"], [(line["account"], line["item"], line["amount"]) for line in one["lines"]])
            for one in stack.db.ledger.find(mine)
        ),
        "gateway": _at_gateway(await stack.ledger(), appointment_id),
        "workflows": [
            await _status(temporal, booking_workflow_id(appointment_id)),
            *[await _status(temporal, refund_workflow_id(one["_id"])) for one in refunds],
        ],
    }


def _claim(stack: Stack, appointment_id: str) -> str | None:
    own = stack.db.slots.find_one({"_id": appointment_id})
    if own is not None:
        return f"{own['kind']}{', tentative' if own['tentative'] else ''}"
    session = stack.db.slots.find_one({"seats.owner": appointment_id})
    if session is None:
        return None
    seats = [seat for seat in session["seats"] if seat["owner"] == appointment_id]
    kinds = ["seat" if seat["expires_at"] is None else "held seat" for seat in seats]
    return ", ".join(kinds)


def _at_gateway(ledger: Json, appointment_id: str) -> Json:
    orders = [one for one in ledger["orders"] if one["receipt"] == appointment_id]
    ids = {one["id"] for one in orders}
    payments = [one for one in ledger["payments"] if one["order_id"] in ids]
    paid = {one["id"] for one in payments}
    return {
        "orders": [(one["amount"], one["status"]) for one in orders],
        "payments": [(one["status"], one["captured"], one["amount"], one["amount_refunded"]) for one in payments],
        "refunds": [(one["amount"], one["status"]) for one in ledger["refunds"] if one["payment_id"] in paid],
    }


async def _status(temporal: Client, workflow_id: str) -> str:
    try:
        status = (await temporal.get_workflow_handle(workflow_id).describe()).status
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return "never started"
        raise
    return "unknown" if status is None else status.name


async def steps_taken(stack: Stack, temporal: Client, appointment_id: str) -> set[str]:
    """The steps that the histories of a booking and of what followed from it show."""
    appointment = stack.db.appointments.find_one({"_id": appointment_id})
    assert appointment is not None
    ids = [booking_workflow_id(appointment_id), late_payment_workflow_id(appointment["order_id"] or "none")]
    ids += [refund_workflow_id(one["id"]) for one in appointment["refunds"]]
    return {step for one in ids for step in await _steps_of(temporal, one)}


async def _steps_of(temporal: Client, workflow_id: str) -> set[str]:
    if await _status(temporal, workflow_id) == "never started":
        return set()
    steps = set()
    async for event in temporal.get_workflow_handle(workflow_id).fetch_history_events():
        steps.add(event.activity_task_scheduled_event_attributes.activity_type.name)
        local = event.marker_recorded_event_attributes.details.get("data")
        if local is not None:
            steps.add(json.loads(local.payloads[0].data)["activity_type"])
    return steps - {""}


def is_settled(seen: Json, path: Path) -> bool:
    """Whether the path's end is reached and everything that follows from it has happened."""
    return (
        (seen["state"], seen["payment_state"]) == (path.state, path.payment_state)
        and seen["untold"] == 0
        and len(seen["audit"]) == len(seen["history"])
        and all(state == "processed" for _, state, _, _ in seen["refunds"])
        and all(status == "processed" for _, status in seen["gateway"]["refunds"])
        and all(one == "COMPLETED" for one in seen["workflows"][1:])
        and (seen["waiting_for"] is not None or seen["workflows"][0] == "COMPLETED")
    )


async def settled(stack: Stack, temporal: Client, appointment_id: str, path: Path) -> Json:
    """The end of an uninterrupted run."""
    give_up = time.monotonic() + PATIENCE_SECONDS
    while not is_settled(seen := await ending(stack, temporal, appointment_id), path):
        assert time.monotonic() < give_up, f"{path.name} does not end as it should: {seen}"
        await asyncio.sleep(0.1)
    return seen


async def same_ending(stack: Stack, temporal: Client, appointment_id: str, wanted: Json) -> None:
    """Wait until a run has ended as the uninterrupted one did."""
    give_up = time.monotonic() + PATIENCE_SECONDS
    while (seen := await ending(stack, temporal, appointment_id)) != wanted:
        if time.monotonic() > give_up:
            assert seen == wanted
        await asyncio.sleep(0.1)
