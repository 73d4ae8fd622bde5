"""Every method of the offers that follow from a leave, called on one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from adapters.mongo.repositories import Repositories
from models.absence import OfferState, OfferTally, Within, offer_for
from models.absence_ports import Waiting
from models.booking import AppointmentState, PlaceBooking
from models.identity import Scope
from models.providers import Provider
from models.publishing import Leave
from tests.adapters.mongo.builders import DAY, minutes


def on_records(
    stores: Repositories, leave: Leave, provider: Provider, appointment: PlaceBooking
) -> dict[str, Callable[[Scope], Awaitable[object]]]:
    """Methods on what belongs to a tenant, clinic, provider and patient."""
    offers = stores.offers
    fields = {
        **appointment.model_dump(include=set(Within.model_fields)),
        "id": appointment.appointment_id,
        "state": AppointmentState.CONFIRMED,
    }
    offer = offer_for(leave.id, Within.model_validate(fields), DAY)
    return {
        "offers.add": lambda scope: offers.add(scope, [offer], DAY),
        "offers.within": lambda scope: offers.within(scope, provider, DAY, DAY + minutes(600)),
        "offers.known": lambda scope: offers.known(scope, [offer.id]),
        "offers.untold": lambda scope: offers.untold(scope, leave.id, 5),
        "offers.advance": lambda scope: offers.advance(scope, offer, OfferState.OFFERED, DAY, [OfferState.NEW]),
        "offers.postpone": lambda scope: offers.postpone(scope, offer, DAY),
        "offers.due": lambda scope: _listed(offers.due(scope, leave.id, DAY, 5)),
        "offers.due (all)": lambda scope: _listed(offers.due(scope, leave.id, None, 5)),
        "offers.latest": lambda scope: offers.latest(scope, offer.appointment_id),
        "offers.tally": lambda scope: _counted(offers.tally(scope, leave.id)),
        "leaves.count": lambda scope: stores.leaves.count(scope, leave.id, OfferTally(offered=1)),
    }


async def _listed(waiting: Awaitable[Waiting]) -> object:
    return (await waiting).offers


async def _counted(tally: Awaitable[OfferTally]) -> object:
    return sum(count for _, count in await tally)
