"""A crowd of patients who all want something in the same moment, and what must be true of it afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle, islice

import httpx
from temporalio.client import Client

from cli.accounts import mint
from models.identity import Account
from tests.booking.support import claims_of, id_of, problem, somebody, workflow_status
from tests.clinics import Offer
from tests.stack import Json, Stack

KEY = "the one request of this patient"


@dataclass(frozen=True)
class Wish:
    """One patient and what they want."""

    who: Account
    offer: Offer
    start: str


@dataclass(frozen=True)
class Outcome:
    """Everybody's answers, and who got what they wanted."""

    wishes: Sequence[Wish]
    answers: Sequence[httpx.Response]

    @property
    def won(self) -> list[Json]:
        return [answer.json() for answer in self.answers if answer.status_code == httpx.codes.CREATED]

    @property
    def lost(self) -> list[httpx.Response]:
        return [answer for answer in self.answers if answer.status_code != httpx.codes.CREATED]


async def run(stack: Stack, wanted: Sequence[tuple[Offer, str]], people: int) -> Outcome:
    """So many patients, each over a connection of their own, share the wishes out among them."""
    wishes = [Wish(somebody(), *one) for one in islice(cycle(wanted), people)]
    limits = httpx.Limits(max_connections=people, max_keepalive_connections=people)
    tokens = [mint(stack.settings, wish.who) for wish in wishes]
    async with httpx.AsyncClient(base_url=stack.api_url, timeout=400, limits=limits, trust_env=False) as crowd:
        answers = await asyncio.gather(
            *(
                crowd.post(
                    "/v1/appointments",
                    headers={"Authorization": f"Bearer {token}", "Idempotency-Key": KEY},
                    json={
                        "provider_id": wish.offer.provider_id,
                        "service_id": wish.offer.service_id,
                        "start": wish.start,
                        "reason": "a cough",
                    },
                )
                for wish, token in zip(wishes, tokens, strict=True)
            )
        )
    return Outcome(wishes, answers)


async def check(stack: Stack, client: Client, outcome: Outcome, winners: int) -> None:
    """So many won, with a workflow and a claim each; whoever lost was told what is free and left nothing behind."""
    assert len(outcome.won) == winners
    for answer in outcome.lost:
        alternatives = problem(answer, 409, "slot_taken")["alternatives"]
        assert len(alternatives) == 3
        assert alternatives == sorted(set(alternatives))
    ids = [id_of(stack, wish.who, KEY) for wish in outcome.wishes]
    won = {one["id"] for one in outcome.won}
    assert won <= set(ids)
    started = set()
    for some in range(0, len(ids), 100):
        part = ids[some : some + 100]
        found = await asyncio.gather(*(workflow_status(client, one) for one in part))
        started |= {one for one, status in zip(part, found, strict=True) if status is not None}
    assert started == won
    mine = {"$in": ids}
    assert {one["_id"] for one in stack.db.appointments.find({"_id": mine}, {"_id": 1})} == won
    assert sum(claims_of(stack, one) for one in won) == winners
    assert stack.db.slots.count_documents({"$or": [{"_id": mine}, {"seats.owner": mine}]}) == min(winners, 1)
