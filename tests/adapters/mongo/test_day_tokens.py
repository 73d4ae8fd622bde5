"""The numbers of a doctor's day: given once each, whoever asks at the same time."""

from __future__ import annotations

import asyncio
from datetime import date

import pytest

from adapters.mongo.repositories import Repositories
from models.day_list_ports import DoctorsTokens
from models.errors import Code, VisitNowError
from models.identity import Clinics, OwnProvider, Tenant
from tests.adapters.mongo.builders import new

DAY = date(2031, 3, 3)


async def test_of_many_at_once_each_visit_gets_one_number(stores: Repositories) -> None:
    whose = DoctorsTokens(new("ten"), "cli_a", new("prv"), DAY)
    scope = Clinics(whose.tenant_id, frozenset({"cli_a", "cli_b"}))
    visits = [new("apt") for _ in range(12)]
    asked = [visits[first : first + 5] for first in range(9)]
    answers = await asyncio.gather(*(stores.tokens.give(scope, whose, wanted) for wanted in asked))
    last = max(answers, key=len)
    assert sorted(last) == sorted({one for wanted in asked for one in wanted})
    for wanted, answer in zip(asked, answers, strict=True):
        assert answer == last[: len(answer)], "what was given before stays where it was"
        assert set(wanted) <= set(answer)
    assert await stores.tokens.of_day(scope, "cli_a", [whose.provider_id, new("prv")], DAY) == {whose.provider_id: last}
    assert await stores.tokens.give(scope, whose, visits[:3]) == last


async def test_each_doctor_and_day_counts_for_itself(stores: Repositories) -> None:
    tenant = Tenant(new("ten"))
    one = DoctorsTokens(tenant.tenant_id, "cli_a", new("prv"), DAY)
    for whose in (one, one._replace(provider_id=new("prv")), one._replace(day=date(2031, 3, 4))):
        assert await stores.tokens.give(tenant, whose, ["apt_1"]) == ["apt_1"]
    assert await stores.tokens.of_day(tenant, "cli_b", [one.provider_id], DAY) == {}


async def test_nobody_begins_another_one_s_day(stores: Repositories) -> None:
    whose = DoctorsTokens(new("ten"), "cli_a", new("prv"), DAY)
    for scope in (OwnProvider(whose.tenant_id, new("prv")), Clinics(whose.tenant_id, frozenset()), Tenant(new("ten"))):
        with pytest.raises(VisitNowError) as refused:
            await stores.tokens.give(scope, whose, ["apt_1"])
        assert refused.value.code is Code.NOT_FOUND
