"""Drives the baselines: the bare booking and the no-op workflow, over one Temporal client."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

from temporalio.client import Client, WithStartWorkflowOperation
from temporalio.common import (
    SearchAttributePair,
    TypedSearchAttributes,
    WorkflowIDConflictPolicy,
    WorkflowIDReusePolicy,
)
from temporalio.contrib.pydantic import pydantic_data_converter

from adapters.settings import Settings
from bench.catalogue import ALWAYS_OPEN, CLINIC, LEAD_DAYS, POLICY, TENANT, VISIT_MINUTES
from bench.noop import NoopWorkflow
from bench.skeleton import SkeletonBooking
from bench.worker import QUEUE
from models.booking import Actor, ActorKind, AppointmentState, PlaceBooking, ServiceSnapshot
from models.ids import random_id
from models.payments import PaymentState
from sandbox.servers.cache import compiled_once
from sandbox.servers.processes import Process, wait_until
from workflows import attributes
from workflows.policies import RPC_TIMEOUT, TASK_TIMEOUT

ROOT = Path(__file__).parents[1]
CONFIRM_SECONDS = 30.0
MESSAGE_BYTES = 256
POLL_SECONDS = 0.05
IDLE_EVENTS = 10
"""Started, two workflow tasks and one activity of three events each."""


class Baselines:
    """The bare booking and the no-op workflow."""

    def __init__(self, client: Client, worker: Process) -> None:
        """The client does not encrypt."""
        self._client = client
        self.worker = worker
        self._waiting: dict[str, asyncio.Event] = {}

    def rung(self, bell: socket.socket) -> None:
        """Read every message of the worker's last step."""
        while True:
            try:
                appointment_id = bell.recv(MESSAGE_BYTES).decode()
            except BlockingIOError:
                return
            self._event(appointment_id).set()

    def _event(self, appointment_id: str) -> asyncio.Event:
        return self._waiting.setdefault(appointment_id, asyncio.Event())

    async def place(self) -> str:
        """Update-with-start of a bare booking; its id."""
        command = _command()
        start = WithStartWorkflowOperation(
            SkeletonBooking.run,
            command,
            id=_workflow_id(command.appointment_id),
            task_queue=QUEUE,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE_FAILED_ONLY,
            task_timeout=TASK_TIMEOUT,
            search_attributes=_search_attributes(command),
            static_summary=f"appointment on {command.start:%Y-%m-%d %H:%M} UTC",
        )
        await self._client.execute_update_with_start_workflow(
            SkeletonBooking.place, start_workflow_operation=start, id=str(uuid4()), rpc_timeout=RPC_TIMEOUT
        )
        return command.appointment_id

    async def book(self) -> None:
        """Place, signal, wait for the last step."""
        appointment_id = await self.place()
        handle = self._client.get_workflow_handle(_workflow_id(appointment_id))
        await handle.signal(SkeletonBooking.payment_reported, "pay_skeleton", rpc_timeout=RPC_TIMEOUT)
        async with asyncio.timeout(CONFIRM_SECONDS):
            await self._event(appointment_id).wait()

    async def only_place(self) -> None:
        """Place and leave it there."""
        await self.place()

    async def noop(self) -> None:
        """Run a no-op workflow to its end."""
        await self._client.execute_workflow(NoopWorkflow.run, False, id=f"noop:{uuid4()}", task_queue=QUEUE)  # noqa: FBT003

    async def open_noop(self) -> None:
        """Start a no-op workflow that stays open after its activity, and wait until it is idle."""
        handle = await self._client.start_workflow(NoopWorkflow.run, True, id=f"noop:{uuid4()}", task_queue=QUEUE)  # noqa: FBT003
        async with asyncio.timeout(CONFIRM_SECONDS):
            # The server is asked, not the workflow: a query would leave its traces in the worker's memory.
            while True:
                if (await handle.describe()).history_length >= IDLE_EVENTS:
                    return
                await asyncio.sleep(POLL_SECONDS)


def _workflow_id(appointment_id: str) -> str:
    return f"skeleton:{appointment_id}"


def _command() -> PlaceBooking:
    """What the product's API would send for a consultation in some days."""
    start = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) + timedelta(days=LEAD_DAYS)
    provider = ALWAYS_OPEN[0].provider
    visit = provider.services[0]
    subject = "usr_bench_0"
    return PlaceBooking(
        appointment_id=random_id("apt"),
        tenant_id=TENANT.id,
        clinic_id=CLINIC.id,
        provider_id=provider.id,
        practitioner_id=provider.practitioner_id,
        subject_id=subject,
        actor=Actor(kind=ActorKind.PATIENT, id=subject),
        body_hash="0" * 64,
        service=ServiceSnapshot.model_validate(visit.model_dump(exclude={"slot_step_minutes"})),
        start=start,
        end=start + timedelta(minutes=VISIT_MINUTES),
        claim_start=start,
        claim_end=start + timedelta(minutes=VISIT_MINUTES),
        timezone=CLINIC.timezone,
        policy=POLICY,
        policy_version=1,
        has_intake=True,
    )


def _search_attributes(command: PlaceBooking) -> TypedSearchAttributes:
    return TypedSearchAttributes(
        [
            SearchAttributePair(attributes.TENANT_ID, command.tenant_id),
            SearchAttributePair(attributes.PROVIDER_REF, command.provider_id),
            SearchAttributePair(attributes.SUBJECT_REF, command.subject_id),
            SearchAttributePair(attributes.BOOKING_STATE, AppointmentState.HELD),
            SearchAttributePair(attributes.PAYMENT_STATE, PaymentState.PENDING),
        ]
    )


@asynccontextmanager
async def baselines(settings: Settings, folder: Path) -> AsyncIterator[Baselines]:
    """The baselines with a worker of their own, until the block ends; `folder` is for its log. Raises `StartError`."""
    bell_path, ready = folder / "bell", folder / "ready"
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as bell:
        bell.bind(str(bell_path))
        bell.settimeout(0)
        command = [sys.executable, "-m", "bench.worker", "--address", settings.temporal_address]
        command += ["--namespace", settings.temporal_namespace, "--bell", str(bell_path), "--ready", str(ready)]
        environment = {**os.environ, **compiled_once(os.environ)}
        worker = Process("bench worker", command, log=folder / "worker.log", directory=ROOT, environment=environment)
        worker.start()
        try:
            await asyncio.to_thread(wait_until, ready.exists, worker)
            client = await Client.connect(
                settings.temporal_address,
                namespace=settings.temporal_namespace,
                data_converter=pydantic_data_converter,
            )
            driver = Baselines(client, worker)
            asyncio.get_running_loop().add_reader(bell, driver.rung, bell)
            yield driver
            asyncio.get_running_loop().remove_reader(bell)
        finally:
            await asyncio.to_thread(worker.stop)
