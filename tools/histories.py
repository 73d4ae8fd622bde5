"""Export a history of every path of every workflow from real runs to tests/histories: `make histories`.

The development keys encrypt them, and nothing of the machine that they ran on stays in them.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from adapters.connections import connect_temporal, mongo_addresses
from adapters.mongo.repositories import Repositories
from adapters.settings import Settings
from adapters.temporal.search_attributes import register_search_attributes
from models.identity import Role
from models.ids import (
    absence_workflow_id,
    booking_workflow_id,
    deletion_workflow_id,
    export_workflow_id,
    follow_up_workflow_id,
    late_payment_workflow_id,
    leave_workflow_id,
    message_workflow_id,
    notice_workflow_id,
    onboarding_workflow_id,
    refund_workflow_id,
    reminder_workflow_id,
    rights_workflow_id,
)
from sandbox.servers.stack import LocalServers
from sandbox.servers.temporal import ensure_namespace
from tests.availability.away import an_absence
from tests.booking.begun import begun, placed
from tests.booking.ending import settled
from tests.booking.paths import PATHS, Visit, catalogue
from tests.booking.town import Town, seal, turn
from tests.clinics import employee
from tests.follow_up.support import FOLLOW_UPS, Aftercare
from tests.messaging.readers import TELLINGS, repositories
from tests.messaging.support import DELIVERIES, messenger
from tests.onboarding.paths import PRACTICES
from tests.onboarding.support import Office
from tests.reminders.support import REMINDERS, Desk
from tests.rights.support import RIGHTS, RightsDesk
from tests.stack import LONG, Stack, eventually, running
from tests.trust.export_support import EXPORTS, Exporter
from tests.trust.forgetting import DELETIONS, Farewell
from tests.trust.retaining import RETENTIONS, Archive

HISTORIES: Final = Path(__file__).parents[1] / "tests" / "histories"
UNDISTURBED: Final = tuple(name for name in PATHS if name not in {"hurried", "seat_cancelled"})
"""The two left out make the same decisions as others."""


async def record(town: Town) -> dict[str, str]:
    """Play every path; the appointment of each by the path's name."""
    names = list(UNDISTURBED)
    visits = [await town.visit(name) for name in names]
    found = dict(zip(names, await asyncio.gather(*(_played(town, visit) for visit in visits)), strict=True))
    await town.stack.fault("order.create", "timeout")
    found["order_preparing"] = await _played(town, await town.visit("paid"))
    await town.stack.fault("order.create", "timeout", times=3)
    found["cancelled_while_preparing"] = await _played(town, await _cancelled_at_once(town))
    await town.mend()
    await town.stack.fault("refund.create", "error", times=5)
    found["refund_unknown"] = await _played(town, await town.visit("cancelled_paid"))
    found["refused"] = await _refused(town)
    found["day_over"] = await _day_over(town)
    return found


async def _day_over(town: Town) -> str:
    """Nobody comes, and the day ends."""
    visit = await placed(town.temporal, begun(closes_in=4))
    await town.temporal.get_workflow_handle(booking_workflow_id(visit)).result()
    return visit


async def _played(town: Town, visit: Visit) -> str:
    await visit.play()
    await settled(town.stack, town.temporal, visit.id, visit.path)
    return visit.id


async def _cancelled_at_once(town: Town) -> Visit:
    visit = await town.visit("cancelled_held")
    visit.path = replace(visit.path, play=Visit.cancel)
    return visit


async def _refused(town: Town) -> str:
    """Somebody else gets the time after it was asked for and before the booking has taken it over."""
    visit = await town.visit("paid")
    lost: list[str] = []

    async def rob() -> None:
        claim = town.stack.db.slots.find_one_and_delete({"tentative": True})
        if claim is None:
            msg = "there is no tentative claim to lose"
            raise RuntimeError(msg)
        lost.append(claim["_id"])
        town.stack.db.slots.insert_one({**claim, "_id": "blk_another", "kind": "block", "tentative": False})

    async with town.held_up("before:booking.hold", rob), town.stack.client() as patient:
        offer = visit.path.offer
        answer = await town.stack.place(patient, offer.provider_id, offer.service_id, visit.start)
    if answer.json().get("code") != "slot_taken":
        msg = f"the booking was not refused: {answer.status_code}"
        raise RuntimeError(msg)
    return lost[0]


async def export(town: Town) -> None:
    """Write the histories of every path, in place of those that were there."""
    found = await record(town)
    await town.sweep()
    HISTORIES.mkdir(exist_ok=True)
    for old in HISTORIES.glob("*.json"):
        old.unlink()
    for name, appointment_id in found.items():
        await _save(town.temporal, f"{name}.booking", booking_workflow_id(appointment_id))
        appointment = town.stack.db.appointments.find_one({"_id": appointment_id})
        if appointment is None:
            continue
        for refund in appointment["refunds"]:
            await _save(town.temporal, f"{name}.refund", refund_workflow_id(refund["id"]))
        if appointment["order_id"] and appointment["state"] == "expired":
            await _save(town.temporal, f"{name}.late_payment", late_payment_workflow_id(appointment["order_id"]))
    await _save(town.temporal, "swept.reconciliation", "reconcile-now")
    await turn(town.temporal)
    await _save(town.temporal, "kept_up.upkeep", "upkeep-now")
    await seal(town.temporal)
    await _save(town.temporal, "sealed.audit", "audit-sealing-now")
    await _save(town.temporal, "away.leave", leave_workflow_id(await take_leave(town.stack)))


async def take_leave(stack: Stack) -> str:
    """A doctor is away for three weeks, far ahead; the leave's id."""
    offer, today = PATHS["paid"].offer, datetime.now(UTC).date()
    span = {"start": str(today + timedelta(days=30)), "end": str(today + timedelta(days=50))}
    path = f"/v1/providers/{offer.provider_id}/leaves"
    async with stack.client(employee("steady", Role.ADMIN)) as admin:
        answer = await admin.post(path, json=span)
        answer.raise_for_status()

        async def state() -> str:
            return str((await admin.get(path)).json()["items"][0]["state"])

        await eventually(state, lambda found: found == "taken")
    return str(answer.json()["id"])


async def export_onboarding(office: Office) -> None:
    """Write the histories of applications, in place of those that were there."""
    for old in HISTORIES.glob("*.onboarding.json"):
        old.unlink()
    async with office.worker():
        for name, play in PRACTICES.items():
            application_id = await play(office)
            await _save(office.client, f"{name}.onboarding", onboarding_workflow_id(application_id))


async def export_messages(stack: Stack, temporal: Client) -> None:
    """Write the histories of deliveries, in place of those that were there."""
    for old in HISTORIES.glob("*.message.json"):
        old.unlink()
    async with messenger(stack, temporal) as sender:
        for name, deliver in DELIVERIES.items():
            message = await deliver(stack, temporal, sender.send)
            await _save(temporal, f"{name}.message", message_workflow_id(message.id))


async def export_reminders(desk: Desk) -> None:
    """Write the histories of reminders, in place of those that were there."""
    for old in HISTORIES.glob("*.reminder.json"):
        old.unlink()
    async with desk.at_work():
        for name, play in REMINDERS.items():
            command = await play(desk)
            await _save(desk.client, f"{name}.reminder", reminder_workflow_id(command.appointment_id))


async def export_follow_ups(care: Aftercare) -> None:
    """Write the histories of follow-ups, in place of those that were there."""
    for old in HISTORIES.glob("*.follow_up.json"):
        old.unlink()
    async with care.at_work():
        for name, play in FOLLOW_UPS.items():
            command = await play(care)
            await _save(care.client, f"{name}.follow_up", follow_up_workflow_id(command.appointment_id))


async def export_rights(desk: RightsDesk) -> None:
    """Write the histories of requests by right, in place of those that were there."""
    for old in HISTORIES.glob("*.rights.json"):
        old.unlink()
    async with desk.at_work():
        for name, play in RIGHTS.items():
            request = await play(desk)
            await _save(desk.client, f"{name}.rights", rights_workflow_id(request.id))


async def export_exports(exporter: Exporter) -> None:
    """Write the histories of exports, in place of those that were there."""
    for old in HISTORIES.glob("*.export.json"):
        old.unlink()
    for name, play in EXPORTS.items():
        export = await play(exporter)
        await _save(exporter.client, f"{name}.export", export_workflow_id(export.id))


async def export_deletions(desk: Farewell) -> None:
    """Write the histories of deletions, in place of those that were there."""
    for old in HISTORIES.glob("*.deletion.json"):
        old.unlink()
    async with desk.at_work():
        for name, play in DELETIONS.items():
            deletion = await play(desk)
            await _save(desk.client, f"{name}.deletion", deletion_workflow_id(deletion.id))


async def export_retention(archive: Archive) -> None:
    """Write the histories of turns of the retention, in place of those that were there."""
    for old in HISTORIES.glob("*.retention.json"):
        old.unlink()
    async with archive.at_work():
        for name, play in RETENTIONS.items():
            await _save(archive.client, f"{name}.retention", await play(archive))


async def export_absences(stack: Stack, temporal: Client) -> None:
    """Write the histories of a leave and of its absence, in place of those that were there."""
    leave = await an_absence(stack)
    await _save(temporal, "affected.leave", leave_workflow_id(leave))
    await _save(temporal, "affected.absence", absence_workflow_id(leave))


async def export_notices(stack: Stack, temporal: Client) -> None:
    """Write the histories of notices, in place of those that were there."""
    for old in HISTORIES.glob("*.notice.json"):
        old.unlink()
    async with repositories(stack) as stores:
        for name, tell in TELLINGS.items():
            notice_id = await tell(stack, stores)
            await temporal.get_workflow_handle(notice_workflow_id(notice_id)).result()
            await _save(temporal, f"{name}.notice", notice_workflow_id(notice_id))


async def _save(temporal: Client, name: str, workflow_id: str) -> None:
    """Write one workflow's history; nothing where there never was such a workflow."""
    try:
        history = await temporal.get_workflow_handle(workflow_id).fetch_history()
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise
        return
    text = json.dumps(_anonymous(json.loads(history.to_json())), separators=(",", ":"))
    (HISTORIES / f"{name}.json").write_text(text + "\n")


def _anonymous(value: Any) -> Any:  # noqa: ANN401  JSON, whatever is in it
    """Leave out who did it: processes are named after the machine that they run on."""
    if isinstance(value, list):
        return [_anonymous(one) for one in value]
    if not isinstance(value, dict):
        return value
    if value.get("kind") == "TASK_QUEUE_KIND_STICKY":
        return {**value, "name": "sticky"}
    return {name: _anonymous(one) for name, one in value.items() if name != "identity"}


async def _on(stack: Stack, servers: LocalServers) -> None:
    temporal = await connect_temporal(stack.settings)
    await export(Town(stack, servers, temporal))
    await export_messages(stack, temporal)
    await export_notices(stack, temporal)
    await export_absences(stack, temporal)
    await _alone(stack.settings)


async def _alone(settings: Settings) -> None:
    stores = Repositories.connect(mongo_addresses(settings), on_time_changed=_nobody)
    # The stack's own worker serves the same queues; in a namespace of its own an office and a desk are alone.
    alone = settings.model_copy(update={"temporal_namespace": f"{settings.temporal_namespace}-alone"})
    ensure_namespace(alone.temporal_address, alone.temporal_namespace)
    client = await connect_temporal(alone)
    await register_search_attributes(client)
    try:
        await export_onboarding(Office(stores, client))
        await export_reminders(Desk(stores, client))
        await export_follow_ups(Aftercare(stores, client))
        await export_rights(RightsDesk(stores, client))
        with tempfile.TemporaryDirectory() as folder:
            await export_exports(Exporter(stores, client, Path(folder).as_uri()))
            await export_deletions(Farewell(stores, client, settings, Path(folder)))
            await export_retention(Archive(stores, client, alone, Path(folder)))
    finally:
        await stores.close()


async def _nobody(practitioner_id: str) -> None:
    """Nobody listens for free times here."""


def main() -> None:
    """Start everything, play, write, stop everything."""
    with (
        LocalServers() as servers,
        tempfile.TemporaryDirectory() as folder,
        running(servers.addresses, "histories", Path(folder), LONG, catalogue=catalogue()) as stack,
    ):
        asyncio.run(_on(stack, servers))


if __name__ == "__main__":
    main()
