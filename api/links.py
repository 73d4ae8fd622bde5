"""What a link in a message opens: one visit for one patient, without signing in.

Whoever holds the link is taken for the patient, for this one appointment and for what the link is about; everything
that the patient could not do, or not any more, is refused as if they had signed in. Where the doctor is away, whichever
link they hold lets them choose another time or have all of their money back.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import groupby
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from api.free_times import FreeTimes, Question
from api.presenter import Presenter
from api.schemas.links import LinkAction, LinkedVisitView
from api.schemas.providers import SlotList
from models.absence import Offer
from models.booking import Appointment, AppointmentState, actor_of
from models.booking_view import WHOLE, Action
from models.deletions_ports import Leaves
from models.errors import Code, VisitNowError, not_found
from models.identity import PLATFORM, Principal, Role, Subject
from models.links import Link, LinkPurpose, read_link
from models.ports import Appointments
from models.reminder_ports import Readers, Reminders
from models.reminders import is_attending
from workflows.gateway import AbsenceGateway, Move, WorkflowGateway

TIMES: Final = 20
TIMES_OF_A_DAY: Final = 4
TIMES_WITHIN: Final = timedelta(days=14)
"""So many free times are offered: some of each day, from its morning to its evening."""

_AWAY: Final = [LinkAction.RESCHEDULE, LinkAction.CANCEL]
REASON: Final = "By the link in a message"
_SESSION: Final = "link"


class Opened(NamedTuple):
    """A link that is good, and what it opens."""

    link: Link
    holder: Principal
    appointment: Appointment
    offer: Offer | None
    """What is offered while the doctor is away at the visit's time."""


class LinkSources(NamedTuple):
    """What is read of a visit and its patient; whoever `leaves` opens nothing any more."""

    appointments: Appointments
    reminders: Reminders
    readers: Readers
    leaves: Leaves


class VisitLinks:
    """Opens links and does what their holders ask."""

    def __init__(
        self,
        sources: LinkSources,
        gateway: WorkflowGateway,
        presenter: Presenter,
        *,
        absence: AbsenceGateway,
        free_times: FreeTimes,
        secret: bytes,
    ) -> None:
        """`secret` is what links were signed with."""
        self._appointments, self._reminders, self._readers, self._leaves = sources
        self._gateway = gateway
        self._presenter = presenter
        self._absence = absence
        self._free_times = free_times
        self._secret = secret

    async def open(self, token: str) -> Opened:
        """What a token opens. Raises `not_found` for what is no link of ours, `link_spent` for one that is over."""
        try:
            link = self._read(token, datetime.now(UTC))
        except VisitNowError as error:
            over = error.code is Code.TOKEN_EXPIRED
            raise (VisitNowError(Code.LINK_SPENT) if over else not_found()) from error
        if await self._leaves(Subject(link.subject_id), link.subject_id) is not None:
            raise VisitNowError(Code.LINK_SPENT)
        holder = Principal(
            subject=link.subject_id, tenant_id=PLATFORM, roles=frozenset({Role.PATIENT}), session_id=_SESSION
        )
        appointment = await self._appointments.find(Subject(link.subject_id), link.appointment_id, open_sealed=False)
        if appointment is None:
            raise not_found()
        return Opened(link, holder, appointment, await self._absence.open_offer(appointment))

    def _read(self, token: str, now: datetime) -> Link:
        try:
            return read_link(self._secret, LinkPurpose.ATTEND, token, now)
        except VisitNowError as error:
            if error.code is not Code.TOKEN_INVALID:
                raise
        return read_link(self._secret, LinkPurpose.CHOOSE, token, now)

    async def locale(self, opened: Opened) -> str | None:
        """The language that the patient reads; None where they are not known any more."""
        reader = await self._readers.reader(Subject(opened.link.subject_id), opened.link.subject_id)
        return None if reader is None else reader.locale

    async def view(self, opened: Opened) -> LinkedVisitView:
        """The visit as it stands; looking at it changes nothing, since mail scanners do too."""
        now = datetime.now(UTC)
        seen = await self._presenter.one(opened.appointment, opened.holder)
        away = opened.offer is not None
        offers = _AWAY if away else _offers(opened.appointment, seen.actions, now)
        return LinkedVisitView(
            reference=seen.reference,
            state=seen.state,
            attending=is_attending(opened.appointment.history),
            provider=seen.provider,
            clinic=seen.clinic,
            service=seen.service.name,
            start=seen.start,
            end=seen.end,
            timezone=seen.timezone,
            actions=offers,
            is_paid=opened.appointment.captured > 0,
            refund_percent_now=WHOLE if away else seen.policy.refund_percent_now,
            times=await self._times(opened, now) if LinkAction.RESCHEDULE in offers else [],
            choose_until=None if opened.offer is None else opened.offer.deadline,
            expires_at=opened.link.expires_at,
        )

    async def confirm(self, opened: Opened) -> None:
        """Note that the patient comes; once for each time that the visit has. Raises `state_conflict`."""
        appointment, holder, now = opened.appointment, opened.holder, datetime.now(UTC)
        noted = now < appointment.start and await self._reminders.note_attendance(
            Subject(holder.subject), appointment.id, appointment.start, now, actor_of(holder.subject, holder.roles)
        )
        if not noted:
            raise VisitNowError(Code.STATE_CONFLICT)

    async def cancel(self, opened: Opened) -> None:
        """Cancel by the policy; as the clinic, where the doctor is away. Raises `state_conflict` and `unavailable`."""
        if opened.offer is not None:
            await self._absence.give_back(opened.offer)
            return
        await self._gateway.cancel(opened.holder, opened.appointment.id, REASON)

    async def reschedule(self, opened: Opened, start: datetime) -> None:
        """Move the visit. Raises what moving it by oneself does."""
        if opened.offer is not None:
            await self._absence.choose(opened.offer, start)
            return
        await self._gateway.visits.reschedule(Move.by(opened.holder, opened.appointment.id, start))

    async def _times(self, opened: Opened, now: datetime) -> list[datetime]:
        appointment, zone = opened.appointment, ZoneInfo(opened.appointment.timezone)
        times = await self._free(appointment, now.astimezone(zone).date())
        if not times and opened.offer is not None:
            # A long leave leaves nothing in the next days.
            times = await self._free(appointment, appointment.start.astimezone(zone).date() + TIMES_WITHIN)
        return times

    async def _free(self, appointment: Appointment, first: date) -> list[datetime]:
        question = Question(appointment.provider_id, appointment.service.id, first, first + TIMES_WITHIN)
        try:
            listed = SlotList.model_validate_json(await self._free_times.listed(question))
        except VisitNowError as error:
            # The profile is not live, or the service is gone: then there is nothing to choose from.
            if error.code is not Code.NOT_FOUND:
                raise
            return []
        free = [one.start for one in listed.items if one.start != appointment.start]
        return some_of_each_day(free, ZoneInfo(appointment.timezone))[:TIMES]


def some_of_each_day(free: Sequence[datetime], zone: ZoneInfo) -> list[datetime]:
    """Of ascending times a few of each day, spread over it; the day's first is always among them."""
    days = [list(times) for _, times in groupby(free, key=lambda start: start.astimezone(zone).date())]
    return [one for times in days for one in times[:: -(-len(times) // TIMES_OF_A_DAY)]]


def _offers(appointment: Appointment, may: list[Action], now: datetime) -> list[LinkAction]:
    if appointment.state is not AppointmentState.CONFIRMED or now >= appointment.start:
        return []
    attending = is_attending(appointment.history)
    return [
        *([] if attending else [LinkAction.CONFIRM]),
        *([LinkAction.RESCHEDULE] if Action.RESCHEDULE in may else []),
        *([LinkAction.CANCEL] if Action.CANCEL in may else []),
    ]
