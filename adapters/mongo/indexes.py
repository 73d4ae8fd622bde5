"""Makes the declared collections, validators and indexes, and tells where a database differs from them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from adapters.mongo import (
    absence,
    availability,
    booking,
    challenges,
    compliance,
    consents,
    consultation,
    day_tokens,
    deletions,
    dependants,
    documents,
    exports,
    holds,
    identity,
    invites,
    leases,
    leaves,
    messaging,
    notices,
    onboarding,
    payments,
    providers,
    reviews,
    rights,
    seals,
    search,
    sessions,
    staff_tasks,
    stops,
    templates,
    tenancy,
    tries,
    uploads,
)
from adapters.mongo.client import Database, answering
from adapters.mongo.schema import Declared

DECLARED: Final[Sequence[Declared]] = (
    absence.DECLARED,
    availability.DECLARED,
    booking.DECLARED,
    challenges.DECLARED,
    compliance.DECLARED,
    consents.DECLARED,
    day_tokens.DECLARED,
    deletions.DECLARED,
    holds.DECLARED,
    consultation.DECLARED,
    dependants.DECLARED,
    documents.DECLARED,
    exports.DECLARED,
    identity.DECLARED,
    invites.DECLARED,
    leases.DECLARED,
    leaves.DECLARED,
    onboarding.DECLARED,
    messaging.DECLARED,
    notices.DECLARED,
    *payments.DECLARED,
    *providers.DECLARED,
    reviews.DECLARED,
    seals.DECLARED,
    rights.DECLARED,
    search.DECLARED,
    sessions.DECLARED,
    stops.DECLARED,
    templates.DECLARED,
    staff_tasks.DECLARED,
    *tenancy.DECLARED,
    tries.DECLARED,
    uploads.DECLARED,
)
"""Every collection, as its repository declares it."""

_COMPARED: Final = ("key", "unique", "partialFilterExpression", "sparse", "expireAfterSeconds")


@answering
async def ensure(database: Database) -> None:
    """Make what is missing, as the database's owner; what exists and differs is left for a person.

    Raises `OperationFailure` where an existing index of that name has other keys or options.
    """
    existing = set(await database.list_collection_names())
    for declared in DECLARED:
        validator = declared.validator or {}
        if declared.collection not in existing:
            await database.create_collection(declared.collection, validator=validator)
        else:
            await database.command("collMod", declared.collection, validator=validator)
        if declared.indexes:
            await database[declared.collection].create_indexes(list(declared.indexes))


@answering
async def compare(database: Database) -> list[str]:
    """One line for each difference between what is declared and what the database has; empty where there is none."""
    found = {str(one["name"]): one for one in await (await database.list_collections()).to_list(None)}
    differences: list[str] = []
    for declared in DECLARED:
        collection = found.get(declared.collection)
        if collection is None:
            differences.append(f"{declared.collection}: the collection is missing")
            continue
        options = collection.get("options")
        validator = options.get("validator") if isinstance(options, dict) else None
        if (validator or None) != declared.validator:
            differences.append(f"{declared.collection}: the validator differs")
        present = await database[declared.collection].list_indexes().to_list(None)
        differences += _compared(declared, present)
    return differences


def _compared(declared: Declared, present: Iterable[Mapping[str, object]]) -> list[str]:
    wanted = {str(index.document["name"]): _essence(index.document) for index in declared.indexes}
    there = {str(index["name"]): _essence(index) for index in present if index["name"] != "_id_"}
    name = declared.collection
    return [
        *(f"{name}: the index {one} is missing" for one in wanted if one not in there),
        *(f"{name}: the index {one} differs" for one in wanted if one in there and there[one] != wanted[one]),
        *(f"{name}: the index {one} is not declared" for one in there if one not in wanted),
    ]


def _essence(index: Mapping[str, object]) -> dict[str, object]:
    """What makes an index what it is, the order of its keys included."""
    essence = {option: index[option] for option in _COMPARED if index.get(option)}
    keys = index["key"]
    essence["key"] = list(keys.items()) if isinstance(keys, Mapping) else keys
    return essence
