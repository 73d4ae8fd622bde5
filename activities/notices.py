"""Steps of telling somebody about an appointment: by which channels, in which words, and how it ended.

Payloads carry ids only; each step loads what it needs and looks again whether it is still to be told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, NamedTuple

from temporalio import activity

from activities.consents import agreed
from activities.failures import in_quiet_hours, typed_failures
from activities.messaging import Delivery
from models.absence_ports import LatestOffers
from models.base import Id, Model
from models.booking import Appointment
from models.calendar import Place, appointment_calendar, entry_of
from models.channels import Reach, address_of, channels_for
from models.consents import Purpose
from models.identity import Account, Subject, Tenant
from models.ids import notice_try_id
from models.links import LinkPurpose
from models.messaging import Brand, Channel, Letter, Message, Template
from models.notice_facts import Facts, Site, language_of, link, params_of
from models.notice_kinds import KINDS, not_before, obsolete, quiet_until
from models.notice_ports import Accounts, Notices, Notifications, Texts
from models.notices import Ending, Notice, NoticeState, Plan, Skip
from models.ports import Appointments, Consents, Directory, Tenancy
from models.templates import OwnTemplate, Templates

_ENDED: Final = frozenset(NoticeState) - {NoticeState.PLANNED}
_TOLD_BY_OFFER: Final = {Template.APPOINTMENT_REMINDER: False, Template.ABSENCE_OFFER: True}
"""What is told only while the reader may choose another time, or only while they may not."""


class Try(Model):
    """One channel of a notice."""

    notice: Notice
    channel: Channel


class Prepared(Model):
    """The message of a try, ready to be delivered; or why it is not to be sent any more."""

    delivery: Delivery | None = None
    skip: Skip | None = None


class CloseNotice(Model):
    """How a notice's telling ended."""

    tenant_id: Id
    notice_id: Id
    ending: Ending


class Sources(NamedTuple):
    """Where the facts and the rules come from."""

    appointments: Appointments
    directory: Directory
    tenancy: Tenancy
    accounts: Accounts
    consents: Consents
    templates: Templates
    offers: LatestOffers


class NoticeActivities:
    """Plans, words and closes notices."""

    def __init__(
        self,
        notices: Notices,
        notifications: Notifications,
        sources: Sources,
        texts: Texts,
        *,
        configured: frozenset[Channel],
        site: Site,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`configured` are the channels that have a carrier; `site` is where links lead."""
        self._notices = notices
        self._notifications = notifications
        self._sources = sources
        self._texts = texts
        self._configured = configured
        self._site = site
        self._clock = clock

    @activity.defn(name="notices.plan")
    async def plan(self, notice: Notice) -> Plan:
        """Keep the notice and say by which channels it goes, or why it does not."""
        with typed_failures():
            record = await self._notices.open(Tenant(notice.tenant_id), notice, self._clock())
            if record.state in _ENDED:
                return Plan(skip=Skip.SUPERSEDED, ended=Ending(state=record.state, reason=record.reason))
            appointment, recipient = await self._who(notice)
            skip = await self._why_not(notice, appointment, recipient)
            if skip is not None or appointment is None or recipient is None:
                return Plan(skip=skip or Skip.GONE)
            channels = await self._channels(notice, recipient)
            hours = appointment.policy.promotional_hours
            return Plan(
                channels=channels,
                not_before=not_before(KINDS[notice.template], recipient, hours, self._clock()),
                receipt_seconds=appointment.policy.delivery_receipt_timeout_seconds,
                skip=None if channels else Skip.NO_CHANNEL,
            )

    @activity.defn(name="notices.prepare")
    async def prepare(self, step: Try) -> Prepared:
        """Word it for one channel and keep it, once; whoever objected or was erased meanwhile is left alone.

        Fails in the quiet hours that it keeps to, and is tried again at their end where it is worth that.
        """
        notice, now = step.notice, self._clock()
        with typed_failures():
            appointment, recipient = await self._who(notice)
            skip = await self._why_not(notice, appointment, recipient)
            if skip is not None or appointment is None or recipient is None:
                return Prepared(skip=skip or Skip.GONE)
            quiet = quiet_until(notice, appointment, recipient.timezone, now)
            if quiet is not None:
                if quiet >= notice.expires_at:
                    return Prepared(skip=Skip.EXPIRED)
                raise in_quiet_hours(quiet - now)
            to = address_of(recipient, step.channel)
            if to is None or step.channel not in await self._channels(notice, recipient):
                return Prepared(skip=Skip.NO_CHANNEL)
            own = await self._own(notice, recipient)
            message = self._worded(step, to, await self._facts(notice, appointment, recipient, own), own)
            await self._notifications.keep(Tenant(notice.tenant_id), message, now)
        return Prepared(
            delivery=Delivery(
                tenant_id=message.tenant_id,
                subject_id=message.subject_id,
                message_id=message.id,
                expires_at=message.expires_at,
            )
        )

    @activity.defn(name="notices.close")
    async def close(self, step: CloseNotice) -> None:
        """Note how it ended."""
        with typed_failures():
            await self._notices.close(Tenant(step.tenant_id), step.notice_id, step.ending, self._clock())

    async def still(self, message: Message) -> Skip | datetime | None:
        """Why a message that has waited is not to leave as it is worded, or until when it may not; None: it may.

        What is no notice's is not asked about.
        """
        if message.notice_id is None:
            return None
        record = await self._notices.find(Tenant(message.tenant_id), message.notice_id)
        if record is None:
            return Skip.GONE
        notice, now = record.notice, self._clock()
        appointment, recipient = await self._who(notice)
        skip = await self._why_not(notice, appointment, recipient, worded_for=message.start)
        if skip is not None or appointment is None or recipient is None:
            return skip or Skip.GONE
        return quiet_until(notice, appointment, recipient.timezone, now)

    async def _who(self, notice: Notice) -> tuple[Appointment | None, Account | None]:
        appointments, accounts = self._sources.appointments, self._sources.accounts
        return await asyncio.gather(
            appointments.find(Tenant(notice.tenant_id), notice.appointment_id, open_sealed=False),
            accounts.find(Subject(notice.recipient_id), notice.recipient_id),
        )

    async def _why_not(
        self,
        notice: Notice,
        appointment: Appointment | None,
        recipient: Account | None,
        *,
        worded_for: datetime | None = None,
    ) -> Skip | None:
        if appointment is None or recipient is None or recipient.removed_at is not None:
            return Skip.GONE
        skip = obsolete(notice, appointment, self._clock(), worded_for=worded_for)
        if skip is None and notice.template in _TOLD_BY_OFFER:
            chooses = await self._chooses(appointment)
            skip = None if chooses is _TOLD_BY_OFFER[notice.template] else Skip.SUPERSEDED
        if skip is None and not await self._agrees(recipient, KINDS[notice.template].purpose, appointment.dependant_id):
            return Skip.NO_CONSENT
        return skip

    async def _chooses(self, appointment: Appointment) -> bool:
        """Whether the doctor is away at the visit's time, and other times are offered."""
        offer = await self._sources.offers.latest(Tenant(appointment.tenant_id), appointment.id)
        return offer is not None and offer.is_open_at(appointment.start)

    async def _agrees(self, recipient: Account, purpose: Purpose, dependant_id: str | None = None) -> bool:
        """Whether they may be told, of a dependant's visit where that is given; who works here needs it for work."""
        if not recipient.is_patient:
            return purpose is not Purpose.PROMOTION
        return await agreed(self._sources.consents, recipient.id, dependant_id, purpose)

    async def _channels(self, notice: Notice, recipient: Account) -> tuple[Channel, ...]:
        own = await self._own(notice, recipient)
        approved = own is not None and own.registered.content_sid is not None
        whatsapp = approved and Channel.WHATSAPP in self._configured and await self._agrees(recipient, Purpose.WHATSAPP)
        return channels_for(
            Reach(recipient, self._configured, whatsapp=whatsapp, preferred=recipient.preferred_channel)
        )

    async def _own(self, notice: Notice, recipient: Account) -> OwnTemplate | None:
        """The clinic's own words: in the reader's language, else in the one that everybody's words would be in."""
        tenant, templates = Tenant(notice.tenant_id), self._sources.templates
        for language in dict.fromkeys((language_of(recipient.locale), self._texts.language(recipient.locale))):
            found = await templates.newest(tenant, notice.tenant_id, notice.template, language)
            if found is not None:
                return found
        return None

    async def _facts(
        self, notice: Notice, appointment: Appointment, recipient: Account, own: OwnTemplate | None
    ) -> Facts:
        tenant, directory = Tenant(notice.tenant_id), self._sources.directory
        clinics, profiles, settings = await asyncio.gather(
            directory.clinics(tenant, [appointment.clinic_id]),
            directory.profiles(tenant, [appointment.provider_id]),
            self._sources.tenancy.settings(tenant, notice.tenant_id),
        )
        return Facts(
            notice=notice,
            appointment=appointment,
            clinic=clinics[appointment.clinic_id],
            provider=profiles[appointment.provider_id],
            settings=settings.settings,
            recipient=recipient,
            language=own.language if own else self._texts.language(recipient.locale),
            site=self._site,
            now=self._clock(),
        )

    def _worded(self, step: Try, to: str, facts: Facts, own: OwnTemplate | None) -> Message:
        notice = step.notice
        message = Message(
            id=notice_try_id(notice.id, step.channel),
            tenant_id=notice.tenant_id,
            subject_id=notice.recipient_id,
            channel=step.channel,
            to=to,
            template=notice.template,
            params=params_of(facts, KINDS[notice.template].variables),
            locale=facts.language,
            expires_at=notice.expires_at,
            notice_id=notice.id,
            appointment_id=notice.appointment_id,
            start=facts.appointment.start,
        )
        letter = self._texts.letter(message, own)
        if step.channel is Channel.EMAIL:
            letter = self._mailed(letter, facts, to)
        return message.model_copy(update={"words": letter})

    def _mailed(self, letter: Letter, facts: Facts, to: str) -> Letter:
        """What only an e-mail has."""
        kind, branding = KINDS[facts.notice.template], facts.settings.branding
        name = branding.display_name or facts.clinic.name
        brand = Brand(name=name, color=branding.color, logo_url=branding.logo_url)
        place = Place(facts.clinic.slug, facts.clinic.name, facts.clinic.address)
        entry = entry_of(facts.appointment, place, facts.provider.name, self._site.public_url, to)
        unasked = kind.purpose is not Purpose.CARE
        return letter.model_copy(
            update={
                "html": self._texts.html(letter.text, brand, facts.language),
                "calendar": appointment_calendar(entry).decode() if kind.calendar else None,
                "unsubscribe": f"{link(facts, LinkPurpose.UNSUBSCRIBE)}/unsubscribe" if unasked else None,
                "sender": name,
            }
        )
