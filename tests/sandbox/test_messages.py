"""The stand-in for text messages, held against the vendor's own client; its callbacks, faults and inbox pages."""

import re
import time
from collections.abc import Callable, Iterator
from html import unescape
from urllib.parse import parse_qsl

import httpx
import pytest
from twilio.base.exceptions import TwilioRestException
from twilio.http.http_client import TwilioHttpClient
from twilio.request_validator import RequestValidator
from twilio.rest import Client

from tests.sandbox.support import ACCOUNT_SID, AUTH_TOKEN, Json, Merchant, Sandbox, until

PHONE = "+919812345678"
SENDER = "+15005550006"
Connect = Callable[..., Client]


@pytest.fixture
def connect(sandbox: Sandbox) -> Iterator[Connect]:
    made: list[TwilioHttpClient] = []

    def client(account: str = ACCOUNT_SID, token: str = AUTH_TOKEN, seconds: float = 5) -> Client:
        http = TwilioHttpClient(timeout=seconds)
        made.append(http)
        found = Client(account, token, http_client=http)
        found.api.base_url = sandbox.process.url
        return found

    yield client
    for http in made:
        http.session.close()


def messages(sandbox: Sandbox, to: str | None = None) -> list[Json]:
    answer = sandbox.http.get("/_control/messages", params={} if to is None else {"to": to})
    assert answer.status_code == 200
    items: list[Json] = answer.json()["items"]
    return items


def callbacks(shop: Merchant, sid: str | None) -> list[dict[str, str]]:
    forms = [dict(parse_qsl(item.body.decode())) for item in [*shop.received]]
    return [form for form in forms if form["MessageSid"] == sid]


def test_a_text_is_queued_sent_and_delivered_and_shown_with_its_words(sandbox: Sandbox, connect: Connect) -> None:
    client = connect()
    made = client.messages.create(to=PHONE, from_=SENDER, body="Your code is 123456")
    assert (made.status, made.to, made.from_, made.num_segments) == ("queued", PHONE, SENDER, "1")
    assert made.sid is not None
    assert re.fullmatch(r"SM[0-9a-f]{32}", made.sid)
    until(lambda: client.messages(made.sid).fetch().status == "delivered", "delivery")
    fetched = client.messages(made.sid).fetch()
    assert fetched.date_sent is not None
    [shown] = messages(sandbox, PHONE)
    assert (shown["id"], shown["channel"], shown["to"]) == (made.sid, "sms", PHONE)
    assert (shown["text"], shown["status"]) == ("Your code is 123456", "delivered")


def test_messages_are_listed_newest_first_by_address_also_where_the_plus_was_lost(
    sandbox: Sandbox, connect: Connect
) -> None:
    client = connect()
    for number, words in ((PHONE, "one"), ("+919800000000", "two"), (PHONE, "three")):
        client.messages.create(to=number, from_=SENDER, body=words)
    assert [one["text"] for one in messages(sandbox)] == ["three", "two", "one"]
    assert [one["text"] for one in messages(sandbox, PHONE)] == ["three", "one"]
    # Their statuses go on meanwhile.
    found = sandbox.http.get(f"/_control/messages?to={PHONE}").json()["items"]
    assert [one["id"] for one in found] == [one["id"] for one in messages(sandbox, PHONE)]


def test_the_vendors_list_pages_and_filters(connect: Connect) -> None:
    client = connect()
    for number in range(5):
        client.messages.create(to=PHONE, from_=SENDER, body=str(number))
    client.messages.create(to=f"whatsapp:{PHONE}", from_="whatsapp:+14155238886", body="other channel")
    assert [one.body for one in client.messages.list(to=PHONE, page_size=2)] == ["4", "3", "2", "1", "0"]
    assert [one.body for one in client.messages.list(to=f"whatsapp:{PHONE}")] == ["other channel"]
    assert client.messages.list(to="+919800000000") == []


def test_the_words_of_a_message_are_forgotten_once_it_has_left(sandbox: Sandbox, connect: Connect) -> None:
    client = connect()
    made = client.messages.create(to=PHONE, from_=SENDER, body="Your code is 123456")
    assert made.sid is not None
    until(lambda: client.messages(made.sid).fetch().status == "delivered", "delivery")
    with pytest.raises(TwilioRestException) as refused:
        client.messages(made.sid).update(body="other words")
    assert refused.value.status == 400
    for _ in range(2):
        assert client.messages(made.sid).update(body="").body == ""
    [shown] = messages(sandbox, PHONE)
    assert (shown["id"], shown["text"], shown["status"]) == (made.sid, "", "delivered")


def test_whatsapp_keeps_its_prefix_on_the_wire_and_not_in_the_inbox(sandbox: Sandbox, connect: Connect) -> None:
    made = connect().messages.create(to=f"whatsapp:{PHONE}", from_="whatsapp:+14155238886", body="hello")
    assert made.to == f"whatsapp:{PHONE}"
    [shown] = messages(sandbox, PHONE)
    assert (shown["channel"], shown["to"]) == ("whatsapp", PHONE)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"to": "12345", "from_": SENDER, "body": "x"}, 21211),
        ({"to": "+15005550001", "from_": SENDER, "body": "x"}, 21211),
        ({"to": "+15005550004", "from_": SENDER, "body": "x"}, 21610),
        ({"to": "+15005550009", "from_": SENDER, "body": "x"}, 21614),
        ({"to": PHONE, "body": "x"}, 21603),
        ({"to": PHONE, "from_": SENDER}, 21602),
        ({"to": PHONE, "from_": SENDER, "body": "x" * 1601}, 21617),
        ({"to": PHONE, "from_": "whatsapp:+14155238886", "body": "x"}, 63007),
        ({"to": PHONE, "from_": SENDER, "body": "x", "status_callback": "ftp://nowhere"}, 21609),
    ],
)
def test_refusals_carry_the_vendors_codes(
    sandbox: Sandbox, connect: Connect, fields: dict[str, str], code: int
) -> None:
    with pytest.raises(TwilioRestException) as refused:
        connect().messages.create(**fields)
    assert (refused.value.status, refused.value.code) == (400, code)
    assert messages(sandbox) == []


def test_only_the_account_itself_gets_in(connect: Connect) -> None:
    for client, status, code in (
        (connect(token="wrong"), 401, 20003),
        (connect(account="AC" + "1" * 32), 401, 20003),
    ):
        with pytest.raises(TwilioRestException) as refused:
            client.messages.create(to=PHONE, from_=SENDER, body="x")
        assert (refused.value.status, refused.value.code) == (status, code)
    with pytest.raises(TwilioRestException) as refused:
        connect().messages("SM" + "0" * 32).fetch()
    assert (refused.value.status, refused.value.code) == (404, 20404)


def test_status_callbacks_are_signed_forms(shop: Merchant, connect: Connect) -> None:
    url = f"{shop.url}?message=msg_1"
    sid = connect().messages.create(to=PHONE, from_=SENDER, body="x", status_callback=url).sid
    until(lambda: len(callbacks(shop, sid)) == 2, "two callbacks")
    assert sorted(form["MessageStatus"] for form in callbacks(shop, sid)) == ["delivered", "sent"]
    validator = RequestValidator(AUTH_TOKEN)
    for received in shop.received:
        form = dict(parse_qsl(received.body.decode()))
        assert received.path.endswith("?message=msg_1")
        assert validator.validate(url, form, received.headers["x-twilio-signature"])
        assert not validator.validate(f"{url}x", form, received.headers["x-twilio-signature"])


def test_what_becomes_of_a_message_can_be_decided(sandbox: Sandbox, shop: Merchant, connect: Connect) -> None:
    client = connect()
    sid = client.messages.create(to=PHONE, from_=SENDER, body="x", status_callback=shop.url).sid
    decided = sandbox.control(f"messages/{sid}/status", {"status": "undelivered", "error_code": 30003})
    assert (decided["status"], decided["error_code"]) == ("undelivered", 30003)
    until(lambda: any(form["MessageStatus"] == "undelivered" for form in callbacks(shop, sid)), "the callback")
    assert [form["ErrorCode"] for form in callbacks(shop, sid) if form["MessageStatus"] == "undelivered"] == ["30003"]
    assert sid is not None
    assert client.messages(sid).fetch().status == "undelivered"
    sandbox.control("messages/SM0/status", {"status": "sent"}, 404)
    sandbox.control(f"messages/{sid}/status", {"status": "eaten"}, 422)


@pytest.mark.parametrize(("mode", "status", "kept"), [("error", 500, 0), ("rate_limited", 429, 0), ("slow", 201, 1)])
def test_faults_with_an_answer(sandbox: Sandbox, connect: Connect, mode: str, status: int, kept: int) -> None:
    delay = {"delay_seconds": 0.05} if mode == "slow" else {}
    sandbox.control("faults", {"service": "twilio", "operation": "message.create", "mode": mode, "times": 1, **delay})
    if status == 201:
        assert connect().messages.create(to=PHONE, from_=SENDER, body="x").status == "queued"
    else:
        with pytest.raises(TwilioRestException) as refused:
            connect().messages.create(to=PHONE, from_=SENDER, body="x")
        assert refused.value.status == status
        assert refused.value.code == {500: 20500, 429: 20429}[status]
    assert len(messages(sandbox)) == kept


@pytest.mark.parametrize(("mode", "kept"), [("timeout", 0), ("timeout_after_success", 1)])
def test_a_caller_that_gives_up_does_not_know_but_the_phone_does(
    sandbox: Sandbox, connect: Connect, mode: str, kept: int
) -> None:
    sandbox.control("faults", {"service": "twilio", "operation": "message.create", "mode": mode, "times": 1})
    began = time.monotonic()
    with pytest.raises(OSError, match="timed out"):
        connect(seconds=0.3).messages.create(to=PHONE, from_=SENDER, body="x")
    assert time.monotonic() - began < 5
    assert len(messages(sandbox)) == kept


def test_a_broken_answer_comes_after_the_message_was_taken(sandbox: Sandbox, connect: Connect) -> None:
    sandbox.control("faults", {"service": "twilio", "operation": "message.create", "mode": "malformed", "times": 1})
    with pytest.raises(ValueError, match=r"Expecting|Unterminated|delimiter"):
        connect().messages.create(to=PHONE, from_=SENDER, body="x")
    assert len(messages(sandbox)) == 1


def test_a_service_has_only_its_own_operations(sandbox: Sandbox) -> None:
    for service, operation in (("razorpay", "message.create"), ("twilio", "send"), ("smtp", "order.create")):
        sandbox.control("faults", {"service": service, "operation": operation, "mode": "error", "times": 1}, 422)
    sandbox.control("faults", {"service": "twilio", "operation": "message.list", "mode": "error", "times": 2})
    [armed] = sandbox.http.get("/_control/faults").json()["items"]
    assert (armed["service"], armed["operation"], armed["times"]) == ("twilio", "message.list", 2)


def test_a_phone_shows_its_messages_and_nobody_elses(sandbox: Sandbox, connect: Connect) -> None:
    assert "Nobody has been written to yet" in sandbox.http.get("/inbox").text
    client = connect()
    client.messages.create(to=PHONE, from_=SENDER, body="Code <b>123456</b> https://clinic.example/x")
    client.messages.create(to="+919800000000", from_=SENDER, body="for another")
    listed = sandbox.http.get("/inbox")
    assert sorted(re.findall(r'href="/inbox/([^"]+)"', listed.text)) == ["%2B919800000000", "%2B919812345678"]
    page = sandbox.http.get(f"/inbox/{PHONE}")
    assert "Code <b>123456</b>" in unescape(page.text)
    assert "<b>" not in page.text
    assert 'href="https://clinic.example/x"' in page.text
    assert "for another" not in page.text
    assert "script" not in page.headers["content-security-policy"]
    assert "Nothing has arrived" in sandbox.http.get("/inbox/+911111111111").text


def test_reset_empties_every_inbox(sandbox: Sandbox, connect: Connect) -> None:
    connect().messages.create(to=PHONE, from_=SENDER, body="x")
    sandbox.control("reset", {})
    assert messages(sandbox) == []


def test_without_an_account_nobody_gets_in(sandbox: Sandbox) -> None:
    answer = httpx.post(
        f"{sandbox.process.url}/2010-04-01/Accounts/{ACCOUNT_SID}/Messages.json", data={"To": PHONE, "Body": "x"}
    )
    assert (answer.status_code, answer.json()["code"]) == (401, 20003)
