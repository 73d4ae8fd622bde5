"""People on a stack who have an account of their own and wish to be forgotten, over HTTP."""

from __future__ import annotations

import itertools
import re
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Final

import httpx
from temporalio.client import WorkflowExecutionStatus

from models.erasure import STORES, Store
from models.ids import deletion_workflow_id
from tests.booking.support import ok, temporal
from tests.stack import Json, Stack, eventually

REQUESTS: Final = "/v1/me/deletion-requests"
_NUMBERS: Final = itertools.count(secrets.randbelow(10_000) * 1_000)
_WHOLLY_THEIRS: Final = ("dependants", "consents", "sessions", "consultations", "documents")
_CODE: Final = re.compile(r"\b[0-9]{6}\b")


def a_phone() -> str:
    """A number that nobody has."""
    return f"+9188{next(_NUMBERS):08d}"


async def code_to(stack: Stack, phone: str, seen: int = 0) -> str:
    """The code of the newest message to a phone, once there are more than `seen` with one."""

    async def codes() -> list[str]:
        found = [_CODE.search(one["text"]) for one in await stack.messages(phone)]
        return [one.group() for one in found if one is not None]

    return (await eventually(codes, lambda there: len(there) > seen))[0]


async def codes_to(stack: Stack, phone: str) -> int:
    """How many messages with a code have reached a phone."""
    return sum(_CODE.search(one["text"]) is not None for one in await stack.messages(phone))


async def sign_in(stack: Stack, phone: str, name: str | None = None) -> Json:
    """Sign in with a code; a first sign-in makes the account."""
    seen = await codes_to(stack, phone)
    stack.db.sign_in_tries.delete_many({})  # whoever signs in so often would have to wait
    async with stack.anonymous() as nobody:
        sent = ok(await nobody.post("/v1/auth/otp", json={"phone": phone}), 202)
        code = await code_to(stack, phone, seen)
        given = {"challenge_id": sent["challenge_id"], "code": code, **({} if name is None else {"name": name})}
        return ok(await nobody.post("/v1/auth/otp/verify", json=given))


class Leaver:
    """Somebody with an account and a session."""

    def __init__(self, stack: Stack, phone: str, tokens: Json, client: httpx.AsyncClient) -> None:
        self.stack = stack
        self.phone = phone
        self.id = str(tokens["user"]["id"])
        self.client = client
        self.deletion = ""
        self.token = ""

    async def asks(self, **body: object) -> Json:
        """Ask to be forgotten."""
        self.stack.db.sign_in_tries.delete_many({})
        asked = ok(await self.client.post(REQUESTS, json=body), 202)
        self.deletion, self.token = asked["id"], asked["request_token"]
        return asked

    async def confirms(self, **body: object) -> Json:
        """Ask, and give the code."""
        seen = await codes_to(self.stack, self.phone)
        await self.asks(**body)
        code = await code_to(self.stack, self.phone, seen)
        return ok(await self.client.post(f"{REQUESTS}/{self.deletion}/confirm", json={"code": code}))

    async def seen(self) -> Json:
        """How far it is, with the request's own token."""
        async with self.holding() as client:
            return ok(await client.get(f"{REQUESTS}/{self.deletion}"))

    async def until(self, state: str, seconds: float = 60) -> Json:
        """It once it is so far."""
        return await eventually(self.seen, lambda seen: seen["state"] == state, seconds=seconds)

    async def forgotten(self, seconds: float = 60) -> Json:
        """It once it says that all is erased and its workflow has ended too, which is a moment later."""
        done = await self.until("erased", seconds)
        client = await temporal(self.stack)
        handle = client.get_workflow_handle(deletion_workflow_id(self.deletion))
        await eventually(
            handle.describe, lambda seen: seen.status is WorkflowExecutionStatus.COMPLETED, seconds=seconds
        )
        return done

    def is_next_in(self, store: Store) -> bool:
        """Whether what is erased next lies in that store: those before it have given all their receipts."""
        found = self.stack.db.deletions.find_one({"_id": self.deletion}, {"receipts": 1})
        given = {} if found is None else found["receipts"]
        before = STORES[: STORES.index(store)]
        counts = {len(given.get(one, {})) for one in before}
        return store not in given and len(counts) == 1 and counts != {0}

    async def certificate(self) -> Json:
        """The certificate, with the request's own token."""
        async with self.holding() as client:
            return ok(await client.get(f"{REQUESTS}/{self.deletion}/certificate"))

    @asynccontextmanager
    async def holding(self) -> AsyncIterator[httpx.AsyncClient]:
        """A client that has nothing but the request's own token."""
        async with self.stack.anonymous() as client:
            client.headers["Authorization"] = f"Bearer {self.token}"
            yield client


@asynccontextmanager
async def somebody_new(stack: Stack, name: str) -> AsyncIterator[Leaver]:
    """Somebody who has just signed up."""
    phone = a_phone()
    tokens = await sign_in(stack, phone, name)
    async with stack.anonymous() as client:
        client.headers["Authorization"] = f"Bearer {tokens['access_token']}"
        yield Leaver(stack, phone, tokens, client)


def set_policy(stack: Stack, **policy: object) -> None:
    """What the platform's settings are from now on, as somebody who tries it out sets them."""
    stack.db.tenants.update_one(
        {"_id": "platform"}, {"$set": {f"policy.{name}": value for name, value in policy.items()}}
    )


def held_of(stack: Stack, subject_id: str) -> dict[str, int]:
    """How many documents of somebody there are in those collections from which everything of theirs goes."""
    counts = {one: stack.db[one].count_documents({"subject_id": subject_id}) for one in _WHOLLY_THEIRS}
    return {**counts, "users": stack.db.users.count_documents({"_id": subject_id})}


def erased_of(certificate: Json, parts: Iterable[str]) -> dict[str, int]:
    """How much of each part of the database went, by a certificate."""
    counted = Counter(dict.fromkeys(parts, 0))
    for one in certificate["receipts"]:
        if (one["store"], one["part"] in counted) == ("mongodb", True):
            counted[one["part"]] += one["erased"]
    return dict(counted)
