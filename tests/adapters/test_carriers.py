"""The carriers against the sandbox: what is certain, what is not, and how a lost answer is found again."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
from pydantic import SecretStr

from adapters.carriers import carriers
from adapters.settings import Settings
from adapters.smtp import SmtpCarrier
from adapters.twilio import TwilioCarrier
from models.errors import DeliveryError, UnavailableError
from models.ids import random_id
from models.messaging import Channel, Letter, Message, MessageState
from sandbox.config import SandboxConfig
from sandbox.process import SandboxProcess
from sandbox.servers.processes import free_port
from tests.adapters.mongo.builders import a_message

LETTER = Letter(text="Your code is 246810", subject="Your code")
CONFIG = SandboxConfig(
    key_id="k", key_secret="s", account_sid="AC" + "0" * 32, auth_token="token", message_seconds=600.0
)
SENDERS = {Channel.SMS: "+15005550006"}


class World(NamedTuple):
    """A sandbox whose messages stay queued, and its control."""

    process: SandboxProcess
    http: httpx.Client

    def fault(self, service: str, operation: str, mode: str, **fields: object) -> None:
        body = {"service": service, "operation": operation, "mode": mode, "times": 1, **fields}
        self.http.post("/_control/faults", json=body).raise_for_status()

    def count(self, message: Message) -> int:
        return len(self.http.get("/_control/messages", params={"to": message.to}).json()["items"])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    log = tmp_path_factory.mktemp("carriers") / "sandbox.log"
    with SandboxProcess(CONFIG, log=log) as process, httpx.Client(base_url=process.url, timeout=10) as http:
        yield World(process, http)


def phones(url: str, token: str) -> TwilioCarrier:
    account = (CONFIG.account_sid or "", token)
    return TwilioCarrier(url, account, senders=SENDERS, callback_url="https://api.clinic.example/status")


@pytest.fixture(scope="module")
def texts(world: World) -> Iterator[TwilioCarrier]:
    carrier = phones(world.process.url, "token")
    yield carrier
    carrier.close()


@pytest.fixture
def mail(world: World) -> SmtpCarrier:
    return SmtpCarrier(world.process.smtp_url, "Asha's practice <no-reply@illajwala.com>")


def to_a_phone() -> Message:
    return a_message(to=f"+9197{int(random_id('x').encode().hex(), 16) % 10**8:08d}")


async def test_a_text_is_redacted_once_it_has_left_and_a_strange_one_has_no_words(
    world: World, texts: TwilioCarrier
) -> None:
    message = to_a_phone()
    word = await texts.send(message, LETTER)
    assert word.provider_id is not None
    assert not await texts.redact(word.provider_id), "it is still queued"
    delivered = world.http.post(f"/_control/messages/{word.provider_id}/status", json={"status": "delivered"})
    delivered.raise_for_status()
    world.fault("twilio", "message.update", "error", status=503)
    with pytest.raises(UnavailableError):
        await texts.redact(word.provider_id)
    assert await texts.redact(word.provider_id)
    [kept] = world.http.get("/_control/messages", params={"to": message.to}).json()["items"]
    assert kept["text"] == ""
    assert await texts.redact("SM" + "0" * 32)


def to_a_mailbox() -> Message:
    return a_message(channel=Channel.EMAIL, to=f"{random_id('mail')}@example.in")


async def test_a_taken_text_has_the_providers_id(texts: TwilioCarrier) -> None:
    word = await texts.send(to_a_phone(), LETTER)
    assert word.state is MessageState.SENT
    assert word.provider_id is not None
    assert word.provider_id.startswith("SM")


@pytest.mark.parametrize("mode", ["timeout_after_success", "malformed"])
async def test_a_text_whose_answer_was_lost_is_found_again(world: World, texts: TwilioCarrier, mode: str) -> None:
    message, began = to_a_phone(), datetime.now(UTC)
    world.fault("twilio", "message.create", mode, delay_seconds=4)
    with pytest.raises(UnavailableError):
        await texts.send(message, LETTER)
    found = await texts.find(message, LETTER, began)
    assert found is not None
    assert found.provider_id is not None
    assert world.count(message) == 1


async def test_only_the_same_words_to_the_same_phone_since_then_count(texts: TwilioCarrier) -> None:
    message, began = to_a_phone(), datetime.now(UTC)
    assert await texts.find(message, LETTER, began) is None
    await texts.send(message, LETTER)
    assert await texts.find(message, LETTER, began) is not None
    assert await texts.find(message, Letter(text="Your code is 111111"), began) is None
    assert await texts.find(to_a_phone(), LETTER, began) is None
    assert await texts.find(message, LETTER, datetime.now(UTC) + timedelta(minutes=1)) is None
    whatsapp = message.model_copy(update={"channel": Channel.WHATSAPP})
    assert await texts.find(whatsapp, LETTER, began) is None


@pytest.mark.parametrize("mode", ["error", "timeout"])
async def test_trouble_and_silence_leave_it_unknown(world: World, texts: TwilioCarrier, mode: str) -> None:
    message = to_a_phone()
    world.fault("twilio", "message.create", mode, delay_seconds=4)
    with pytest.raises(UnavailableError) as trouble:
        await texts.send(message, LETTER)
    assert message.to not in str(trouble.value)
    assert world.count(message) == 0


@pytest.mark.parametrize(
    ("change", "code", "permanent"),
    [
        ({"to": "+15005550009"}, "21614", True),
        ({"channel": Channel.WHATSAPP}, "no_sender", True),
    ],
)
async def test_a_wrong_message_is_refused_for_good(
    texts: TwilioCarrier, change: dict[str, object], code: str, *, permanent: bool
) -> None:
    with pytest.raises(DeliveryError) as refused:
        await texts.send(to_a_phone().model_copy(update=change), LETTER)
    assert (refused.value.code, refused.value.permanent) == (code, permanent)


async def test_a_limit_and_our_own_wrong_account_may_be_mended(world: World, texts: TwilioCarrier) -> None:
    world.fault("twilio", "message.create", "rate_limited")
    with pytest.raises(DeliveryError) as limited:
        await texts.send(to_a_phone(), LETTER)
    assert (limited.value.code, limited.value.permanent) == ("20429", False)
    stranger = phones(world.process.url, "wrong")
    with pytest.raises(DeliveryError) as refused:
        await stranger.send(to_a_phone(), LETTER)
    stranger.close()
    assert (refused.value.code, refused.value.permanent) == ("20003", False)


async def test_a_provider_that_is_away_is_no_answer() -> None:
    away = phones(f"http://127.0.0.1:{free_port()}", "token")
    with pytest.raises(UnavailableError):
        await away.send(to_a_phone(), LETTER)
    away.close()


async def test_mail_is_taken_with_its_sender_and_a_stable_id(world: World, mail: SmtpCarrier) -> None:
    message = to_a_mailbox()
    for _ in range(2):
        assert (await mail.send(message, LETTER)).state is MessageState.SENT
    items = world.http.get("/_control/messages", params={"to": message.to}).json()["items"]
    assert len({one["message_id"] for one in items}) == 1
    assert message.id not in items[0]["message_id"]
    assert items[0]["text"] == LETTER.text
    assert await mail.find(message, LETTER, datetime.now(UTC)) is None


@pytest.mark.parametrize(
    ("mode", "fields", "code", "permanent"),
    [("error", {}, "451", False), ("error", {"status": 550}, "550", True), ("rate_limited", {}, "450", False)],
)
async def test_a_relays_no_is_certain(
    world: World, mail: SmtpCarrier, mode: str, fields: dict[str, object], code: str, *, permanent: bool
) -> None:
    message = to_a_mailbox()
    world.fault("smtp", "send", mode, **fields)
    with pytest.raises(DeliveryError) as refused:
        await mail.send(message, LETTER)
    assert (refused.value.code, refused.value.permanent) == (code, permanent)
    assert world.count(message) == 0


@pytest.mark.parametrize(("mode", "copies"), [("timeout", 0), ("timeout_after_success", 1), ("malformed", 1)])
async def test_a_relays_silence_is_not(world: World, mail: SmtpCarrier, mode: str, copies: int) -> None:
    message = to_a_mailbox()
    world.fault("smtp", "send", mode, delay_seconds=4)
    with pytest.raises(UnavailableError):
        await mail.send(message, LETTER)
    assert world.count(message) == copies


async def test_a_relay_that_is_away_has_taken_nothing() -> None:
    with pytest.raises(DeliveryError) as away:
        await SmtpCarrier(f"smtp://127.0.0.1:{free_port()}", "a@b.in").send(to_a_mailbox(), LETTER)
    assert not away.value.permanent


@pytest.mark.parametrize(("to", "code"), [("nobody@example.in", "550"), ("nobody", "address")])
async def test_a_recipient_whom_nobody_knows_is_refused_for_good(mail: SmtpCarrier, to: str, code: str) -> None:
    with pytest.raises(DeliveryError) as refused:
        await mail.send(to_a_mailbox().model_copy(update={"to": to}), LETTER)
    assert (refused.value.code, refused.value.permanent) == (code, True)


async def test_a_relay_that_wants_a_password_gets_it(world: World) -> None:
    url = world.process.smtp_url.replace("smtp://", "smtp://user:p%40ss@")
    message = to_a_mailbox()
    await SmtpCarrier(url, "a@b.in").send(message, LETTER)
    assert world.count(message) == 1


async def test_channels_that_are_not_configured_wait(world: World) -> None:
    config = world.process.config
    whole = Settings(
        twilio_base_url=world.process.url,
        twilio_account_sid=config.account_sid,
        twilio_auth_token=SecretStr(config.auth_token or ""),
        twilio_sms_from=SENDERS[Channel.SMS],
        smtp_url=SecretStr(world.process.smtp_url),
    )
    for settings, message, served in (
        (Settings(), to_a_phone(), False),
        (Settings(), to_a_mailbox(), False),
        (whole, to_a_phone(), True),
        (whole, to_a_mailbox(), True),
    ):
        with carriers(settings) as carrier:
            if served:
                assert (await carrier.send(message, LETTER)).state is MessageState.SENT
                continue
            with pytest.raises(DeliveryError) as refused:
                await carrier.send(message, LETTER)
            assert (refused.value.code, refused.value.permanent) == ("unconfigured", False)


def test_two_servers_cannot_take_mail_at_one_port(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        config = replace(CONFIG, smtp_port=taken.getsockname()[1])
        with pytest.raises(RuntimeError, match="address already in use"):
            SandboxProcess(config, log=tmp_path / "log").start()
