"""A database that does not answer is `UnavailableError` for every method, within seconds; other errors stay errors."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator

import pytest
from pymongo.errors import (
    AutoReconnect,
    DuplicateKeyError,
    EncryptionError,
    ExecutionTimeout,
    NetworkTimeout,
    NotPrimaryError,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
    WaitQueueTimeoutError,
    WTimeoutError,
)

from adapters.mongo.client import answering, unanswered
from adapters.mongo.indexes import compare, ensure
from adapters.mongo.repositories import MongoAddresses, Repositories
from models.errors import UnavailableError
from tests.adapters.mongo.calls import WORLD, build, of_everybody, on_records
from tests.adapters.mongo.conftest import Heard

NOBODY = "mongodb://127.0.0.1:1/?directConnection=true"


@pytest.fixture
async def dead(time_changed: Heard) -> AsyncIterator[Repositories]:
    addresses = MongoAddresses(
        url=NOBODY,
        database="d",
        audit_url=NOBODY,
        vault_url=NOBODY,
        vault_database="v",
        kms_url="local:",
        index_key=b"made up" * 4,
    )
    repositories = Repositories.connect(addresses, on_time_changed=time_changed.note)
    yield repositories
    await repositories.close()


async def test_every_method_gives_up_in_time(stores: Repositories, dead: Repositories) -> None:
    world = await build(stores)
    calls = {**on_records(dead, world), **of_everybody(dead, world)}
    began = time.monotonic()
    # What needs the vault first stands in line for its one thread, so one of those is enough.
    slow = {
        "payments.open_refund",
        "appointments.note_cancellation",
        "users.add",
        "users.describe",
        "users.enrol_totp",
        "challenges.address",
        "invites.add",
        "dependants.put",
    }
    waiting = {name: call(WORLD) for name, call in calls.items() if name not in slow}
    checks = {"ping": dead.ping(), "ensure": ensure(dead.database), "compare": compare(dead.database)}
    named = {**waiting, **checks}
    answers = await asyncio.gather(*named.values(), return_exceptions=True)
    assert {
        name: answer for name, answer in zip(named, answers, strict=True) if not isinstance(answer, UnavailableError)
    } == {}
    # Each gives up after two seconds, as soon as one of the driver's threads is free for it.
    turns = -(-len(named) // int(os.environ["MOTOR_MAX_WORKERS"]))
    assert time.monotonic() - began < 2 * turns + 5


@pytest.mark.parametrize(
    "error",
    [
        AutoReconnect(),
        NetworkTimeout(),
        NotPrimaryError("stepping down"),
        ServerSelectionTimeoutError(),
        WaitQueueTimeoutError(),
        ExecutionTimeout("too long", 50),
        WTimeoutError("no majority", 64),
        EncryptionError(AutoReconnect()),
    ],
)
async def test_no_answer_is_unavailable(error: PyMongoError) -> None:
    @answering
    async def ask() -> None:
        raise error

    with pytest.raises(UnavailableError) as raised:
        await ask()
    assert raised.value.__cause__ is error


@pytest.mark.parametrize(
    "error",
    [
        DuplicateKeyError("twice", 11000),
        OperationFailure("not authorized", 13),
        EncryptionError(ValueError("no key")),
        EncryptionError(DuplicateKeyError("twice", 11000)),
    ],
)
async def test_an_answer_is_not(error: PyMongoError) -> None:
    @answering
    async def ask() -> None:
        raise error

    assert not unanswered(error)
    with pytest.raises(type(error)):
        await ask()
