"""Every message that somebody would have received: texts, WhatsApp messages and e-mails, and what became of each."""

from __future__ import annotations

import base64
import hashlib
import hmac
import logging
import secrets
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Literal, get_args
from urllib.parse import urlencode

from sandbox.config import SandboxConfig
from sandbox.posting import Poster, PostError
from sandbox.timers import Timers

log = logging.getLogger(__name__)

Channel = Literal["sms", "whatsapp", "email"]
Status = Literal[
    "accepted",
    "scheduled",
    "queued",
    "sending",
    "sent",
    "delivered",
    "undelivered",
    "failed",
    "read",
    "canceled",
]

Callbacks = Literal["once", "never", "twice", "reversed"]

STATUSES: tuple[Status, ...] = get_args(Status)
TRAVELS: tuple[tuple[Status, Status], ...] = (("queued", "sent"), ("sent", "delivered"))
ANSWER_SECONDS = 5.0
INBOUND_PATH = "/v1/webhooks/twilio/inbound"
KEPT_MESSAGES = 5000
WHATSAPP = "whatsapp:"


@dataclass(slots=True)
class Message:
    """One message as it reached the service; `to` and `sender` are bare numbers or mailboxes."""

    id: str
    channel: Channel
    to: str
    sender: str
    text: str
    subject: str | None = None
    message_id: str | None = None
    callback: str | None = None
    status: Status = "queued"
    error_code: int | None = None
    html: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    attachments: tuple[Mapping[str, str], ...] = ()
    created_at: float = field(default_factory=time.time)
    updated_at: float = field(default_factory=time.time)
    sent_at: float | None = None

    def summary(self) -> dict[str, object]:
        """Say what somebody who looks at the phone or the mailbox sees, and what the service says of it."""
        return {
            "id": self.id,
            "channel": self.channel,
            "to": self.to,
            "from": self.sender,
            "subject": self.subject,
            "text": self.text,
            "message_id": self.message_id,
            "html": self.html,
            "headers": dict(self.headers),
            "attachments": [dict(one) for one in self.attachments],
            "status": self.status,
            "error_code": self.error_code,
            "created_at": instant(self.created_at),
        }


def instant(seconds: float) -> str:
    """Write Unix seconds as RFC 3339 in UTC, to the millisecond."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def new_sid(prefix: str = "SM") -> str:
    """Make an id as the messaging service does: two letters and 32 hexadecimal digits."""
    return prefix + secrets.token_hex(16)


def same_address(one: str, other: str) -> bool:
    """Tell whether two ways of writing lead to the same phone or mailbox; a plus lost in a query string is forgiven."""
    return _plain(one) == _plain(other)


def _plain(address: str) -> str:
    return address.removeprefix(WHATSAPP).strip().lstrip("+").lower()


def sign(token: str, url: str, params: Mapping[str, str]) -> str:
    """Sign a callback as the service does: base64 of the HMAC-SHA1 over the address and all sorted parameters."""
    message = url + "".join(name + params[name] for name in sorted(params))
    return base64.b64encode(hmac.new(token.encode(), message.encode(), hashlib.sha1).digest()).decode()


@dataclass(frozen=True, slots=True)
class Phone:
    """How a phone behaves: the last status that its messages reach, and how their sender is called back.

    `reversed` calls back about the last status first, and about those before it after that.
    """

    reaches: Status = "delivered"
    error_code: int | None = None
    callbacks: Callbacks = "once"


USUAL_PHONE = Phone()


class Messages:
    """The messages of all channels, and the status callbacks of those that asked for one.

    A text is queued, sent and delivered `message_seconds` apart. Like the real service, a callback is tried once: who
    misses it has to ask.
    """

    def __init__(self, config: SandboxConfig, timers: Timers) -> None:
        """Start with empty inboxes."""
        self._config = config
        self._timers = timers
        self._all: OrderedDict[str, Message] = OrderedDict()
        self._posters: dict[str, Poster] = {}
        self._phones: dict[str, Phone] = {}

    def clear(self) -> None:
        """Forget every message."""
        self._all.clear()
        self._phones.clear()
        self.close()

    def behave(self, channel: Channel, number: str, phone: Phone) -> None:
        """Let a phone behave like that from now on, for one channel."""
        self._phones[f"{channel} {_plain(number)}"] = phone

    def _phone(self, message: Message) -> Phone:
        return self._phones.get(f"{message.channel} {_plain(message.to)}", USUAL_PHONE)

    def close(self) -> None:
        """Close the connections to those who are called back."""
        for poster in self._posters.values():
            poster.close()
        self._posters.clear()

    def newest(self, to: str | None = None) -> list[Message]:
        """List messages, newest first, of one address or of all."""
        return [one for one in reversed(self._all.values()) if to is None or same_address(one.to, to)]

    def find(self, message_id: str) -> Message | None:
        """Give the message of that id."""
        return self._all.get(message_id)

    def add(self, message: Message) -> Message:
        """Take a message; the oldest is forgotten where there are too many."""
        self._all[message.id] = message
        if len(self._all) > KEPT_MESSAGES:
            self._all.popitem(last=False)
        return message

    def travel(self, message: Message) -> None:
        """Let a queued text be sent and then delivered, unless somebody decides otherwise meanwhile."""
        reaches = self._phone(message).reaches
        travels = {"queued": TRAVELS[:0], "sent": TRAVELS[:1]}.get(reaches, (TRAVELS[0], (TRAVELS[1][0], reaches)))
        for steps, (before, after) in enumerate(travels, start=1):
            seconds = steps * self._config.message_seconds
            self._timers.later(seconds, partial(self._move, message, before, after), f"message {message.id} {after}")

    def _move(self, message: Message, before: Status, after: Status) -> None:
        if self._all.get(message.id) is message and message.status == before:
            failed = after in {"undelivered", "failed"}
            self.set_status(message, after, self._phone(message).error_code if failed else None)

    def set_status(self, message: Message, status: Status, error_code: int | None = None) -> None:
        """Change what became of a message and tell whoever asked to be told."""
        message.status = status
        message.error_code = error_code
        message.updated_at = time.time()
        if status in {"sent", "delivered", "read"}:
            message.sent_at = message.sent_at or message.updated_at
        if message.callback is not None:
            for told in self._told(message):
                self._timers.spawn(self._call_back(message.callback, told), f"status of {message.id}")

    def _told(self, message: Message) -> list[dict[str, str]]:
        """List the callbacks that a change of a message's status brings."""
        phone, params = self._phone(message), self._callback_params(message)
        match phone.callbacks:
            case "never":
                return []
            case "twice":
                return [params, params]
            case "reversed" if message.status != phone.reaches:
                return []
            case "reversed":
                return [params, {**params, "MessageStatus": "sent", "SmsStatus": "sent"}]
            case _:
                return [params]

    def reply(self, channel: Channel, reader: str, sender: str, text: str) -> str:
        """Let somebody answer a text: the merchant is told where its replies go. Give the reply's id."""
        prefix, sid = WHATSAPP if channel == "whatsapp" else "", new_sid()
        params = {
            "AccountSid": self._config.account_sid or "",
            "ApiVersion": "2010-04-01",
            "Body": text,
            "From": prefix + reader,
            "MessageSid": sid,
            "NumMedia": "0",
            "SmsSid": sid,
            "To": prefix + sender,
        }
        url = f"{self._config.public_url}{INBOUND_PATH}"
        self._timers.spawn(self._call_back(url, params), f"reply {sid}")
        return sid

    def _callback_params(self, message: Message) -> dict[str, str]:
        prefix = WHATSAPP if message.channel == "whatsapp" else ""
        params = {
            "AccountSid": self._config.account_sid or "",
            "ApiVersion": "2010-04-01",
            "From": prefix + message.sender,
            "MessageSid": message.id,
            "MessageStatus": message.status,
            "SmsSid": message.id,
            "SmsStatus": message.status,
            "To": prefix + message.to,
        }
        return params if message.error_code is None else {**params, "ErrorCode": str(message.error_code)}

    async def _call_back(self, url: str, params: Mapping[str, str]) -> None:
        headers = {
            "content-type": "application/x-www-form-urlencoded",
            "user-agent": "TwilioProxy/1.1",
            "x-twilio-signature": sign(self._config.auth_token or "", url, params),
        }
        poster = self._posters.get(url) or self._posters.setdefault(url, Poster(url))
        try:
            status = await poster.post(headers, urlencode(params).encode(), ANSWER_SECONDS)
        except PostError as error:
            log.info("status callback of %s not delivered: %s", params["MessageSid"], error)
        else:
            log.debug("status callback of %s answered %s", params["MessageSid"], status)
