"""Every query of every repository goes through an index and sorts nothing; the database is as it is declared."""

from __future__ import annotations

import pytest
from pymongo.errors import OperationFailure

from adapters.mongo.client import Database, Document
from adapters.mongo.indexes import DECLARED, compare, ensure
from adapters.mongo.repositories import Repositories
from models.booking import AppointmentQuery, AppointmentState
from models.compliance import AuditQuery
from models.identity import Clinics, OwnProvider, Scope, Subject, System, Tenant
from tests.adapters.mongo.builders import DAY, a_command, a_step, minutes, new, past, soon
from tests.adapters.mongo.calls import NOTHING, WORLD, World, build, of_everybody, on_records


async def profiled(owner: Database) -> list[Document]:
    """What the server did on the collections of the product since it was told to note it."""
    await owner.command("profile", 0)
    names = [f"{owner.name}.{declared.collection}" for declared in DECLARED]
    return await owner["system.profile"].find({"ns": {"$in": names}}).to_list(None)


async def note_everything(owner: Database) -> None:
    await owner.command("profile", 0)
    await owner.drop_collection("system.profile")
    await owner.command("profile", 2)


def without_an_index(operations: list[Document]) -> list[object]:
    return [
        (one["ns"], one.get("planSummary"), one["command"])
        for one in operations
        if "COLLSCAN" in str(one.get("planSummary", "")) or one.get("hasSortStage")
    ]


def scopes_of(world: World) -> list[Scope]:
    tenant = world.clinic.tenant_id
    return [
        Tenant(tenant),
        Clinics(tenant, frozenset({world.clinic.id})),
        Clinics(tenant, frozenset({world.clinic.id, *(new("cli") for _ in range(5))})),
        OwnProvider(tenant, world.provider.id),
        Subject(world.appointment.subject_id),
        WORLD,
    ]


async def lists(stores: Repositories, world: World, scope: Scope) -> None:
    """Every kind of list of appointments that this scope may ask for, also its second page."""
    narrowed = AppointmentQuery(
        limit=1,
        state=AppointmentState.CONFIRMED,
        subject_id=world.appointment.subject_id,
        provider_id=world.provider.id,
        start_from=DAY - minutes(600),
        start_to=DAY + minutes(600),
    )
    for query in (AppointmentQuery(limit=1), narrowed):
        page = await stores.appointments.page(scope, query, None)
        if page.next_cursor is not None:
            await stores.appointments.page(scope, query, page.next_cursor)
    if isinstance(scope, Tenant):
        for asked in ({}, {"actor": "usr_staff"}, {"target": "apt_1"}, {"subject_id": "usr_1"}, {"noted_to": 2**31}):
            await stores.audit.page(scope, AuditQuery.model_validate({**asked, "limit": 1}), None)


async def test_every_query_uses_an_index(stores: Repositories, owner: Database) -> None:
    world = await build(stores)
    for number in range(40):
        others = a_command(number, 30, tenant_id=new("ten"), practitioner_id=new("prc"))
        await stores.appointments.insert(WORLD, a_step(others.model_copy(update={"start": DAY})), None)
    dead = a_command(0, 30, practitioner_id=new("prc"))
    assert await stores.claims.tentative(WORLD, dead, NOTHING, past())
    await note_everything(owner)
    again = a_command(15, 30, practitioner_id=dead.practitioner_id)
    assert await stores.claims.tentative(WORLD, again, NOTHING, soon())
    for scope in scopes_of(world):
        if scope != WORLD:  # the platform's processes take work from queues, they do not leaf through everything
            await lists(stores, world, scope)
    for calls in (on_records(stores, world), of_everybody(stores, world)):
        for name, call in calls.items():
            if name not in {"appointments.page", "audit.page", "rights.in_state"}:
                await call(WORLD)
    [first] = await stores.appointments.unsettled(WORLD, DAY - minutes(500_000), DAY, "", 1)
    await stores.appointments.unsettled(WORLD, DAY - minutes(500_000), DAY, first.id, 1)
    operations = await profiled(owner)
    assert len(operations) > 60
    assert without_an_index(operations) == []


async def test_work_queues_hold_only_what_waits(stores: Repositories, owner: Database) -> None:
    await build(stores)
    await stores.appointments.drained(await stores.appointments.events(10_000))
    for event in await stores.inbox.waiting(soon(), 10_000):
        await stores.inbox.passed_on(event.id)
    await note_everything(owner)
    assert await stores.appointments.events(100) == []
    assert await stores.inbox.waiting(soon(), 100) == []
    operations = await profiled(owner)
    assert [(one["keysExamined"], one["docsExamined"]) for one in operations] == [(0, 0), (0, 0)]


async def test_lists_read_no_further_than_their_page(stores: Repositories, owner: Database) -> None:
    tenant, person = Tenant(new("ten")), new("prc")
    for number in range(60):
        command = a_command(60 * number, 30, tenant_id=tenant.tenant_id, practitioner_id=person)
        await stores.appointments.insert(tenant, a_step(command), None)
        assert await stores.claims.tentative(tenant, command, NOTHING, soon())
    first = await stores.appointments.page(tenant, AppointmentQuery(limit=20), None)
    await note_everything(owner)
    await stores.appointments.page(tenant, AppointmentQuery(limit=20), first.next_cursor)
    await stores.claims.busy(System("test"), person, DAY + minutes(1800), DAY + minutes(2100))
    page, busy = sorted(await profiled(owner), key=lambda one: str(one["ns"]))
    assert (page["nreturned"], busy["nreturned"]) == (21, 5)
    examined = [int(str(one["keysExamined"])) for one in (page, busy)]
    # Free times look back by the longest claim there may be: 12 hours, here as many claims.
    assert examined[0] <= 23
    assert examined[1] <= 5 + 12 + 1


async def test_the_profiler_shows_why_a_process_of_ours_looks(stores: Repositories, owner: Database) -> None:
    await note_everything(owner)
    reason = new("reason")
    await stores.appointments.find(System(reason), new("apt"))
    await stores.appointments.find(Tenant("ten_a"), new("apt"))
    seen = [one["command"] for one in await profiled(owner)]
    assert [command.get("comment") for command in seen if isinstance(command, dict)] == [reason, None]


# What is declared


async def test_what_was_ensured_is_as_declared_and_again(stores: Repositories, owner: Database) -> None:
    assert stores.database.name == owner.name
    assert await compare(owner) == []
    await ensure(owner)
    assert await compare(owner) == []


async def test_each_difference_is_told(owner: Database, stores: Repositories) -> None:
    other = owner.client[f"{owner.name}_other"]
    assert stores.database.name == owner.name
    assert len(await compare(other)) == len(DECLARED)
    await ensure(other)
    assert await compare(other) == []
    await other["slots"].drop_index("calendar")
    await other["slots"].drop_index("holds")
    await other["slots"].create_index([("subject_id", 1)], name="holds")
    await other["users"].create_index("anything", name="by_hand")
    await other.command("collMod", "ledger", validator={})
    await other.drop_collection("audit")
    assert sorted(await compare(other)) == [
        "audit: the collection is missing",
        "ledger: the validator differs",
        "slots: the index calendar is missing",
        "slots: the index holds differs",
        "users: the index by_hand is not declared",
    ]
    with pytest.raises(OperationFailure):
        await ensure(other)
