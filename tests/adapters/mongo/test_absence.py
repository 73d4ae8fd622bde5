"""The offers of a leave: kept once each, found by urgency, ended once."""

from __future__ import annotations

import asyncio
from datetime import datetime

from adapters.mongo.repositories import Repositories
from models.absence import OPEN, Offer, OfferState, OfferTally, offer_for
from models.booking import Actor, ActorKind, EventType, VisitTime
from models.identity import Tenant
from models.publishing import Leave, LeaveState, LeaveTally
from tests.adapters.mongo.builders import (
    DAY,
    a_clinic,
    a_command,
    a_confirmation,
    a_provider,
    a_step,
    an_advance,
    minutes,
    new,
)

NOW = DAY - minutes(3 * 24 * 60)


def an_offer(leave: str, tenant: Tenant, deadline: datetime, **changes: object) -> Offer:
    fields: dict[str, object] = {
        "id": f"{leave}:{new('apt')}",
        "tenant_id": tenant.tenant_id,
        "clinic_id": "cli_a",
        "provider_id": "prv_a",
        "subject_id": new("usr"),
        "leave_id": leave,
        "start": DAY,
        "deadline": deadline,
    }
    return Offer.model_validate({"appointment_id": str(fields["id"]).partition(":")[2], **fields, **changes})


async def test_visits_within_a_leave_are_found_with_their_buffers(stores: Repositories) -> None:
    clinic = a_clinic(tenant_id=new("ten"))
    provider, tenant = a_provider(clinic), Tenant(clinic.tenant_id)
    owner: dict[str, object] = {
        "tenant_id": clinic.tenant_id, "clinic_id": clinic.id, "provider_id": provider.id,
        "practitioner_id": provider.practitioner_id,
    }  # fmt: skip
    placed = [a_command(60 * number, 30, **owner) for number in range(5)]
    for command in placed:
        await stores.appointments.insert(tenant, a_step(command), None)
    for command in placed[:2]:
        assert (await stores.appointments.advance(tenant, a_confirmation(command))).applied
    found = await stores.offers.within(tenant, provider, DAY + minutes(29), DAY + minutes(121))
    assert [(one.id, one.state) for one in found] == [
        (placed[0].appointment_id, "confirmed"), (placed[1].appointment_id, "confirmed"),
        (placed[2].appointment_id, "held"),
    ]  # fmt: skip
    assert found[0].subject_id == placed[0].subject_id
    offers = [offer_for("lve_a", one, NOW) for one in found]
    await stores.offers.add(tenant, offers[:2], NOW)
    assert await stores.offers.known(tenant, [one.id for one in offers]) == {one.id for one in offers[:2]}


async def test_a_visit_tells_who_gave_it_its_time_and_whether_by_hand(stores: Repositories) -> None:
    clinic = a_clinic(tenant_id=new("ten"))
    provider, tenant = a_provider(clinic), Tenant(clinic.tenant_id)
    command = a_command(
        tenant_id=clinic.tenant_id, clinic_id=clinic.id, provider_id=provider.id,
        practitioner_id=provider.practitioner_id,
    )  # fmt: skip
    step = a_step(command)
    await stores.appointments.insert(tenant, step, None)
    [placed] = await stores.offers.within(tenant, provider, DAY, DAY + minutes(30))
    assert placed.given_at is not None
    assert abs(placed.given_at - step.at) < minutes(0.001)
    assert (placed.given_by, placed.by_hand) == (ActorKind.PATIENT, False)
    start, end = DAY + minutes(60), DAY + minutes(90)
    time = VisitTime(start=start, end=end, claim_start=start, claim_end=end)
    clinic_s = Actor(kind=ActorKind.CLINIC, id="usr_desk")
    changes: dict[str, object] = {"moved_to": time, "closes_at": end, "actor": clinic_s, "at": NOW}
    assert (await stores.appointments.advance(tenant, a_confirmation(command))).applied
    assert (
        await stores.appointments.advance(tenant, an_advance(command, EventType.RESCHEDULED, None, **changes))
    ).applied
    await stores.appointments.note_override(tenant, command.appointment_id, "the doctor comes for it")
    [moved] = await stores.offers.within(tenant, provider, start, end)
    assert (moved.given_by, moved.given_at, moved.by_hand) == (ActorKind.CLINIC, NOW, True)


async def test_an_offer_is_kept_once_and_ends_once(stores: Repositories) -> None:
    tenant, leave = Tenant(new("ten")), new("lve")
    offers = [an_offer(leave, tenant, NOW + minutes(number)) for number in range(3)]
    await asyncio.gather(*(stores.offers.add(tenant, offers, NOW) for _ in range(4)))
    assert await stores.offers.untold(tenant, leave, 2) == offers[:2]
    told = [stores.offers.advance(tenant, offers[0], OfferState.OFFERED, NOW, [OfferState.NEW]) for _ in range(4)]
    assert sorted(await asyncio.gather(*told)) == [False, False, False, True]
    await stores.offers.add(tenant, offers, NOW)
    ends = [OfferState.REBOOKED, OfferState.CANCELLED, OfferState.KEPT]
    ended = await asyncio.gather(
        *(stores.offers.advance(tenant, offers[0], end, NOW, sorted(OPEN)) for end in ends for _ in range(2))
    )
    assert sorted(ended) == [False] * 5 + [True]
    tally = await stores.offers.tally(tenant, leave)
    assert (tally.offered, tally.rebooked + tally.cancelled + tally.kept) == (2, 1)


async def test_the_most_urgent_come_first_and_what_waits_lets_others_pass(stores: Repositories) -> None:
    tenant, leave = Tenant(new("ten")), new("lve")
    offers = [an_offer(leave, tenant, NOW + minutes(number)) for number in range(5)]
    await stores.offers.add(tenant, list(reversed(offers)), NOW)
    for offer in offers:
        assert await stores.offers.advance(tenant, offer, OfferState.OFFERED, NOW, [OfferState.NEW])
    waiting = await stores.offers.due(tenant, leave, NOW + minutes(2), 10)
    assert [one.id for one in waiting.offers] == [one.id for one in offers[:3]]
    assert waiting.next_due == NOW + minutes(3)
    await stores.offers.postpone(tenant, offers[0], NOW + minutes(2.5))
    waiting = await stores.offers.due(tenant, leave, NOW + minutes(2), 10)
    assert [one.id for one in waiting.offers] == [one.id for one in offers[1:3]]
    assert waiting.next_due == NOW + minutes(2.5)
    assert waiting.offers[0].deadline == offers[1].deadline
    everything = await stores.offers.due(tenant, leave, None, 10)
    assert (len(everything.offers), everything.next_due) == (5, None)
    assert await stores.offers.tally(Tenant(new("ten")), leave) == OfferTally()


async def test_the_newest_offer_for_a_visit_counts(stores: Repositories) -> None:
    tenant, visit = Tenant(new("ten")), new("apt")
    first, second = (
        an_offer(leave, tenant, NOW, id=f"{leave}:{visit}", appointment_id=visit) for leave in (new("lve"), new("lve"))
    )
    await stores.offers.add(tenant, [first], NOW)
    await stores.offers.add(tenant, [second], NOW + minutes(1))
    assert await stores.offers.latest(tenant, visit) == second
    assert await stores.offers.latest(tenant, new("apt")) is None


async def test_a_leave_shows_how_its_offers_stand(stores: Repositories) -> None:
    tenant = Tenant(new("ten"))
    leave = Leave(
        id=new("lve"), tenant_id=tenant.tenant_id, clinic_id="cli_a", provider_id="prv_a", practitioner_id="prc_a",
        start=DAY, end=DAY + minutes(60), body_hash="0", created_at=NOW,
    )  # fmt: skip
    await stores.leaves.insert(tenant, leave, None)
    await stores.leaves.count(tenant, leave.id, OfferTally(offered=3))
    await stores.leaves.advance(tenant, leave, LeaveState.TAKEN, LeaveTally(appointments=3, blocks=1))
    found = await stores.leaves.find(tenant, leave.id)
    assert found is not None
    assert found.tally == LeaveTally(appointments=3, blocks=1, offers=OfferTally(offered=3))
