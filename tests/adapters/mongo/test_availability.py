"""A patient's own claim: what each step does, alone and repeated."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from pymongo.errors import WriteError

from adapters.mongo.client import Database, Document
from adapters.mongo.repositories import Repositories
from models.availability import Busy
from models.booking import Intake, PlaceBooking
from models.data_classes import DataClass
from models.errors import VisitNowError
from models.identity import Public, Subject, System, Tenant
from models.providers import PaymentMode
from tests.adapters.mongo.builders import (
    DAY,
    a_clinic,
    a_command,
    a_provider,
    a_service,
    a_step,
    an_intake,
    minutes,
    new,
    past,
    soon,
)
from tests.adapters.mongo.conftest import Heard

TENANT = Tenant("ten_a")
NOTHING = Intake()


def alone(at: float = 0, length: float = 30, **changes: object) -> PlaceBooking:
    """A command for a practitioner whom no other test books."""
    return a_command(at, length, practitioner_id=new("prc"), **changes)


async def the_claim(stores: Repositories, command: PlaceBooking) -> Document:
    found = await stores.database["slots"].find_one({"_id": command.appointment_id})
    assert found is not None
    return found


async def opened(stores: Repositories, sealed: bytes | None) -> object:
    [content] = await stores.vault.open([sealed])
    return content


# tentative


async def test_a_tentative_claim_takes_every_cell_of_its_time(stores: Repositories) -> None:
    command = alone(claim_start=DAY - minutes(10), claim_end=DAY + minutes(45))
    assert await stores.claims.tentative(Subject(command.subject_id), command, NOTHING, soon())
    claim = await the_claim(stores, command)
    assert claim["cells"] == list(range(int(DAY.timestamp()) // 300 - 2, int(DAY.timestamp()) // 300 + 9))
    assert (claim["kind"], claim["tentative"]) == ("hold", True)
    assert "intake" not in claim


async def test_overlapping_time_is_refused_and_adjacent_time_is_not(stores: Repositories) -> None:
    command = alone(claim_start=DAY - minutes(5), claim_end=DAY + minutes(35))
    person = command.practitioner_id
    assert await stores.claims.tentative(TENANT, command, NOTHING, soon())
    for overlapping in (a_command(practitioner_id=person, at=30), a_command(practitioner_id=person, at=-30)):
        assert not await stores.claims.tentative(TENANT, overlapping, NOTHING, soon())
    for adjacent in (a_command(practitioner_id=person, at=35), a_command(practitioner_id=person, at=-35)):
        assert await stores.claims.tentative(TENANT, adjacent, NOTHING, soon())


async def test_a_retry_finds_its_own_claim_and_leaves_it_as_it_is(stores: Repositories) -> None:
    command = alone()
    assert await stores.claims.tentative(TENANT, command, NOTHING, soon())
    before = await the_claim(stores, command)
    later = command.model_copy(update={"claim_end": command.claim_end + minutes(30)})
    assert await stores.claims.tentative(TENANT, later, NOTHING, soon(500))
    assert await the_claim(stores, command) == before


async def test_words_are_sealed_with_the_claim_also_by_a_retry_after_a_crash(stores: Repositories) -> None:
    command = alone(has_intake=True)
    assert await stores.claims.tentative(TENANT, command, NOTHING, soon()), "as if it had died before it sealed them"
    assert await stores.claims.tentative(TENANT, command, an_intake("the words"), soon())
    claim = await the_claim(stores, command)
    held, sealed = await stores.claims.hold(TENANT, a_step(command))
    assert held
    assert sealed == claim["intake"]
    assert await opened(stores, sealed) == {"patient": None, "reason": "the words"}


async def test_a_claim_that_ran_out_makes_room(stores: Repositories, time_changed: Heard) -> None:
    first = alone()
    assert await stores.claims.tentative(TENANT, first, NOTHING, past())
    second = a_command(practitioner_id=first.practitioner_id, at=15)
    del time_changed[:]
    assert await stores.claims.tentative(TENANT, second, NOTHING, soon())
    assert set(time_changed) == {first.practitioner_id}
    assert not await stores.claims.book(TENANT, first.claim)


async def test_a_hold_without_a_date_never_runs_out(stores: Repositories, owner: Database) -> None:
    command = alone()
    assert await stores.claims.tentative(TENANT, command, NOTHING, past())
    for never in ({"$unset": {"expires_at": ""}}, {"$set": {"expires_at": None}}):
        await owner["slots"].update_one({"_id": command.appointment_id}, never)
        other = a_command(practitioner_id=command.practitioner_id)
        assert not await stores.claims.tentative(TENANT, other, NOTHING, soon())


async def test_only_a_tentative_claim_is_dropped(stores: Repositories) -> None:
    command = alone()
    scope = Subject(command.subject_id)
    assert await stores.claims.tentative(scope, command, NOTHING, soon())
    await stores.claims.drop_tentative(scope, command.claim)
    assert await stores.database["slots"].count_documents({"_id": command.appointment_id}) == 0
    assert await stores.claims.tentative(scope, command, NOTHING, soon())
    assert await stores.claims.hold(TENANT, a_step(command)) == (True, None)
    await stores.claims.drop_tentative(scope, command.claim)
    assert (await the_claim(stores, command))["tentative"] is False


# hold


async def test_hold_takes_the_tentative_claim_over_once_and_again(stores: Repositories) -> None:
    command = alone()
    assert await stores.claims.tentative(TENANT, command, an_intake(), soon(1))
    step = a_step(command, soon(600))
    first = await stores.claims.hold(TENANT, step)
    second = await stores.claims.hold(TENANT, step)
    assert first == second
    assert first[0]
    assert first[1] is not None
    claim = await the_claim(stores, command)
    assert (claim["kind"], claim["tentative"]) == ("hold", False)
    assert step.expires_at is not None
    assert claim["expires_at"] == step.expires_at.replace(microsecond=step.expires_at.microsecond // 1000 * 1000)


async def test_hold_makes_the_claim_where_it_was_lost(stores: Repositories) -> None:
    command = alone()
    assert await stores.claims.hold(TENANT, a_step(command)) == (True, None)
    assert await stores.claims.book(TENANT, command.claim)


async def test_hold_takes_over_a_claim_that_ran_out_unless_somebody_was_faster(stores: Repositories) -> None:
    slow, lost = alone(), alone()
    assert await stores.claims.tentative(TENANT, slow, NOTHING, past())
    assert await stores.claims.hold(TENANT, a_step(slow)) == (True, None)
    assert await stores.claims.tentative(TENANT, lost, NOTHING, past())
    faster = a_command(practitioner_id=lost.practitioner_id)
    assert await stores.claims.tentative(TENANT, faster, NOTHING, soon())
    assert await stores.claims.hold(TENANT, a_step(lost)) == (False, None)


async def test_hold_reclaims_what_ran_out_in_its_way_but_never_its_own(stores: Repositories) -> None:
    command = alone(at=60)
    words = an_intake("mine")
    assert await stores.claims.tentative(TENANT, command, words, past())
    in_the_way = a_command(practitioner_id=command.practitioner_id, at=90)
    assert await stores.claims.tentative(TENANT, in_the_way, NOTHING, past())
    longer = command.model_copy(update={"claim_end": command.claim_end + minutes(15)})
    held, sealed = await stores.claims.hold(TENANT, a_step(longer))
    assert held
    assert await opened(stores, sealed) == {"patient": None, "reason": "mine"}
    assert not await stores.claims.book(TENANT, in_the_way.claim)


async def test_words_of_another_body_do_not_reach_the_booking(stores: Repositories) -> None:
    command = alone(body_hash="one")
    assert await stores.claims.tentative(TENANT, command, an_intake("of body one"), soon())
    other = command.model_copy(update={"body_hash": "two"})
    assert await stores.claims.hold(TENANT, a_step(other)) == (True, None)
    assert await stores.claims.hold(TENANT, a_step(other)) == (True, None), "nor on a retry"
    assert "intake" not in await the_claim(stores, command)


async def test_without_a_payment_the_claim_is_booked_at_once_and_again(stores: Repositories) -> None:
    command = alone(service=a_service(0, PaymentMode.FREE))
    assert await stores.claims.tentative(TENANT, command, an_intake("for nothing"), soon())
    first = await stores.claims.hold(TENANT, a_step(command))
    assert first == await stores.claims.hold(TENANT, a_step(command))
    assert await opened(stores, first[1]) == {"patient": None, "reason": "for nothing"}
    claim = await the_claim(stores, command)
    assert (claim["kind"], claim["expires_at"]) == ("booked", None)
    elsewhen = command.model_copy(update={"start": DAY + minutes(300), "claim_start": DAY + minutes(300)})
    moved = elsewhen.model_copy(update={"end": DAY + minutes(330), "claim_end": DAY + minutes(330)})
    assert await stores.claims.hold(TENANT, a_step(moved)) == (False, None)


# book and release


async def test_book_is_final_and_repeatable(stores: Repositories, time_changed: Heard) -> None:
    command = alone()
    assert await stores.claims.tentative(TENANT, command, an_intake(), soon())
    assert (await stores.claims.hold(TENANT, a_step(command)))[0]
    del time_changed[:]
    assert await stores.claims.book(TENANT, command.claim)
    assert await stores.claims.book(TENANT, command.claim)
    assert time_changed == [command.practitioner_id] * 2
    claim = await the_claim(stores, command)
    assert (claim["kind"], claim["expires_at"], "intake" in claim) == ("booked", None, False)
    assert await stores.claims.hold(TENANT, a_step(command)) == (True, None), "a straggler changes nothing"
    assert (await the_claim(stores, command))["kind"] == "booked"


async def test_release_gives_the_time_back_once_and_again(stores: Repositories, time_changed: Heard) -> None:
    command = alone()
    assert (await stores.claims.hold(TENANT, a_step(command)))[0]
    assert await stores.claims.book(TENANT, command.claim)
    del time_changed[:]
    await stores.claims.release(TENANT, command.claim)
    await stores.claims.release(TENANT, command.claim)
    assert time_changed == [command.practitioner_id] * 2
    assert not await stores.claims.book(TENANT, command.claim)
    other = a_command(practitioner_id=command.practitioner_id)
    assert await stores.claims.tentative(TENANT, other, NOTHING, soon())


# reading


async def test_unpaid_holds_are_counted_for_one_patient(stores: Repositories) -> None:
    me = new("usr")
    commands = [alone(subject_id=me) for _ in range(4)]
    for command, expires in zip(commands, (soon(), soon(), past(), soon()), strict=True):
        assert await stores.claims.tentative(TENANT, command, NOTHING, expires)
    assert await stores.claims.tentative(TENANT, alone(), NOTHING, soon())
    assert await stores.claims.unpaid_holds(Subject(me)) == 3
    assert (await stores.claims.hold(TENANT, a_step(commands[0])))[0]
    assert await stores.claims.unpaid_holds(Subject(me)) == 3
    assert await stores.claims.book(TENANT, commands[0].claim)
    assert await stores.claims.unpaid_holds(Subject(me)) == 2
    assert await stores.claims.unpaid_holds(Subject(new("usr"))) == 0
    with pytest.raises(ValueError, match="one subject"):
        await stores.claims.unpaid_holds(TENANT)


async def test_busy_tells_live_claims_of_every_tenant_that_overlap(stores: Repositories) -> None:
    person = new("prc")
    mine = a_command(practitioner_id=person, at=0)
    theirs = a_command(practitioner_id=person, at=60, tenant_id="ten_b", clinic_id="cli_b", provider_id="prv_b")
    dead = a_command(practitioner_id=person, at=120)
    long = a_command(practitioner_id=person, at=-720, length=720)
    for command, expires in ((mine, soon()), (theirs, soon()), (dead, past()), (long, soon())):
        assert await stores.claims.tentative(Tenant(command.tenant_id), command, NOTHING, expires)
    assert await stores.claims.book(Tenant("ten_b"), theirs.claim)

    async def busy(first: float, last: float) -> list[Busy]:
        return await stores.claims.busy(Public(), person, DAY + minutes(first), DAY + minutes(last))

    spans = {one: Busy(one.claim_start, one.claim_end) for one in (mine, theirs, long)}
    assert await busy(-60, 300) == [spans[long], spans[mine], spans[theirs]]
    assert await busy(0, 300) == [spans[mine], spans[theirs]], "what ends with the beginning does not overlap"
    assert await busy(30, 60) == []
    assert await busy(-1, 1) == [spans[long], spans[mine]]
    assert await stores.claims.busy(System("test"), person, DAY, DAY + minutes(5)) == [spans[mine]]
    with pytest.raises(VisitNowError):
        await stores.claims.busy(TENANT, person, DAY, DAY + minutes(5))


# blocks and what the collection refuses


async def test_leave_blocks_time_that_is_free(stores: Repositories) -> None:
    provider = a_provider(a_clinic())
    start, end = DAY + minutes(120), DAY + minutes(480)
    key = new("blk")
    assert await stores.claims.block(TENANT, key, provider, start, end)
    assert await stores.claims.block(TENANT, key, provider, start, end), "again"
    assert not await stores.claims.block(TENANT, new("blk"), provider, end - minutes(5), end + minutes(5))
    assert await stores.claims.busy(Public(), provider.practitioner_id, DAY, end) == [Busy(start, end)]
    command = a_command(practitioner_id=provider.practitioner_id, at=150)
    assert not await stores.claims.tentative(TENANT, command, NOTHING, soon())


@pytest.mark.parametrize(
    "cells", [[], [1, 1], ["1"], [1.5], None, list(range(145))], ids=["none", "twice", "text", "half", "null", "long"]
)
async def test_no_claim_without_proper_cells_is_stored(stores: Repositories, cells: object) -> None:
    document = {
        "_id": new("apt"),
        "tenant_id": "ten_a",
        "practitioner_id": new("prc"),
        "provider_id": "prv_a",
        "kind": "hold",
        "cells": cells,
        "start": DAY,
        "end": DAY + minutes(5),
    }
    with pytest.raises(WriteError) as refused:
        await stores.database["slots"].insert_one(document)
    assert refused.value.code == 121


async def test_a_claim_longer_than_lists_look_back_is_refused(stores: Repositories) -> None:
    provider = a_provider(a_clinic())
    with pytest.raises(WriteError):
        await stores.claims.block(TENANT, new("blk"), provider, DAY, DAY + timedelta(hours=12, minutes=5))


async def test_times_off_the_grid_are_refused(stores: Repositories) -> None:
    odd = alone(claim_start=datetime(2031, 3, 3, 4, 31, tzinfo=UTC))
    with pytest.raises(ValueError, match="five minutes"):
        await stores.claims.tentative(TENANT, odd, NOTHING, soon())


async def test_nothing_of_the_words_is_readable_in_the_collection(stores: Repositories) -> None:
    command = alone()
    canary = new("canary")
    assert await stores.claims.tentative(TENANT, command, an_intake(canary), soon())
    assert canary not in str(await the_claim(stores, command))
    sealed = await stores.vault.seal(command.subject_id, DataClass.CLINICAL, {"reason": canary})
    assert canary.encode() not in bytes(sealed)
