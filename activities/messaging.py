"""Steps of a message's delivery: at least once, and never knowingly twice."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from temporalio import activity

from activities.failures import QUIET_HOURS, in_quiet_hours, typed_failures
from models.base import Id, Model, UtcDatetime
from models.deletions_ports import Leaves
from models.errors import DeliveryError
from models.identity import Subject, Tenant
from models.messaging import TOLD_WHO_LEAVE, Begun, Channel, Letter, Message, MessageState, Word, reader
from models.notice_ports import Carrier, Notifications, Texts
from models.notices import Skip
from models.stops import UNSUBSCRIBED, Stops

ERASED = "erased"
LEAVING = "leaving"
"""Why whoever is to be forgotten was not written to."""

FRESH: Final = timedelta(seconds=10)
"""Whether words are still true was looked at when they were kept: for so long that counts, for the first try.

Nothing that happens within it is told any later than it would be to somebody whom the message has reached already;
so whatever goes out at once, which is nearly everything, costs no second look.
"""

Still = Callable[[Message], Awaitable[Skip | datetime | None]]
"""Why a message that has waited is not to leave as it is worded, or until when it may not; None: it may."""


class Delivery(Model):
    """Which message is to be delivered, and until when it is worth that; nothing of what it says."""

    tenant_id: Id
    subject_id: Id
    message_id: Id
    expires_at: UtcDatetime


class MessagingActivities:
    """Loads what was kept, words it, hands it over and notes what became of it."""

    def __init__(
        self,
        notifications: Notifications,
        texts: Texts,
        carrier: Carrier,
        stops: Stops,
        *,
        senders: Mapping[Channel, str],
        leaves: Leaves,
        still: Still,
    ) -> None:
        """Where messages are kept, what they say, who takes them, and who wants none from which sender.

        `leaves` tells whether somebody is to be forgotten, `still` whether what was worded is to be told yet.
        """
        self._notifications = notifications
        self._texts = texts
        self._carrier = carrier
        self._stops = stops
        self._senders = senders
        self._leaves = leaves
        self._still = still

    @activity.defn(name="messaging.deliver")
    async def deliver(self, delivery: Delivery) -> MessageState:
        """Send it, unless it was sent, has failed, has expired or is not true any more; the state as it then is.

        Fails, and may be tried again, where the carrier does not take it now or nobody knows whether it did. A try
        after the latter looks first whether the carrier has it; the carrier may still take it between the two. What
        has waited into its reader's quiet hours, and keeps to them, is tried again at their end.
        """
        scope = Tenant(delivery.tenant_id)
        with typed_failures():
            begun = await self._notifications.begin(scope, delivery.message_id, datetime.now(UTC))
            if begun is None:
                return await self._ended(delivery)
            if begun.message is None:
                return await self._settle(delivery, Word(state=MessageState.FAILED, error_code=ERASED))
            if begun.message.template not in TOLD_WHO_LEAVE and await self._leaves(
                Subject(delivery.subject_id), delivery.subject_id
            ):
                return await self._settle(delivery, Word(state=MessageState.FAILED, error_code=LEAVING))
            return await self._settle(delivery, await self._hand_over(delivery, begun.message, begun))

    @activity.defn(name="messaging.give_up")
    async def give_up(self, delivery: Delivery) -> MessageState:
        """Note that nobody tries any more."""
        with typed_failures():
            return await self._settle(delivery, Word(state=MessageState.EXPIRED))

    @activity.defn(name="messaging.standing")
    async def standing(self, delivery: Delivery) -> MessageState:
        """How far it is, as far as we were told."""
        with typed_failures():
            state = await self._notifications.state(Tenant(delivery.tenant_id), delivery.message_id)
            return state or MessageState.FAILED

    @activity.defn(name="messaging.look")
    async def look(self, delivery: Delivery) -> MessageState:
        """How far it is, as the carrier says; fails, and may be tried again, where the carrier does not answer."""
        scope = Tenant(delivery.tenant_id)
        with typed_failures():
            standing = await self._notifications.standing(scope, delivery.message_id)
            if standing is None:
                return MessageState.FAILED
            word = None
            if standing.state is MessageState.SENT and standing.provider_id and standing.message:
                word = await self._carrier.fetch(standing.message, standing.provider_id)
            elif standing.unsettled_since is not None and standing.message:
                letter = self._letter(standing.message)
                word = await self._carrier.find(standing.message, letter, standing.unsettled_since)
            return standing.state if word is None else await self._settle(delivery, word)

    def _letter(self, message: Message) -> Letter:
        return message.words or self._texts.letter(message)

    async def _hand_over(self, delivery: Delivery, message: Message, begun: Begun) -> Word:
        letter = self._letter(message)
        if begun.unsettled_since is not None:
            found = await self._carrier.find(message, letter, begun.unsettled_since)
            if found is not None:
                return found
        if begun.tried or datetime.now(UTC) - begun.kept_at > FRESH:
            worthless = await self._looked_again(message, begun)
            if worthless is not None:
                return worthless
        sender = self._senders.get(message.channel)
        # Asked last of all: whoever stops us while a message waits gets none.
        if sender is not None and await self._stops.stopped(sender, reader(message)):
            return Word(state=MessageState.FAILED, error_code=UNSUBSCRIBED)
        try:
            return await self._carrier.send(message, letter)
        except DeliveryError as error:
            if error.code == UNSUBSCRIBED and sender is not None:
                # The provider has heard what we have not.
                await self._stops.note(
                    sender, reader(message), stopped=True, reply_id=f"refused:{message.id}", at=datetime.now(UTC)
                )
            if error.permanent:
                return Word(state=MessageState.FAILED, error_code=error.code)
            await self._notifications.not_taken(Tenant(delivery.tenant_id), message.id, datetime.now(UTC))
            raise

    async def _looked_again(self, message: Message, begun: Begun) -> Word | None:
        """What becomes of a message that has waited and is not to be told any more; None where it is.

        It expires rather than fails: a try whose answer was lost may have arrived after all.
        """
        still = await self._still(message)
        if still is None:
            return None
        if isinstance(still, Skip):
            return Word(state=MessageState.EXPIRED, error_code=still)
        if still >= message.expires_at:
            return Word(state=MessageState.EXPIRED, error_code=QUIET_HOURS)
        now = datetime.now(UTC)
        if begun.unsettled_since is None:
            await self._notifications.not_taken(Tenant(message.tenant_id), message.id, now)
        raise in_quiet_hours(max(still - now, timedelta()))

    async def _ended(self, delivery: Delivery) -> MessageState:
        state = await self._notifications.state(Tenant(delivery.tenant_id), delivery.message_id)
        if state is not MessageState.QUEUED:
            # One that is not there any more was erased with its reader.
            return state or MessageState.FAILED
        # Its time is over; whether its last try went out may still be known.
        state = await self.look(delivery)
        if state is not MessageState.QUEUED:
            return state
        return await self._settle(delivery, Word(state=MessageState.EXPIRED))

    async def _settle(self, delivery: Delivery, word: Word) -> MessageState:
        scope = Tenant(delivery.tenant_id)
        state = await self._notifications.settle(scope, delivery.message_id, word, datetime.now(UTC))
        return state or MessageState.FAILED
