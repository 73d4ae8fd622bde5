"""A doctor's absence, step by step: who is affected, telling them, settling what is due, counting.

Each step does a bounded piece, and repeating it changes nothing: what is told or settled is noted for each visit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from temporalio import activity

from activities.failures import typed_failures
from models.absence import OPEN, Offer, OfferState, OfferTally, offer_for, offer_id, outcome
from models.absence_ports import Bookings, Counted, Offers
from models.base import Model, UtcDatetime
from models.errors import Code, UnavailableError, VisitNowError
from models.identity import Tenant
from models.messaging import Template
from models.notice_ports import Notifier
from models.notices import Notice
from models.ports import Appointments
from models.publishing import STANDING, Leave, LeaveRef
from models.publishing_ports import Leaves, Publications

PAGE: Final = 20
"""How many are told or settled in one step."""
AT_ONCE: Final = 4
"""How many of them at the same time."""
POSTPONED: Final = timedelta(seconds=30)
"""One that cannot be settled now waits so long and keeps nobody else waiting."""


class Found(Model):
    """Who is affected: whether the leave still stands, and whether somebody's booking is not certain yet."""

    away: bool
    unsure: bool = False


class Page(Model):
    """One step's piece: whether there is more at once, and when the next is due if there is none."""

    more: bool
    next_due: UtcDatetime | None = None


class Books(NamedTuple):
    """The stores that are read and written."""

    leaves: Leaves
    counted: Counted
    publications: Publications
    appointments: Appointments
    offers: Offers


class AbsenceActivities:
    """Finds, tells, settles and counts; every booking is commanded through its own workflow."""

    def __init__(
        self,
        books: Books,
        bookings: Bookings,
        notifier: Notifier,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """The stores, the way to the bookings' workflows, and who tells the patients."""
        self._leaves, self._counted, self._publications, self._appointments, self._offers = books
        self._bookings = bookings
        self._notifier = notifier
        self._clock = clock

    @activity.defn(name="absence.find")
    async def find(self, ref: LeaveRef) -> Found:
        """Open an offer for each certain visit within the leave that has none and was not given by hand since."""
        scope, now = Tenant(ref.tenant_id), self._clock()
        with typed_failures():
            leave = await self._standing(ref)
            if leave is None:
                return Found(away=False)
            provider = (await self._publications.find(scope, leave.provider_id)).provider
            visits = await self._offers.within(scope, provider, leave.start, leave.end)
            visits = [one for one in visits if not one.is_exempt(leave.created_at)]
            certain = [one for one in visits if not one.is_unsure(leave.created_at, now)]
            known = await self._offers.known(scope, [offer_id(leave.id, one.id) for one in certain])
            new = [offer for one in certain if (offer := offer_for(leave.id, one, now)).id not in known]
            await self._offers.add(scope, new, now)
        return Found(away=True, unsure=len(certain) < len(visits))

    @activity.defn(name="absence.tell")
    async def tell(self, ref: LeaveRef) -> Page:
        """Tell some of those who were not told yet; nobody is, once the leave has ended."""
        scope = Tenant(ref.tenant_id)
        with typed_failures():
            away = await self._standing(ref) is not None
            page = await self._offers.untold(scope, ref.leave_id, PAGE)
            await self._each(page, lambda offer: self._tell(offer, away=away))
        return Page(more=len(page) == PAGE)

    async def _tell(self, offer: Offer, *, away: bool) -> None:
        scope = Tenant(offer.tenant_id)
        if not away:
            await self._offers.advance(scope, offer, OfferState.KEPT, self._clock(), [OfferState.NEW])
            return
        await self._notifier.notify(_notice(offer, Template.ABSENCE_OFFER, offer.deadline))
        await self._offers.advance(scope, offer, OfferState.OFFERED, self._clock(), [OfferState.NEW])

    @activity.defn(name="absence.settle")
    async def settle(self, ref: LeaveRef) -> Page:
        """Settle some of the offers whose deadline has passed; all of them, once the leave has ended."""
        scope, now = Tenant(ref.tenant_id), self._clock()
        with typed_failures():
            away = await self._standing(ref) is not None
            waiting = await self._offers.due(scope, ref.leave_id, now if away else None, PAGE)
            await self._each(waiting.offers, self._settle)
        return Page(more=len(waiting.offers) == PAGE, next_due=waiting.next_due)

    async def _settle(self, offer: Offer) -> None:
        """End one offer; where nothing answers it waits, and the others go on."""
        try:
            ended = await self._ended(offer)
        except (UnavailableError, VisitNowError) as error:
            activity.logger.warning("an offer is settled later: %s", type(error).__name__)
            await self._offers.postpone(Tenant(offer.tenant_id), offer, self._clock() + POSTPONED)
            return
        if ended is OfferState.KEPT and offer.start > self._clock():
            await self._notifier.notify(_notice(offer, Template.ABSENCE_OVER, offer.start))
        await self._offers.advance(Tenant(offer.tenant_id), offer, ended, self._clock(), sorted(OPEN))

    async def _ended(self, offer: Offer) -> OfferState:
        """How it ends. The leave is looked at for each, so that ending it stops what has not happened yet."""
        ended = await self._outcome(offer)
        if ended not in {None, OfferState.CANCELLED}:
            return ended
        # Also what was cancelled is: a booking may not remember that, and give its money back only when asked again.
        try:
            cancelled = await self._bookings.cancel_by_clinic(offer.appointment_id, offer.leave_id, offer.start)
        except VisitNowError as error:
            if error.code is not Code.STATE_CONFLICT:
                raise
            # Its workflow is over, so nothing will become of it by itself.
            return await self._outcome(offer) or OfferState.UNDECIDED
        if not cancelled.conflict:
            return OfferState.CANCELLED
        # Somebody was faster: a patient who chose, or one who cancelled.
        ended = await self._outcome(offer)
        if ended is None:
            msg = "the booking does not say what became of it yet"
            raise UnavailableError(msg)
        return ended

    async def _outcome(self, offer: Offer) -> OfferState | None:
        scope = Tenant(offer.tenant_id)
        ref = LeaveRef(tenant_id=offer.tenant_id, leave_id=offer.leave_id)
        away = await self._standing(ref) is not None
        appointment = await self._appointments.find(scope, offer.appointment_id, open_sealed=False)
        return outcome(offer, appointment, away=away)

    @activity.defn(name="absence.count")
    async def count(self, ref: LeaveRef) -> OfferTally:
        """Count how many offers stand where, and show it with the leave."""
        scope = Tenant(ref.tenant_id)
        with typed_failures():
            tally = await self._offers.tally(scope, ref.leave_id)
            await self._counted.count(scope, ref.leave_id, tally)
        return tally

    async def _standing(self, ref: LeaveRef) -> Leave | None:
        leave = await self._leaves.find(Tenant(ref.tenant_id), ref.leave_id)
        return leave if leave is not None and leave.state in STANDING else None

    async def _each(self, offers: Sequence[Offer], work: Callable[[Offer], Awaitable[None]]) -> None:
        places = asyncio.Semaphore(AT_ONCE)

        async def one(offer: Offer) -> None:
            async with places:
                await work(offer)
            activity.heartbeat()

        for failed in await asyncio.gather(*(one(offer) for offer in offers), return_exceptions=True):
            if failed is not None:
                raise failed


def _notice(offer: Offer, template: Template, expires_at: datetime) -> Notice:
    return Notice(
        tenant_id=offer.tenant_id,
        appointment_id=offer.appointment_id,
        recipient_id=offer.subject_id,
        template=template,
        occurrence=offer.leave_id,
        expires_at=expires_at,
    )
