"""What is really sent to MongoDB: each command of each repository method carries its scope, or says why it need not."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import fields
from inspect import signature
from types import SimpleNamespace
from typing import Any, Final, NamedTuple

import pytest
from pymongo import monitoring

from adapters.mongo.repositories import MongoAddresses, Repositories
from adapters.mongo.scopes import scope_filter
from models.holdings import exported
from models.identity import Clinics, OwnProvider, Public, Scope, Subject, System, Tenant
from tests.adapters.mongo.calls import World, build, of_everybody, on_records
from tests.adapters.mongo.conftest import Heard
from tests.adapters.mongo.methods import NO_REPOSITORIES, every_method
from tests.adapters.mongo.test_scopes import refused_or_answered

Json = Mapping[str, Any]


class Sent(NamedTuple):
    """One statement of a command: what it selects, or the document that it writes; `comment` is a process's reason."""

    command: str
    collection: str
    selects: Json | None
    writes: Json
    comment: str | None


class Listener(monitoring.CommandListener):
    """Keeps what is sent to one database, with the method that was asked and the scope that it was given."""

    def __init__(self, database: str) -> None:
        self._database = database
        self.asked: tuple[str, Any] | None = None
        self.sent: list[tuple[str, Any, Sent]] = []

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        if self.asked is not None and event.database_name == self._database:
            self.sent += [(*self.asked, one) for one in _statements(event.command_name, event.command)]

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        """Not of interest."""

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        """Not of interest."""


_FILTER: Final = {"find": "filter", "findAndModify": "query", "count": "query", "distinct": "query"}
_LISTED: Final = {"update": "updates", "delete": "deletes"}
_NO_DATA: Final = frozenset({"getMore", "killCursors", "ping", "hello", "endSessions"})


def _statements(name: str, command: Json) -> Iterator[Sent]:
    """What a command selects and writes; one that is not known here selects everything, and so is found out."""
    collection, comment = str(command.get(name)), command.get("comment")
    if name in _LISTED:
        for one in command[_LISTED[name]]:
            yield Sent(name, collection, one["q"], {}, comment)
    elif name == "insert":
        for one in command["documents"]:
            yield Sent(name, collection, None, one, comment)
    elif name == "aggregate":
        yield Sent(name, collection, [*command["pipeline"], {}][0].get("$match", {}), {}, comment)
    elif name not in _NO_DATA:
        yield Sent(name, collection, command.get(_FILTER.get(name, ""), {}), {}, comment)


@pytest.fixture(scope="module")
async def heard(
    stores: Repositories, addresses: MongoAddresses, time_changed: Heard
) -> AsyncIterator[tuple[Repositories, Listener]]:
    """Repositories whose every command is heard; drivers listen by registration, before they connect."""
    assert stores.database.name == addresses.database
    listener = Listener(addresses.database)
    monitoring.register(listener)
    repositories = Repositories.connect(addresses, on_time_changed=time_changed.note)
    yield repositories, listener
    await repositories.close()


UNSCOPED: Final = {
    "appointments.events": "the relay serves all tenants",
    "appointments.drained": "the relay serves all tenants",
    "applications.events": "the relay serves all tenants",
    "applications.drained": "the relay serves all tenants",
    "tenancy.entries": "the relay serves all tenants",
    "tenancy.carried": "the relay serves all tenants",
    "deletions.entries": "the relay serves all tenants",
    "deletions.carried": "the relay serves all tenants",
    "audit.append": "entries carry their tenant, and are only ever added",
    "inbox.store": "what the gateway says belongs to the installation until it is matched",
    "inbox.waiting": "likewise",
    "inbox.passed_on": "likewise",
    "stops.stopped": "a stop is a reader's word to a sender, true for every tenant of it",
    "stops.note": "likewise",
    "leases.acquire": "leases belong to the installation",
    "leases.release": "likewise",
}
"""Methods without a scope, and why."""

_SESSION: Final = "a group's session is its clinic's; the patient stands in the seat that is asked for"
_COUNTED: Final = "counters are of whoever tries, known or not; their names are keyed digests"
_DIGESTS: Final = "the account was found within the scope; what lies under its address's digest has no owner yet"
EXCUSED: Final = {
    ("claims.busy", "find", "slots"): "a practitioner's time is one, at whichever clinic; what is read tells no owner",
    ("claims.unpaid_holds", "aggregate", "slots"): "the patient stands in each half of the condition",
    ("claims.tentative", "findAndModify", "slots"): _SESSION,
    ("claims.tentative", "update", "slots"): _SESSION,
    ("claims.hold", "findAndModify", "slots"): _SESSION,
    ("claims.book", "update", "slots"): _SESSION,
    ("claims.move", "findAndModify", "slots"): _SESSION,
    ("claims.drop_tentative", "findAndModify", "slots"): _SESSION,
    ("claims.release", "findAndModify", "slots"): _SESSION,
    ("remains.forget_tries", "delete", "sign_in_tries"): _DIGESTS,
    ("remains.forget_tries", "find", "otp_challenges"): _DIGESTS,
    ("remains.forget_tries", "delete", "otp_challenges"): _DIGESTS,
    ("remains.forget_tries", "find", "users"): _DIGESTS,
    ("remains.count_tries", "aggregate", "sign_in_tries"): _DIGESTS,
    ("remains.count_tries", "find", "otp_challenges"): _DIGESTS,
    ("remains.count_tries", "find", "users"): _DIGESTS,
    ("remains.count", "aggregate", "slots"): _SESSION,
    ("remains.remove", "update", "slots"): _SESSION,
    ("remains.remove", "aggregate", "slots"): _SESSION,
    ("tries.take", "findAndModify", "sign_in_tries"): _COUNTED,
    ("tries.closed_until", "find", "sign_in_tries"): _COUNTED,
    ("tries.forget", "delete", "sign_in_tries"): _COUNTED,
    ("payments.refunds_of", "find", "refunds"): "the appointment was found within the scope just before",
    ("publications.find", "find", "clinics"): "it is the clinic of a profile that was found within the scope",
    ("publications.set_services", "find", "clinics"): "likewise",
    **{
        ("holdings.stream", "aggregate", one.collection): "where a window of everybody's ids ends; no more is read"
        for one in exported()
    },
}
"""(method, command, collection) → why that command has no owner in its filter where the scope would put one."""

PUBLISHED: Final = (
    "directory.", "search.page", "search.facets", "search.find", "tenancy.domain", "reviews.of_provider",
    "reviews.rating",
)  # fmt: skip
"""What patients may read of every tenant, since everybody may."""


def _conditions(query: Json) -> Iterator[tuple[str, object]]:
    for name, value in query.items():
        if name == "$and":
            for one in value:
                yield from _conditions(one)
        else:
            yield name, value


def _carries(query: Json, bounds: Json) -> bool:
    given = [json.dumps(one, sort_keys=True, default=str) for one in _conditions(query)]
    return all(json.dumps((name, value), sort_keys=True, default=str) in given for name, value in bounds.items())


def _scopes(world: World) -> list[Scope]:
    tenant = world.clinic.tenant_id
    return [
        Tenant(tenant),
        Clinics(tenant, frozenset({world.clinic.id})),
        OwnProvider(tenant, world.provider.id),
        Subject(world.appointment.subject_id),
        System("a test of commands"),
        Public(),
    ]


def _fault(method: str, sent: Sent, scope: Scope) -> str | None:
    if isinstance(scope, System):
        return None if sent.selects is None or sent.comment or "tenant_id" in sent.selects else "no reason as comment"
    if sent.selects is None:
        return None if {"tenant_id", "subject_id"} & sent.writes.keys() else "a document without an owner"
    published = method.startswith(PUBLISHED)
    allowed = [] if isinstance(scope, Public) and not published else [scope_filter(scope, published=published)]
    allowed += [{"tenant_id": sent.selects["tenant_id"]}] if published and "tenant_id" in sent.selects else []
    return None if any(_carries(sent.selects, bounds) for bounds in allowed) else "its scope is not in its filter"


class Watched:
    """A repository that notes the scope which each call of its methods is given."""

    def __init__(self, name: str, repository: object, listener: Listener) -> None:
        self._name = name
        self._repository = repository
        self._listener = listener

    def __getattr__(self, method: str) -> Callable[..., Awaitable[object]]:
        async def noted(*args: object, **named: object) -> object:
            self._listener.asked = (f"{self._name}.{method}", args[0] if args else None)
            return await getattr(self._repository, method)(*args, **named)

        return noted


async def _heard(heard: tuple[Repositories, Listener]) -> list[tuple[str, Scope, Sent]]:
    """What every method sent under every scope that a call may give it."""
    stores, listener = heard
    repositories = {one.name: getattr(stores, one.name) for one in fields(stores) if one.name not in NO_REPOSITORIES}
    watched: Any = SimpleNamespace(**{name: Watched(name, one, listener) for name, one in repositories.items()})
    for number in range(6):
        world = await build(stores)
        scope = _scopes(world)[number]
        for call in {**on_records(watched, world), **of_everybody(watched, world)}.values():
            await refused_or_answered(call(scope))
        listener.asked = None
    return listener.sent


async def test_every_command_carries_its_scope_or_is_excused(heard: tuple[Repositories, Listener]) -> None:
    faults, excused = [], set()
    sent = await _heard(heard)
    for method, scope, one in sent:
        fault = None if method in UNSCOPED else _fault(method, one, scope)
        place = (method, one.command, one.collection)
        if fault is not None and place in EXCUSED:
            excused.add(place)
        elif fault is not None:
            faults.append((method, scope, fault, one))
    shown = [f"{method} as {scope}: {fault}: {one}" for method, scope, fault, one in faults]
    assert not shown, "; ".join(shown)
    assert excused == set(EXCUSED), "an excuse that nobody needs hides the next fault"
    told = every_method(heard[0]) - {"seals.settled"}  # which asks for the server's clock
    assert {method for method, _, _ in sent} == told, "a method that sent nothing proves nothing"


async def test_every_method_takes_a_scope_or_says_why_not(stores: Repositories) -> None:
    for name in every_method(stores):
        repository, _, method = name.partition(".")
        parameters = list(signature(getattr(getattr(stores, repository), method)).parameters.values())
        scoped = bool(parameters) and parameters[0].name == "scope"
        assert scoped is (name not in UNSCOPED), f"{name}: take a Scope first, or say in UNSCOPED why there is none"
