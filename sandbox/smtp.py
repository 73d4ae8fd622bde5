"""A mail server that takes every message and shows it in the inboxes; armed faults strike when a message is handed in.

The mailbox `nobody` exists at no domain, so that there is a recipient who is refused. It speaks what a submitting
client needs (RFC 5321 with SIZE, 8BITMIME, SMTPUTF8 and AUTH PLAIN, which takes any
name and password) and relays nothing.
"""

from __future__ import annotations

import asyncio
import email
import logging
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.policy import default

from sandbox.faults import Fault
from sandbox.gateway import Gateway
from sandbox.messages import Message, new_sid

log = logging.getLogger(__name__)

LARGEST_MESSAGE = 10 * 1024 * 1024
LONGEST_LINE = 65536
IDLE_SECONDS = 300.0
SHOWN_HEADERS = ("From", "List-Unsubscribe", "List-Unsubscribe-Post", "Auto-Submitted")
ADDRESS = re.compile(r"(?:FROM|TO):\s*<([^<>\s]*)>", re.IGNORECASE)
UNKNOWN = "nobody@"
STORED = "250 2.0.0 Ok: queued as {}"


@dataclass(slots=True)
class _Session:
    """One connection: who sends to whom at the moment."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    sender: str | None = None
    recipients: list[str] = field(default_factory=list)

    def forget(self) -> None:
        self.sender = None
        self.recipients = []

    async def say(self, *lines: str) -> None:
        code = lines[0][:3]
        texts = [line[4:] for line in lines]
        marks = ["-"] * (len(lines) - 1) + [" "]
        content = "".join(f"{code}{mark}{text}\r\n" for mark, text in zip(marks, texts, strict=True))
        self.writer.write(content.encode())
        await self.writer.drain()


class SmtpServer:
    """Serves on one address until it is closed; lives in one event loop."""

    def __init__(self, gateway: Gateway) -> None:
        """Deliver into this one's inboxes."""
        self._gateway = gateway
        self._server: asyncio.Server | None = None
        self._sessions: set[asyncio.Task[None]] = set()

    async def start(self, host: str, port: int) -> int:
        """Listen and give the port, which is a free one for 0; raises OSError where it is taken."""
        self._server = await asyncio.start_server(self._connected, host, port, limit=LONGEST_LINE)
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    async def close(self) -> None:
        """Stop listening and end every connection."""
        if self._server is not None:
            self._server.close()
        sessions = list(self._sessions)
        for session in sessions:
            session.cancel()
        await asyncio.gather(*sessions, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._sessions.add(task)
            task.add_done_callback(self._sessions.discard)
        try:
            # A client that leaves in the middle of a word is nobody's fault.
            with suppress(OSError, EOFError, TimeoutError, asyncio.LimitOverrunError, ValueError):
                await self._converse(_Session(reader, writer))
        finally:
            writer.close()

    async def _converse(self, session: _Session) -> None:
        await session.say("220 sandbox ESMTP")
        while True:
            line = await asyncio.wait_for(session.reader.readline(), IDLE_SECONDS)
            if not line:
                return
            text = line.decode("utf-8", "replace").rstrip("\r\n")
            verb, _, rest = text.partition(" ")
            if not await self._obey(session, verb.upper(), rest):
                return

    async def _obey(self, session: _Session, verb: str, rest: str) -> bool:
        """Carry one command out; whether the conversation goes on."""
        match verb:
            case "EHLO":
                size = f"250 SIZE {LARGEST_MESSAGE}"
                await session.say("250 sandbox", size, "250 8BITMIME", "250 SMTPUTF8", "250 AUTH PLAIN")
            case "HELO" | "RSET" | "NOOP":
                session.forget()
                await session.say("250 2.0.0 Ok")
            case "AUTH":
                await self._sign_in(session, rest)
            case "MAIL" | "RCPT":
                await session.say(_addressed(session, verb, rest))
            case "DATA" if session.recipients:
                return await self._data(session)
            case "DATA":
                await session.say("503 5.5.1 Name a recipient first")
            case "QUIT":
                await session.say("221 2.0.0 Bye")
                return False
            case _:
                await session.say("502 5.5.2 Command not recognized")
        return True

    async def _sign_in(self, session: _Session, rest: str) -> None:
        mechanism, _, response = rest.partition(" ")
        if mechanism.upper() != "PLAIN":
            await session.say("504 5.5.4 Only PLAIN is known")
            return
        if not response:
            await session.say("334 ")
            await session.reader.readline()
        await session.say("235 2.7.0 Welcome")

    async def _data(self, session: _Session) -> bool:
        await session.say("354 End with a line that is only a dot")
        content = await self._content(session.reader)
        sender, recipients = session.sender or "", session.recipients
        session.forget()
        if content is None:
            await session.say("552 5.3.4 Too large")
            return True

        def keep() -> str:
            return STORED.format(self._keep(sender, recipients, content))

        self._gateway.requests["send"] += 1
        fault = self._gateway.faults.take("send")
        if fault is None:
            await session.say(keep())
            return True
        return await self._suffer(session, fault, keep)

    async def _suffer(self, session: _Session, fault: Fault, keep: Callable[[], str]) -> bool:
        """Answer as the fault wants; whether the conversation goes on."""
        holds = self._gateway.holds
        match fault.mode:
            case "error":
                await session.say(f"{fault.status or 451} The message was not taken")
            case "rate_limited":
                await session.say(f"{fault.status or 450} Too many messages, try again later")
            case "slow":
                await holds.pause(fault.delay_seconds)
                await session.say(keep())
            case "timeout":
                await holds.pause(fault.delay_seconds)
                return False
            case "timeout_after_success":
                keep()
                await holds.pause(fault.delay_seconds)
                return False
            case "malformed":
                answer = keep() if fault.status is None else str(fault.status)
                session.writer.write(answer[:2].encode())
                await session.writer.drain()
                return False
        return True

    async def _content(self, reader: asyncio.StreamReader) -> bytes | None:
        """Read a message up to its final dot; None where it is too large, read to its end all the same."""
        lines: list[bytes] = []
        size = 0
        while (line := await asyncio.wait_for(reader.readuntil(b"\n"), IDLE_SECONDS)) not in {b".\r\n", b".\n"}:
            size += len(line)
            if size <= LARGEST_MESSAGE:
                lines.append(line.removeprefix(b"."))
        return b"".join(lines) if size <= LARGEST_MESSAGE else None

    def _keep(self, sender: str, recipients: list[str], content: bytes) -> str:
        """Put it into each recipient's inbox and give the id of the last one."""
        parsed = email.message_from_bytes(content, EmailMessage, policy=default)
        kept = ""
        for recipient in recipients:
            message = Message(
                id=new_sid("EM"),
                channel="email",
                to=recipient,
                sender=sender,
                text=_text(parsed),
                subject=str(parsed["subject"] or ""),
                status="delivered",
                message_id=str(parsed["message-id"] or ""),
                html=_html(parsed),
                headers={name: str(parsed[name]) for name in SHOWN_HEADERS if parsed[name] is not None},
                attachments=tuple(_attachments(parsed)),
            )
            kept = self._gateway.messages.add(message).id
        return kept


def _addressed(session: _Session, verb: str, rest: str) -> str:
    """Note a sender or a recipient; what to answer."""
    found = ADDRESS.match(rest)
    if found is None:
        return "501 5.5.4 Syntax: MAIL FROM:<address> or RCPT TO:<address>"
    if verb == "MAIL":
        session.forget()
        session.sender = found[1]
        return "250 2.1.0 Ok"
    if session.sender is None:
        return "503 5.5.1 Name the sender first"
    if "@" not in found[1] or found[1].lower().startswith(UNKNOWN):
        return "550 5.1.1 No such mailbox"
    session.recipients.append(found[1])
    return "250 2.1.5 Ok"


def _html(message: EmailMessage) -> str | None:
    part = message.get_body(("html",))
    content = None if part is None else part.get_content()
    return content if isinstance(content, str) else None


def _attachments(message: EmailMessage) -> Iterator[dict[str, str]]:
    """List what hangs on it, with the words of what is text."""
    for part in message.iter_attachments():
        content = part.get_content()
        text = content.decode("utf-8", "replace") if isinstance(content, bytes) else str(content)
        yield {"name": part.get_filename() or "", "type": part.get_content_type(), "text": text}


def _text(message: EmailMessage) -> str:
    """Give the part that a person reads."""
    part = message.get_body(("plain", "html"))
    if part is None:
        return ""
    content = part.get_content()
    return content.strip().replace("\r\n", "\n") if isinstance(content, str) else ""
