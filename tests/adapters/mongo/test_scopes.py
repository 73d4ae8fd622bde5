"""Another tenant's, clinic's, provider's or patient's scope finds nothing and changes nothing, whatever the method."""

from __future__ import annotations

from collections.abc import Awaitable

import pytest

from adapters.mongo.client import Database, Document
from adapters.mongo.repositories import Repositories
from adapters.mongo.scopes import reason_of, require, scope_filter, scoped
from models.errors import Code, VisitNowError
from models.identity import Clinics, OwnProvider, Public, Scope, Subject, System, Tenant
from tests.adapters.mongo.builders import new
from tests.adapters.mongo.calls import WORLD, World, build, of_everybody, on_records
from tests.adapters.mongo.conftest import Heard
from tests.adapters.mongo.methods import every_method, method_of
from tests.contents import DIGESTS, EMPTY, digests

FOREIGN = ["tenant", "clinic", "provider", "patient", "public", "no clinic", "other tenant's clinic"]


def foreign(kind: str, world: World) -> Scope:
    tenant = world.clinic.tenant_id
    scopes: dict[str, Scope] = {
        "tenant": Tenant(new("ten")),
        "clinic": Clinics(tenant, frozenset({new("cli")})),
        "provider": OwnProvider(tenant, new("prv")),
        "patient": Subject(new("usr")),
        "public": Public(),
        "no clinic": Clinics(tenant, frozenset()),
        "other tenant's clinic": Clinics(new("ten"), frozenset({world.clinic.id})),
    }
    return scopes[kind]


async def refused_or_answered(asking: Awaitable[object]) -> object:
    """The answer; None where the thing is not found. Every other refusal is raised."""
    try:
        return await asking
    except VisitNowError as error:
        if error.code is not Code.NOT_FOUND:
            raise
        return None


async def everything(database: Database) -> dict[str, str]:
    return digests(await database.command(DIGESTS))


@pytest.mark.parametrize("kind", FOREIGN)
async def test_a_foreign_scope_finds_and_changes_nothing(stores: Repositories, owner: Database, kind: str) -> None:
    world = await build(stores)
    scope = foreign(kind, world)
    before = await everything(owner)
    assert before["appointments"] != EMPTY
    for name, call in on_records(stores, world).items():
        answer = await refused_or_answered(call(scope))
        assert not answer or answer == (False, None), name
        assert await everything(owner) == before, name


async def test_the_rightful_scope_reaches_it(stores: Repositories) -> None:
    for kind in ("tenant", "clinic", "provider", "patient", "system"):
        world = await build(stores)
        tenant = world.clinic.tenant_id
        scopes: dict[str, Scope] = {
            "tenant": Tenant(tenant),
            "clinic": Clinics(tenant, frozenset({world.clinic.id, "cli_z"})),
            "provider": OwnProvider(tenant, world.provider.id),
            "patient": Subject(world.appointment.subject_id),
            "system": WORLD,
        }
        scope = scopes[kind]
        calls = on_records(stores, world)
        for name in ("appointments.find", "appointments.by_order", "appointments.page", "appointments.overdue"):
            assert await calls[name](scope), (kind, name)
        assert await calls["payments.refunds_of"](scope), kind
        for name in ("claims.tentative", "claims.hold", "claims.hold (a seat)", "claims.book", "claims.book (a seat)"):
            assert await calls[name](scope), (kind, name)
        assert await calls["appointments.reserve_refund"](scope), kind
        for name in ("claims.release", "claims.release (a seat)"):
            await calls[name](scope)
        slots = stores.database["slots"]
        assert await slots.count_documents({"_id": world.claimed.appointment_id}) == 0, kind
        assert await slots.count_documents({"seats.owner": world.seated.appointment_id}) == 0, kind


async def test_these_are_all_methods(stores: Repositories) -> None:
    world = await build(stores)
    named = {method_of(call) for call in (*on_records(stores, world), *of_everybody(stores, world))}
    assert named == every_method(stores)


# The filter itself


def test_a_query_never_widens_its_scope() -> None:
    scope = OwnProvider("ten_a", "prv_a")
    assert scoped(scope, {"_id": "x"}) == {"_id": "x", "tenant_id": "ten_a", "provider_id": "prv_a"}
    asked: Document = {"provider_id": "prv_b"}
    assert scoped(scope, asked) == {"$and": [asked, scope_filter(scope)]}
    assert scoped(scope, {"provider_id": "prv_a"}) == scope_filter(scope)
    assert scoped(System("why"), asked) == asked


def test_only_a_process_of_ours_tells_a_reason() -> None:
    assert reason_of(System("the relay")) == "the relay"
    assert [reason_of(scope) for scope in (Public(), Tenant("t"), Subject("s"))] == [None] * 3


def test_writing_needs_a_scope_that_could_read_it() -> None:
    document = {"tenant_id": "ten_a", "clinic_id": "cli_a", "provider_id": "prv_a", "subject_id": "usr_a"}
    for allowed in (
        System("x"),
        Tenant("ten_a"),
        Clinics("ten_a", frozenset({"cli_a", "cli_b"})),
        OwnProvider("ten_a", "prv_a"),
        Subject("usr_a"),
    ):
        require(allowed, document)
    for refused in (
        Public(),
        Tenant("ten_b"),
        Clinics("ten_a", frozenset()),
        Clinics("ten_b", frozenset({"cli_a"})),
        OwnProvider("ten_b", "prv_a"),
        Subject("usr_b"),
    ):
        with pytest.raises(VisitNowError):
            require(refused, document)


async def test_nobody_hears_of_what_did_not_change(stores: Repositories, time_changed: Heard) -> None:
    world = await build(stores)
    calls = on_records(stores, world)
    del time_changed[:]
    for name in ("claims.tentative", "claims.hold", "claims.book", "claims.block"):
        await refused_or_answered(calls[name](Tenant(new("ten"))))
    assert time_changed == []
