"""E-mail, handed to a relay.

The relay is told nothing twice on purpose, but an answer can be lost: a repeated message carries the same Message-ID,
by which mailboxes know it again.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import parseaddr
from typing import Final
from urllib.parse import unquote, urlsplit

import aiosmtplib

from models.errors import DeliveryError, UnavailableError
from models.messaging import Letter, Message, MessageState, Word

TIMEOUT_SECONDS: Final = 2.0
"""For each word of the relay; shorter than a local step, so that a try has ended before the next begins."""

_SECURE_PORT: Final = 465
_PLAIN_PORT: Final = 25
_PERMANENT: Final = 500


class SmtpCarrier:
    """Implements `models.notice_ports.Carrier` for e-mail; one connection per message.

    `smtp://` offers STARTTLS and takes it where the relay has it, `smtps://` is TLS from the first byte.
    """

    def __init__(self, url: str, sender: str) -> None:
        """The relay's address, with name and password where it wants them, and who the e-mails come from."""
        parts = urlsplit(url)
        self._host = parts.hostname or ""
        self._secure = parts.scheme == "smtps"
        self._port = parts.port or (_SECURE_PORT if self._secure else _PLAIN_PORT)
        self._username = unquote(parts.username) if parts.username else None
        self._password = unquote(parts.password) if parts.password else None
        name, address = parseaddr(sender)
        self._sender = Address(name, addr_spec=address)

    async def send(self, message: Message, letter: Letter) -> Word:
        """Hand it over. Who refuses one of our recipients refuses the message: each has exactly one."""
        mail = self._mail(message, letter)
        try:
            await aiosmtplib.send(
                mail,
                sender=self._sender.addr_spec,
                recipients=[message.to],
                hostname=self._host,
                port=self._port,
                username=self._username,
                password=self._password,
                use_tls=self._secure,
                timeout=TIMEOUT_SECONDS,
            )
        except aiosmtplib.SMTPRecipientsRefused as error:
            raise _refused(error.recipients[0].code) from error
        except (aiosmtplib.SMTPAuthenticationError, aiosmtplib.SMTPHeloError) as error:
            # Our own settings are wrong: that may be mended while the message waits.
            raise DeliveryError(str(error.code), permanent=False) from error
        except aiosmtplib.SMTPResponseException as error:
            if not _is_refusal(error.code):
                raise UnavailableError("the mail relay gave no usable answer") from error
            raise _refused(error.code) from error
        except (aiosmtplib.SMTPConnectError, aiosmtplib.SMTPConnectTimeoutError) as error:
            raise DeliveryError("unreachable", permanent=False) from error
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            raise UnavailableError("the mail relay does not answer") from error
        return Word(state=MessageState.SENT)

    async def find(self, message: Message, letter: Letter, since: datetime) -> Word | None:  # noqa: ARG002  the port's
        """Relays cannot be asked."""
        return None

    async def fetch(self, message: Message, provider_id: str) -> Word | None:  # noqa: ARG002  the port's
        """Likewise."""
        return None

    def _mail(self, message: Message, letter: Letter) -> EmailMessage:
        mail = EmailMessage()
        mail["From"] = self._sender if letter.sender is None else _named(letter.sender, self._sender)
        try:
            mail["To"] = Address(addr_spec=message.to)
        except (ValueError, MessageError):
            raise DeliveryError("address", permanent=True) from None
        mail["Subject"] = letter.subject or ""
        mail["Message-ID"] = f"<{hashlib.sha256(message.id.encode()).hexdigest()[:32]}@{self._sender.domain}>"
        mail["Auto-Submitted"] = "auto-generated"
        if letter.unsubscribe is not None:
            mail["List-Unsubscribe"] = f"<{letter.unsubscribe}>"
            mail["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
        mail.set_content(letter.text)
        if letter.html is not None:
            mail.add_alternative(letter.html, subtype="html")
        if letter.calendar is not None:
            _attach_calendar(mail, letter.calendar)
        return mail


def _named(name: str, sender: Address) -> Address:
    return Address(" ".join(name.split()), addr_spec=sender.addr_spec)


def _attach_calendar(mail: EmailMessage, calendar: str) -> None:
    """Twice, as calendars expect it: as the message itself for those that act on it, and as a file."""
    method = next(line.partition(":")[2] for line in calendar.splitlines() if line.startswith("METHOD:"))
    mail.add_alternative(calendar, subtype="calendar", params={"method": method})
    mail.add_attachment(
        calendar.encode(), maintype="application", subtype="ics", filename="visit.ics", params={"method": method}
    )


def _is_refusal(code: int) -> bool:
    return 400 <= code < 600  # noqa: PLR2004  SMTP's replies that mean no


def _refused(code: int) -> DeliveryError:
    return DeliveryError(str(code), permanent=code >= _PERMANENT)
