"""Which carrier takes which channel, as the settings say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Final

from adapters.settings import Settings
from adapters.smtp import SmtpCarrier
from adapters.twilio import TwilioCarrier, written
from models.erasure_ports import Redactor
from models.errors import DeliveryError
from models.messaging import Channel, Letter, Message, Word
from models.notice_ports import Carrier

CALLBACK_PATH: Final = "/v1/webhooks/twilio/status"


class CarrierByChannel:
    """Implements `models.notice_ports.Carrier` over others; a channel that has none takes nothing for now."""

    def __init__(self, carriers: Mapping[Channel, Carrier], texts: TwilioCarrier | None = None) -> None:
        """The carrier of each channel that is configured, and the one of them that keeps what it has carried."""
        self._carriers = carriers
        self.texts = texts

    @property
    def redactor(self) -> Redactor | None:
        """Who makes the words of a message forgotten."""
        return self.texts

    async def send(self, message: Message, letter: Letter) -> Word:
        """Through the channel's carrier."""
        return await self._of(message).send(message, letter)

    async def find(self, message: Message, letter: Letter, since: datetime) -> Word | None:
        """At the channel's carrier."""
        return await self._of(message).find(message, letter, since)

    async def fetch(self, message: Message, provider_id: str) -> Word | None:
        """From the channel's carrier."""
        return await self._of(message).fetch(message, provider_id)

    @property
    def channels(self) -> frozenset[Channel]:
        """The channels that are configured."""
        return frozenset(self._carriers)

    def _of(self, message: Message) -> Carrier:
        carrier = self._carriers.get(message.channel)
        if carrier is None:
            # An operator may configure it while the message waits.
            raise DeliveryError("unconfigured", permanent=False)
        return carrier


def senders_of(settings: Settings) -> dict[Channel, str]:
    """Under which address each channel's messages leave, as the carrier writes it."""
    numbers = {Channel.SMS: settings.twilio_sms_from, Channel.WHATSAPP: settings.twilio_whatsapp_from}
    return {channel: written(channel, number) for channel, number in numbers.items() if number is not None}


@contextmanager
def carriers(settings: Settings) -> Iterator[CarrierByChannel]:
    """Who takes messages, for those channels that are configured."""
    found: dict[Channel, Carrier] = {}
    phones = _twilio(settings)
    if phones is not None:
        found |= dict.fromkeys(phones.channels, phones)
    if settings.smtp_url is not None:
        found[Channel.EMAIL] = SmtpCarrier(settings.smtp_url.get_secret_value(), settings.email_from)
    try:
        yield CarrierByChannel(found, phones)
    finally:
        if phones is not None:
            phones.close()


def _twilio(settings: Settings) -> TwilioCarrier | None:
    account, token = settings.twilio_account_sid, settings.twilio_auth_token
    if account is None or token is None:
        return None
    senders = {Channel.SMS: settings.twilio_sms_from, Channel.WHATSAPP: settings.twilio_whatsapp_from}
    return TwilioCarrier(
        settings.twilio_base_url,
        (account, token.get_secret_value()),
        senders={channel: sender for channel, sender in senders.items() if sender is not None},
        callback_url=f"{settings.public_url}{CALLBACK_PATH}",
    )
