"""Text and WhatsApp messages: Twilio's own client, off the event loop, within a time, failing in our words.

Sending has no idempotency key. Whoever repeats a try whose answer was lost asks first with `find`, which knows the
message again by its address, its words and the time. Source of the facts: Twilio's API reference (Messages, error
dictionary) and the client's source, 9.13.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Final, NamedTuple, TypeVar
from urllib.parse import quote

import requests
from pydantic import BaseModel, ConfigDict, ValidationError
from twilio.base.exceptions import TwilioException, TwilioRestException
from twilio.http.http_client import TwilioHttpClient
from twilio.rest import Client

from models.base import UtcDatetime
from models.errors import DeliveryError, UnavailableError
from models.messaging import PROVIDER_STATES, Channel, Letter, Message, MessageState, Word

TIMEOUT_SECONDS: Final = 2.0
"""For each answer; shorter than a local step, so that a try has ended before the next begins."""

THREADS: Final = 8
LOOKED_THROUGH: Final = 20
CLOCKS: Final = timedelta(seconds=5)
"""How far the provider's clock, which shows whole seconds, may be behind ours."""

_WHATSAPP: Final = "whatsapp:"
_SPOKEN: Final = (Channel.SMS, Channel.WHATSAPP)
T = TypeVar("T")


class KeptText(NamedTuple):
    """A message as the provider keeps it; an empty body where it was redacted."""

    provider_id: str
    body: str


class _Sent(BaseModel):
    """What we read of the provider's message."""

    model_config = ConfigDict(frozen=True, from_attributes=True, hide_input_in_errors=True)

    sid: str
    status: str
    body: str | None
    error_code: int | None
    date_created: UtcDatetime

    def word(self) -> Word:
        state = PROVIDER_STATES.get(self.status, MessageState.SENT)
        code = None if self.error_code is None else str(self.error_code)
        return Word(state=state, provider_id=self.sid, error_code=code)


class TwilioCarrier:
    """Implements `models.notice_ports.Carrier` for text and WhatsApp messages."""

    def __init__(
        self, base_url: str, account: tuple[str, str], *, senders: dict[Channel, str], callback_url: str
    ) -> None:
        """`account` is its SID and secret; `callback_url` is told what becomes of each message."""
        self._http = TwilioHttpClient(timeout=TIMEOUT_SECONDS)
        self._client = Client(*account, http_client=self._http)
        self._client.api.base_url = base_url
        self._senders = senders
        self._callback_url = callback_url
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="twilio")

    async def send(self, message: Message, letter: Letter) -> Word:
        """One call. A channel without a sender takes nothing for good."""
        sender = self._senders.get(message.channel)
        if sender is None:
            raise DeliveryError("no_sender", permanent=True)

        def create() -> _Sent:
            made = self._client.messages.create(
                to=written(message.channel, message.to),
                from_=written(message.channel, sender),
                **_said(letter),
                status_callback=f"{self._callback_url}?message={quote(message.id, safe='')}",
            )
            return _Sent.model_validate(made)

        return (await self._call(create)).word()

    async def find(self, message: Message, letter: Letter, since: datetime) -> Word | None:
        """The newest messages to this address, one page of them."""

        def look() -> list[_Sent]:
            found = self._client.messages.list(to=written(message.channel, message.to), limit=LOOKED_THROUGH)
            return [_Sent.model_validate(one) for one in found]

        earliest = since.astimezone(UTC) - CLOCKS
        for sent in await self._call(look):
            if _says(sent.body or "", letter) and sent.date_created >= earliest:
                return sent.word()
        return None

    async def fetch(self, message: Message, provider_id: str) -> Word | None:  # noqa: ARG002  the port's
        """One call."""

        def look() -> _Sent:
            return _Sent.model_validate(self._client.messages(provider_id).fetch())

        return (await self._call(look)).word()

    async def redact(self, provider_id: str) -> bool:
        """Have the words of a message forgotten (an update with an empty body); one that is gone has none.

        False while it is still on its way: only what has left or failed can be changed.
        """

        def forget() -> bool:
            try:
                self._client.messages(provider_id).update(body="")
            except TwilioRestException as error:
                if error.status == HTTPStatus.NOT_FOUND:
                    return True
                if error.status in {HTTPStatus.BAD_REQUEST, HTTPStatus.CONFLICT}:
                    return False
                raise
            return True

        return await self._call(forget)

    async def kept(self, number: str) -> list[KeptText]:
        """The words that the provider has of every message to and from a number, by text and WhatsApp, all pages.

        Raises `UnavailableError`, also where it does not let us ask.
        """

        def look() -> list[KeptText]:
            messages, addresses = self._client.messages, [written(channel, number) for channel in _SPOKEN]
            found = [
                _Sent.model_validate(one)
                for address in addresses
                for listed in (messages.stream(to=address), messages.stream(from_=address))
                for one in listed
            ]
            return [KeptText(one.sid, one.body or "") for one in found]

        try:
            return await self._call(look)
        except DeliveryError as error:
            raise UnavailableError(f"the messaging provider does not say what it keeps: {error.code}") from error

    @property
    def channels(self) -> frozenset[Channel]:
        """The channels that have a sender."""
        return frozenset(self._senders)

    def close(self) -> None:
        """Let go of the connections."""
        self._threads.shutdown(wait=False)
        self._http.session.close()

    async def _call(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, _typed, work)


def _said(letter: Letter) -> dict[str, str]:
    if letter.content is None:
        return {"body": letter.text}
    places = {str(place): value for place, value in enumerate(letter.content.variables, start=1)}
    variables = json.dumps(places, ensure_ascii=False)
    return {"content_sid": letter.content.sid, "content_variables": variables}


def _says(body: str, letter: Letter) -> bool:
    """Whether a message of the provider's is this letter; of a content we know only what fills it."""
    if letter.content is None:
        return body == letter.text
    return all(value in body or json.dumps(value, ensure_ascii=False) in body for value in letter.content.variables)


def written(channel: Channel, number: str) -> str:
    """A number as the provider writes it on that channel."""
    return f"{_WHATSAPP}{number}" if channel is Channel.WHATSAPP else number


def _typed(work: Callable[[], T]) -> T:
    try:
        return work()
    except TwilioRestException as error:
        if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise UnavailableError(f"the messaging provider is in trouble: {error.status}") from None
        # Only what is wrong with the message stays wrong: limits, credentials and accounts of ours may be mended.
        raise DeliveryError(str(error.code), permanent=error.status == HTTPStatus.BAD_REQUEST) from None
    except requests.ConnectTimeout:
        raise DeliveryError("unreachable", permanent=False) from None
    except (requests.RequestException, TwilioException, ValidationError, ValueError) as error:
        raise UnavailableError(f"the messaging provider gave no usable answer: {type(error).__name__}") from None
