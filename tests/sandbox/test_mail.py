"""The mail server, held against two clients: the standard library's and raw lines."""

import smtplib
import socket
from email.message import EmailMessage
from urllib.parse import urlsplit

import pytest

from tests.sandbox.support import Json, Sandbox

MAILBOX = "asha@example.in"


def letter() -> EmailMessage:
    message = EmailMessage()
    message["From"] = "VisitNow <no-reply@illajwala.com>"
    message["To"] = MAILBOX
    message["Subject"] = "Einladung, आमंत्रण"
    message["Message-ID"] = "<msg_1@illajwala.com>"
    message.set_content("Open https://clinic.example/invite?token=abc\n.a line with a dot\n")
    return message


def post(sandbox: Sandbox, message: EmailMessage, seconds: float = 5) -> None:
    parts = urlsplit(sandbox.process.smtp_url)
    assert parts.hostname is not None
    assert parts.port is not None
    with smtplib.SMTP(parts.hostname, parts.port, timeout=seconds) as client:
        client.send_message(message)


def mailbox(sandbox: Sandbox, to: str = MAILBOX) -> list[Json]:
    items: list[Json] = sandbox.http.get("/_control/messages", params={"to": to}).json()["items"]
    return items


def fault(sandbox: Sandbox, mode: str, **fields: object) -> None:
    sandbox.control("faults", {"service": "smtp", "operation": "send", "mode": mode, "times": 1, **fields})


def test_a_letter_is_shown_as_it_was_written(sandbox: Sandbox) -> None:
    post(sandbox, letter())
    [shown] = mailbox(sandbox, MAILBOX.upper())
    assert (shown["channel"], shown["to"], shown["from"]) == ("email", MAILBOX, "no-reply@illajwala.com")
    assert shown["subject"] == "Einladung, आमंत्रण"
    assert shown["text"] == "Open https://clinic.example/invite?token=abc\n.a line with a dot"
    assert (shown["message_id"], shown["status"]) == ("<msg_1@illajwala.com>", "delivered")
    page = sandbox.http.get(f"/inbox/{MAILBOX}").text
    assert "आमंत्रण" in page
    assert 'href="https://clinic.example/invite?token=abc"' in page


def test_each_recipient_has_a_copy_and_hidden_ones_stay_so(sandbox: Sandbox) -> None:
    message = letter()
    message["Bcc"] = "ravi@example.in"
    post(sandbox, message)
    assert len(mailbox(sandbox)) == len(mailbox(sandbox, "ravi@example.in")) == 1


@pytest.mark.parametrize(
    ("mode", "fields", "code"),
    [("error", {}, 451), ("error", {"status": 550}, 550), ("rate_limited", {}, 450)],
)
def test_refusals(sandbox: Sandbox, mode: str, fields: Json, code: int) -> None:
    fault(sandbox, mode, **fields)
    with pytest.raises(smtplib.SMTPDataError) as refused:
        post(sandbox, letter())
    assert refused.value.smtp_code == code
    assert mailbox(sandbox) == []
    post(sandbox, letter())
    assert len(mailbox(sandbox)) == 1


@pytest.mark.parametrize(("mode", "kept"), [("timeout", 0), ("timeout_after_success", 1)])
def test_a_sender_that_gives_up_does_not_know(sandbox: Sandbox, mode: str, kept: int) -> None:
    fault(sandbox, mode, delay_seconds=5)
    with pytest.raises((TimeoutError, smtplib.SMTPServerDisconnected)):
        post(sandbox, letter(), seconds=0.3)
    assert len(mailbox(sandbox)) == kept


def test_a_broken_answer_and_a_slow_one(sandbox: Sandbox) -> None:
    fault(sandbox, "malformed")
    with pytest.raises(smtplib.SMTPException):
        post(sandbox, letter())
    assert len(mailbox(sandbox)) == 1
    fault(sandbox, "slow", delay_seconds=0.05)
    post(sandbox, letter())
    assert len(mailbox(sandbox)) == 2


def test_the_order_of_commands_is_held_and_signing_in_works(sandbox: Sandbox) -> None:
    parts = urlsplit(sandbox.process.smtp_url)
    with socket.create_connection((parts.hostname, parts.port), timeout=20) as plain, plain.makefile("rwb") as lines:

        def ask(command: str) -> str:
            lines.write(f"{command}\r\n".encode())
            lines.flush()
            return lines.readline().decode()

        assert lines.readline().startswith(b"220 ")
        for command, code in (
            ("HELO client", "250"),
            ("AUTH PLAIN AGEAYg==", "235"),
            ("AUTH LOGIN", "504"),
            ("RCPT TO:<a@b.in>", "503"),
            ("DATA", "503"),
            ("MAIL FROM:nobody", "501"),
            ("MAIL FROM:<a@b.in> SIZE=10", "250"),
            ("RCPT TO:<nobody>", "550"),
            ("RCPT TO:<c@d.in>", "250"),
            ("RSET", "250"),
            ("DATA", "503"),
            ("STARTTLS", "502"),
            ("QUIT", "221"),
        ):
            assert ask(command).startswith(code), command
    assert mailbox(sandbox, "c@d.in") == []
