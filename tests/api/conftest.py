"""The API in this process, over real servers and the seed data, without workers: what only reads or refuses.

Tests that book take the `stack` of `tests.stack`, with an API and workers of their own processes.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Final

import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from pydantic import SecretStr

from adapters.connections import mongo_addresses
from adapters.mongo.repositories import Repositories
from adapters.settings import Settings
from adapters.tokens import TokenMinter
from api.app import create_app
from api.services import Services
from cli.accounts import ACCOUNTS, mint
from cli.migrate import prepare_stores
from cli.seed.catalogue import Profile
from cli.seed.catalogues import full
from cli.seed.write import write
from models.booking import (
    Actor,
    ActorKind,
    Advance,
    Appointment,
    AppointmentState,
    EventType,
    HoldSlot,
    Intake,
    PlaceBooking,
    WaitingFor,
)
from models.identity import Account, Subject, System, Tenant
from models.ids import random_id
from models.payments import PaymentState
from models.policy import TenantPolicy
from models.sessions import Session
from sandbox.servers.processes import HOST, free_port
from sandbox.servers.stack import Addresses
from tests.stack import settings_over

# Made once: loading the system's certificates for each client would take longer than its requests.
_NO_TLS: Final = ssl.create_default_context()

WEBHOOK_SECRETS: Final = ("newest-made-up", "older-made-up")


class InProcess(uvicorn.Server):
    """A server that leaves the process's signals alone."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Api:
    """A running application and clients for it."""

    def __init__(self, app: FastAPI, settings: Settings, url: str) -> None:
        self.app = app
        self.settings = settings
        self.url = url

    @property
    def services(self) -> Services:
        found = self.app.state.services
        assert isinstance(found, Services)
        return found

    def client(self, account: str | Account | None = None, **headers: str) -> httpx.AsyncClient:
        """A client that speaks for an account of the seed, or for nobody."""
        if account is not None:
            who = ACCOUNTS[account] if isinstance(account, str) else account
            headers["Authorization"] = f"Bearer {mint(self.settings, who)}"
        return httpx.AsyncClient(base_url=self.url, headers=headers, timeout=30, trust_env=False, verify=_NO_TLS)


async def signed_in(stores: Repositories, settings: Settings, who: Account) -> str:
    """A token as signing in gives it: of a session in the database, without which nobody speaks in production."""
    now = datetime.now(UTC)
    session = Session(
        id=random_id("ses"),
        subject_id=who.id,
        tenant_id=who.tenant_id,
        token_hash=random_id("x"),
        signed_in_at=now,
        rotated_at=now,
        expires_at=now + timedelta(hours=1),
    )
    await stores.sessions.add(System("a test signs in"), session)
    return TokenMinter(settings.token_keys).mint(who.principal(session.id), timedelta(minutes=5), now)


def settings_for(servers: Addresses, database: str, **changes: object) -> Settings:
    """Settings over the run's servers; the payment gateway is nowhere."""
    values: dict[str, object] = {
        "temporal_namespace": servers.temporal_namespace,
        "razorpay_base_url": "http://127.0.0.1:9",
        "razorpay_webhook_secrets": SecretStr(",".join(WEBHOOK_SECRETS)),
        "twilio_base_url": "http://127.0.0.1:9",
        "twilio_account_sid": "AC" + "0" * 32,
        "twilio_auth_token": SecretStr("messaging-secret"),
        "twilio_sms_from": "+15005550006",
    }
    return settings_over(servers, database, **{**values, **changes})


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[Api]:
    """The application on a free port for as long as the context lasts."""
    app, port = create_app(settings), free_port()
    config = uvicorn.Config(
        app, host=HOST, port=port, log_config=None, access_log=False, ws="none", timeout_graceful_shutdown=1
    )
    server = InProcess(config)
    task = asyncio.create_task(server.serve())
    try:
        async with asyncio.timeout(30):
            while not server.started:
                if task.done():
                    task.result()
                    pytest.fail("the application did not start")
                await asyncio.sleep(0.02)
        yield Api(app, settings, f"http://{HOST}:{port}")
    finally:
        server.should_exit = True
        await task


@pytest.fixture(scope="module")
async def api(
    servers: Addresses, module_database_name: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Api]:
    """The application over a seeded database of this module's own."""
    storage = tmp_path_factory.mktemp("storage").as_uri()
    settings = settings_for(servers, module_database_name, storage_url=storage)
    await prepare_stores(settings, servers.owner_mongodb_url(settings.database))
    await write(settings, full(TenantPolicy(max_unpaid_holds=1000)))
    async with serving(settings) as running:
        async with asyncio.timeout(30):
            await running.services.listener.until_connected()
        yield running


async def _nobody_listens(practitioner_id: str) -> None:
    del practitioner_id


@pytest.fixture(scope="module")
async def stores(api: Api) -> AsyncIterator[Repositories]:
    """The repositories over the application's database, for putting things there."""
    repositories = Repositories.connect(mongo_addresses(api.settings), on_time_changed=_nobody_listens)
    yield repositories
    await repositories.close()


def a_booking(profile: Profile, subject_id: str, start: datetime, **changes: object) -> PlaceBooking:
    """The command that books a seed doctor's first service."""
    provider = profile.provider
    service = provider.services[0]
    end = start + timedelta(minutes=service.duration_minutes)
    fields: dict[str, object] = {
        "appointment_id": random_id("apt"),
        "tenant_id": provider.tenant_id,
        "clinic_id": provider.clinic_id,
        "provider_id": provider.id,
        "practitioner_id": provider.practitioner_id,
        "subject_id": subject_id,
        "actor": Actor(kind=ActorKind.PATIENT, id=subject_id),
        "body_hash": "0" * 64,
        "service": service.model_dump(exclude={"slot_step_minutes"}),
        "start": start,
        "end": end,
        "claim_start": start,
        "claim_end": end,
        "timezone": "Asia/Kolkata",
        "policy": TenantPolicy(),
        "policy_version": 1,
    }
    return PlaceBooking.model_validate({**fields, **changes})


async def hold(stores: Repositories, command: PlaceBooking, order_id: str | None, intake: Intake) -> Appointment:
    """Put a held appointment there as its workflow would have: claim, document, order."""
    scope = Tenant(command.tenant_id)
    now = datetime.now(UTC)
    until = now + timedelta(minutes=10)
    if not intake.is_empty:
        command = command.model_copy(update={"has_intake": True})
    assert await stores.claims.tentative(Subject(command.subject_id), command, intake, until)
    step = HoldSlot(
        command=command,
        at=now,
        deadline=until,
        expires_at=until,
        waiting_for=WaitingFor(event="payment", until=until),
    )
    held, sealed = await stores.claims.hold(scope, step)
    assert held
    await stores.appointments.insert(scope, step, sealed)
    if order_id is not None:
        await stores.appointments.record_order(scope, command.appointment_id, order_id, now)
    return await reread(stores, command.appointment_id)


async def confirm(stores: Repositories, appointment: Appointment, payment_id: str) -> Appointment:
    """Let the money be taken."""
    step = Advance(
        tenant_id=appointment.tenant_id,
        appointment_id=appointment.id,
        event=EventType.CONFIRMED,
        event_id=random_id("evt"),
        at=datetime.now(UTC),
        to=AppointmentState.CONFIRMED,
        payment_state=PaymentState.CAPTURED,
        payment_id=payment_id,
        captured_added=appointment.service.fee.amount,
    )
    scope = Tenant(appointment.tenant_id)
    assert await stores.claims.book(scope, appointment.claim)
    assert (await stores.appointments.advance(scope, step)).applied
    return await reread(stores, appointment.id)


async def reread(stores: Repositories, appointment_id: str) -> Appointment:
    """The appointment as it is."""
    found = await stores.appointments.find(System("a test looks"), appointment_id)
    assert found is not None
    return found


@pytest.fixture
def key() -> str:
    """A fresh Idempotency-Key."""
    return secrets.token_urlsafe(16)


def today() -> str:
    """Today's date in UTC."""
    return datetime.now(UTC).date().isoformat()
