"""A visit that has begun already, which nobody could book: to see what happens by itself when its time goes by."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta
from typing import Final

from temporalio.client import Client

from models.booking import Actor, ActorKind, PlaceBooking, ServiceSnapshot
from models.ids import booking_workflow_id, random_id
from models.money import Money
from models.policy import TenantPolicy
from models.providers import PaymentMode, VisitMode
from tests.clinics import offer
from workflows.booking import BookingWorkflow
from workflows.policies import BOOKING_QUEUE, TASK_TIMEOUT

FREE: Final = offer("steady", "free")
CELL: Final = 300


def begun(*, closes_in: float) -> PlaceBooking:
    """A free visit that began a quarter of an hour ago or somewhat more; its day is over in so many seconds."""
    now = datetime.now(UTC)
    end = datetime.fromtimestamp(now.timestamp() // CELL * CELL, UTC)
    grace = (now + timedelta(seconds=closes_in) - end) / timedelta(hours=1)
    start = end - timedelta(minutes=15)
    who = random_id("usr")
    return PlaceBooking(
        appointment_id=random_id("apt"),
        tenant_id="tnt_steady",
        clinic_id="cln_steady_central",
        provider_id=FREE.provider_id,
        practitioner_id=random_id("prc"),
        subject_id=who,
        actor=Actor(kind=ActorKind.PATIENT, id=who),
        body_hash=secrets.token_hex(32),
        service=ServiceSnapshot(
            id=FREE.service_id,
            name="Follow-up",
            duration_minutes=15,
            buffer_before_minutes=0,
            buffer_after_minutes=0,
            fee=Money(amount=0),
            mode=VisitMode.IN_PERSON,
            payment=PaymentMode.FREE,
        ),
        start=start,
        end=end,
        claim_start=start,
        claim_end=end,
        timezone="Asia/Kolkata",
        policy=TenantPolicy(no_show_grace_minutes=10, day_grace_hours=grace),
        policy_version=1,
    )


async def placed(client: Client, command: PlaceBooking) -> str:
    """Start its workflow; the appointment's id."""
    await client.start_workflow(
        BookingWorkflow.run,
        command,
        id=booking_workflow_id(command.appointment_id),
        task_queue=BOOKING_QUEUE,
        task_timeout=TASK_TIMEOUT,
    )
    return command.appointment_id
