"""The relay carries each event once into the audit, whoever dies on the way and however many would like to."""

from __future__ import annotations

import asyncio
import os
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from adapters.connections import connect_temporal
from adapters.mongo.repositories import Repositories
from adapters.redis.client import connect
from adapters.redis.feed import RedisFeed
from adapters.settings import Settings
from adapters.temporal.search_attributes import register_search_attributes
from cli.running import environment_of
from models.booking import AppointmentState, Event, EventType, PlaceBooking
from models.compliance import audit_of
from models.identity import System
from models.providers import TenantRecord
from models.tenancy import TenantSettings
from sandbox.servers.processes import Process
from tests.adapters.mongo.builders import a_command, a_confirmation, a_step, an_advance, an_entry, new
from tests.stack import ROOT, eventually
from workers.relay import BATCH, LEASE, Relay

TEST = System("tests")
STEPS = (EventType.HELD, EventType.ORDER_READY, EventType.CONFIRMED, EventType.CANCELLED)
TICK_SECONDS = 0.05


class Said:
    """A feed that remembers what was said."""

    def __init__(self) -> None:
        self.words: list[tuple[str, int]] = []
        self.days: list[str] = []

    async def day_changed(self, clinic_id: str) -> None:
        self.days.append(clinic_id)

    async def appointment_changed(self, appointment_id: str, version: int) -> None:
        self.words.append((appointment_id, version))

    async def time_changed(self, practitioner_id: str) -> None:
        raise AssertionError(f"a relay says nothing about the time of {practitioner_id}")


class Ticking:
    """Wakes the relay now and then: these tests do not wait for an idle relay's second to pass."""

    async def changed(self, seconds: float) -> None:
        await asyncio.sleep(min(seconds, TICK_SECONDS))


async def happen(stores: Repositories, appointments: int) -> list[PlaceBooking]:
    """So many appointments with four events each."""
    commands = [a_command() for _ in range(appointments)]
    await asyncio.gather(*(_live(stores, command) for command in commands))
    return commands


async def _live(stores: Repositories, command: PlaceBooking) -> None:
    step = a_step(command)
    await stores.appointments.insert(TEST, step, None)
    await stores.appointments.record_order(TEST, command.appointment_id, f"order_{command.appointment_id}", step.at)
    assert (await stores.appointments.advance(TEST, a_confirmation(command))).applied
    cancelled = an_advance(command, EventType.CANCELLED, AppointmentState.CANCELLED)
    assert (await stores.appointments.advance(TEST, cancelled)).applied


async def audited(stores: Repositories, commands: Sequence[PlaceBooking]) -> Counter[tuple[str, str]]:
    """How often each event of these appointments stands in the audit."""
    mine = {"target": {"$in": [one.appointment_id for one in commands]}}
    found = await stores.database["audit"].find(mine).to_list(None)
    return Counter((str(one["target"]), str(one["action"])) for one in found)


async def waiting(stores: Repositories, commands: Sequence[PlaceBooking]) -> int:
    """How many of these appointments have something in their outbox."""
    mine = {"_id": {"$in": [one.appointment_id for one in commands]}, "outbox.0": {"$exists": True}}
    return await stores.database["appointments"].count_documents(mine)


def everything(commands: Sequence[PlaceBooking]) -> Counter[tuple[str, str]]:
    """Each event once."""
    return Counter((one.appointment_id, step) for one in commands for step in STEPS)


def a_relay(stores: Repositories, feed: Said | RedisFeed) -> Relay:
    outboxes = (stores.tenancy,)
    return Relay(
        stores.appointments, stores.applications, stores.audit, feed, stores.leases, Ticking(), outboxes=outboxes
    )


@asynccontextmanager
async def running(relay: Relay) -> AsyncIterator[asyncio.Task[None]]:
    """The relay runs within."""
    task = asyncio.create_task(relay.run())
    try:
        yield task
        assert not task.done(), "the relay has ended by itself"
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def carried(stores: Repositories, commands: Sequence[PlaceBooking]) -> None:
    """Return once no outbox of these holds anything; each event is then in the audit, once."""
    await eventually(lambda: waiting(stores, commands), lambda left: left == 0)
    assert await audited(stores, commands) == everything(commands)


async def test_every_event_is_audited_and_the_newest_version_told(stores: Repositories) -> None:
    feed = Said()
    commands = await happen(stores, 12)
    async with running(a_relay(stores, feed)):
        await carried(stores, commands)
        later = await happen(stores, 3)
        await carried(stores, later)
    versions = {one.appointment_id: 0 for one in (*commands, *later)}
    for appointment_id, version in feed.words:
        versions[appointment_id] = max(versions[appointment_id], version)
    assert set(versions.values()) == {len(STEPS)}
    entry = await stores.database["audit"].find_one(
        {"target": commands[0].appointment_id, "action": EventType.CANCELLED}
    )
    assert entry is not None
    assert (entry["tenant_id"], entry["subject_id"]) == (commands[0].tenant_id, commands[0].subject_id)
    assert (entry["actor_kind"], entry["actor"]) == ("system", "system")


async def test_entries_that_were_kept_with_a_change_are_carried_once(stores: Repositories) -> None:
    tenant_id = new("ten")
    record = TenantRecord(id=tenant_id, slug=tenant_id.replace("_", "-").lower()[:40], name="Arogya")
    await stores.directory.put_tenant(TEST, record)
    kept = [an_entry(tenant_id=tenant_id, at=datetime.now(UTC)) for _ in range(3)]
    for version, entry in enumerate(kept, start=1):
        settings = TenantSettings(payment_window_seconds=100 + version)
        await stores.tenancy.replace_settings(TEST, tenant_id, settings, replaces=version, entry=entry)
    await stores.audit.append(kept[:1])

    async def noted() -> list[str]:
        found = await stores.database["audit"].find({"tenant_id": tenant_id}, sort=[("at", 1)]).to_list(None)
        return [str(one["_id"]) for one in found]

    async with running(a_relay(stores, Said())):
        assert await eventually(noted, lambda seen: len(seen) == 3) == [one.id for one in kept]
        await eventually(lambda: stores.tenancy.entries(1000), lambda left: left == [])


async def test_more_than_a_batch(stores: Repositories) -> None:
    commands = await happen(stores, BATCH // len(STEPS) * 3 + 1)
    async with running(a_relay(stores, Said())):
        await carried(stores, commands)


async def test_what_was_audited_before_a_crash_is_not_audited_again(stores: Repositories) -> None:
    """The audit is written before the outbox is drained: a death in between repeats the one and not the other."""
    commands = await happen(stores, 5)
    events = await stores.appointments.events(BATCH)
    await stores.audit.append([audit_of(event) for event in events[: len(events) // 2]])
    await stores.appointments.drained(events[:3])
    before = [one async for one in stores.database["audit"].find()]
    async with running(a_relay(stores, Said())):
        await carried(stores, commands)
    after = {str(one["_id"]): one async for one in stores.database["audit"].find()}
    assert [after[str(one["_id"])] for one in before] == before


async def test_events_of_one_appointment_are_told_in_their_order(stores: Repositories) -> None:
    commands = await happen(stores, 6)
    mine = {one.appointment_id for one in commands}
    by_appointment: dict[str, list[Event]] = {}
    for event in await stores.appointments.events(BATCH):
        by_appointment.setdefault(event.appointment_id, []).append(event)
    assert mine <= by_appointment.keys()
    for events in by_appointment.values():
        assert [event.version for event in events] == sorted(event.version for event in events)
    async with running(a_relay(stores, Said())):
        await carried(stores, commands)


async def test_a_feed_that_is_away_holds_nothing_up(stores: Repositories) -> None:
    redis = connect("redis://127.0.0.1:1/0")
    commands = await happen(stores, 4)
    async with running(a_relay(stores, RedisFeed(redis, "nobody"))):
        await carried(stores, commands)
    await redis.aclose()


async def test_of_two_relays_one_works_until_it_stops(stores: Repositories) -> None:
    first_said, second_said = Said(), Said()
    first, second = a_relay(stores, first_said), a_relay(stores, second_said)
    async with running(second):
        async with running(first):
            for _ in range(3):
                await carried(stores, await happen(stores, 5))
            # Whoever came first has it; the other one has said nothing.
            busy, idle = sorted((first_said, second_said), key=lambda said: -len(said.words))
            assert busy.words
            assert idle.words == []
        commands = await happen(stores, 5)
        await carried(stores, commands)
        assert {one for one, _ in second_said.words} >= {one.appointment_id for one in commands}
    assert await stores.database["relay_leases"].find_one({"_id": LEASE}) is None


@contextmanager
def relay_process(settings: Settings, log: Path) -> Iterator[Process]:
    """A relay as the product runs it."""
    process = Process(
        "relay",
        [sys.executable, "-P", "-m", "cli", "worker", "--queue", "relay"],
        log=log,
        environment={**os.environ, **environment_of(settings), "PYTHONPATH": str(ROOT)},
    )
    process.start()
    try:
        yield process
    finally:
        process.kill()


async def test_a_killed_relay_s_work_is_taken_up(settings: Settings, stores: Repositories, tmp_path: Path) -> None:
    # A relay's followers start workflows.
    await register_search_attributes(await connect_temporal(settings))
    """Killed in the middle of its work; the next one goes on when the dead one's lease has run out."""
    commands = await happen(stores, 150)
    with relay_process(settings, tmp_path / "first.log") as first:
        some = await eventually(lambda: audited(stores, commands), bool)
        first.kill()
    assert some.total() < everything(commands).total(), "it was done before it could be killed"
    leases = stores.database["relay_leases"]
    lease = await leases.find_one({"_id": LEASE})
    assert lease is not None
    # Its ten seconds pass.
    await leases.update_one({"_id": LEASE}, {"$set": {"until": datetime.now(UTC)}})
    with relay_process(settings, tmp_path / "second.log") as second:
        await eventually(lambda: waiting(stores, commands), lambda left: left == 0, 40)
        assert second.alive
    assert await audited(stores, commands) == everything(commands)
    after = await leases.find_one({"_id": LEASE})
    assert after is not None
    assert after["owner"] != lease["owner"]
