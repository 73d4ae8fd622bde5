"""The pages a person sees: what they show, what their buttons do, and where results may go."""

import re
from html import unescape

import httpx
import pytest

from sandbox.pages import rupees
from tests.sandbox.support import MERCHANT, Json, Sandbox, until

CALLBACK = f"{MERCHANT}/v1/paid"


def press(sandbox: Sandbox, order: Json, query: str = "", **form: str) -> httpx.Response:
    return sandbox.http.post(f"/checkout/{order['id']}{query}", data=form, follow_redirects=True)


def shown(page: httpx.Response) -> str:
    """Give what a reader sees: the text without its tags."""
    assert page.status_code == 200, page.text
    return unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", page.text)))


@pytest.mark.parametrize(
    ("paise", "text"),
    [
        (0, "₹0.00"),
        (5, "₹0.05"),
        (50000, "₹500.00"),
        (100000, "₹1,000.00"),
        (12345678, "₹1,23,456.78"),
        (1234567890, "₹1,23,45,678.90"),
    ],
)
def test_amounts_are_grouped_as_in_india(paise: int, text: str) -> None:
    assert rupees(paise) == text


def test_the_index_lists_orders_newest_first_with_links(sandbox: Sandbox) -> None:
    assert "No order yet" in shown(sandbox.http.get("/"))
    first, second = sandbox.order(receipt="apt_1"), sandbox.order(amount=12345600)
    page = sandbox.http.get("/")
    assert re.findall(r'href="/checkout/(order_\w+)"', page.text) == [second["id"], first["id"]]
    assert "₹1,23,456.00" in shown(page)
    assert "apt_1" in shown(page)


def test_the_checkout_shows_amount_order_and_all_ways_to_go_on(sandbox: Sandbox) -> None:
    order = sandbox.order(receipt="apt_1")
    text = shown(sandbox.http.get(f"/checkout/{order['id']}"))
    for part in ("₹500.00", str(order["id"]), "apt_1", "Pay ₹500.00", "Bank captures by itself", "Bank declines"):
        assert part in text
    assert "Close the tab" in text
    assert "Pay late" in text


def test_pages_allow_nothing_from_elsewhere_and_no_script(sandbox: Sandbox) -> None:
    order = sandbox.order()
    for path in ("/", f"/checkout/{order['id']}", "/checkout/order_none"):
        page = sandbox.http.get(path)
        policy = page.headers["content-security-policy"]
        assert policy == (
            "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'; "
            f"form-action 'self' {MERCHANT}"
        )
        assert page.headers["x-content-type-options"] == "nosniff"
        assert page.headers["cache-control"] == "no-store"
        assert not re.search(r"<script|<style|\son\w+=|style=", page.text)
        assert not re.search(r"""(src|href)="(?!/)""", page.text)
    for name, kind in (("pages.css", "text/css"), ("icon.svg", "image/svg+xml")):
        answer = sandbox.http.get(f"/static/{name}")
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith(kind)
    assert sandbox.http.get("/static/../server.py").status_code == 404


def test_what_a_merchant_writes_is_escaped(sandbox: Sandbox) -> None:
    order = sandbox.order(receipt='<script>alert("x")</script>')
    for path in ("/", f"/checkout/{order['id']}"):
        page = sandbox.http.get(path)
        assert "<script" not in page.text
        assert "&lt;script&gt;" in page.text
    assert "<script" not in sandbox.http.get("/checkout/<script>").text
    assert "<img" not in sandbox.http.get(f"/checkout/{order['id']}?payment=<img>").text.split("<main>")[1]


def test_paying_shows_what_goes_back_to_the_merchant(sandbox: Sandbox) -> None:
    order = sandbox.order()
    page = press(sandbox, order, action="pay", outcome="authorized", method="card", after_seconds="0")
    [payment] = sandbox.client.order.payments(order["id"])["items"]
    assert (payment["status"], payment["method"]) == ("authorized", "card")
    handed_back = dict(re.findall(r"<dt>(razorpay_\w+)</dt><dd[^>]*>(\w+)</dd>", page.text))
    assert handed_back.keys() == {"razorpay_payment_id", "razorpay_order_id", "razorpay_signature"}
    assert sandbox.client.utility.verify_payment_signature(handed_back)
    assert "Pay with" not in shown(page)


@pytest.mark.parametrize(("outcome", "status"), [("captured", "captured"), ("failed", "failed")])
def test_a_bank_captures_or_declines(sandbox: Sandbox, outcome: str, status: str) -> None:
    order = sandbox.order()
    page = press(sandbox, order, action="pay", outcome=outcome)
    [payment] = sandbox.client.order.payments(order["id"])["items"]
    assert payment["status"] == status
    assert ("Payment failed" in shown(page)) is (outcome == "failed")
    assert ("razorpay_signature" in page.text) is (outcome != "failed")
    assert ("Pay with" in shown(page)) is (outcome == "failed")


def test_closing_the_tab_pays_nothing(sandbox: Sandbox) -> None:
    order = sandbox.order()
    assert "You closed the tab" in shown(press(sandbox, order, action="close"))
    assert sandbox.client.order.fetch(order["id"])["status"] == "created"


def test_paying_late_waits_on_the_page_until_it_has_happened(sandbox: Sandbox) -> None:
    order = sandbox.order()
    page = press(sandbox, order, action="pay", outcome="authorized", after_seconds="1")
    assert "Paying later" in shown(page)
    assert 'http-equiv="refresh"' in page.text
    until(lambda: bool(sandbox.client.order.payments(order["id"])["count"] == 1), "the late payment")
    done = sandbox.http.get(page.request.url)
    assert "₹500.00 authorized" in shown(done)
    assert 'http-equiv="refresh"' not in done.text


def test_a_bank_says_yes_after_all_and_a_payment_lapses(sandbox: Sandbox) -> None:
    order = sandbox.order()
    failed = sandbox.pay(order, "failed")
    assert "Bank says yes after all" in shown(sandbox.http.get(f"/checkout/{order['id']}"))
    press(sandbox, order, action="late", payment_id=failed)
    assert sandbox.payment(failed)["status"] == "authorized"
    press(sandbox, order, action="lapse", payment_id=failed)
    assert sandbox.payment(failed)["status"] == "refunded"


def test_results_go_to_the_merchant_only(sandbox: Sandbox) -> None:
    order = sandbox.order()
    paid = press(sandbox, order, f"?callback={CALLBACK}", action="pay", outcome="authorized")
    assert f'<form method="post" action="{CALLBACK}">' in paid.text
    assert "callback address is not" not in shown(paid)
    for address in (
        "https://evil.example/x",
        f"{MERCHANT}.evil.example/x",
        f"{MERCHANT}@evil.example/x",
        MERCHANT.replace("https", "http") + "/x",
        MERCHANT + ":8443/x",
        "javascript:alert(1)",
        "//evil.example",
        "http://[",
        "",
    ):
        page = sandbox.http.get(paid.request.url.path, params={**paid.request.url.params, "callback": address})
        assert "callback address is not" in shown(page), address
        assert not re.search(r'action="(?!/checkout/)', page.text), address


@pytest.mark.parametrize(
    ("form", "status"),
    [
        ({"action": "pay", "outcome": "paid"}, 400),
        ({"action": "pay", "outcome": "authorized", "method": "cash"}, 400),
        ({"action": "pay", "outcome": "authorized", "after_seconds": "-1"}, 400),
        ({"action": "pay", "outcome": "authorized", "after_seconds": "²"}, 400),
        ({"action": "late", "payment_id": "pay_none"}, 404),
        ({}, 404),
    ],
)
def test_a_forged_form_does_nothing(sandbox: Sandbox, form: dict[str, str], status: int) -> None:
    order = sandbox.order()
    assert press(sandbox, order, **form).status_code == status
    assert sandbox.client.order.payments(order["id"])["count"] == 0


def test_another_orders_payment_is_not_shown_or_touched(sandbox: Sandbox) -> None:
    order, other = sandbox.order(), sandbox.order()
    payment_id = sandbox.pay(other)
    assert sandbox.http.get(f"/checkout/{order['id']}?payment={payment_id}").status_code == 404
    assert press(sandbox, order, action="lapse", payment_id=payment_id).status_code == 404
    assert press(sandbox, other, action="fly", payment_id=payment_id).status_code == 400
    assert sandbox.payment(payment_id)["status"] == "authorized"


def test_another_site_cannot_press_the_buttons(sandbox: Sandbox) -> None:
    order = sandbox.order()
    form = {"action": "pay", "outcome": "authorized"}
    path = f"/checkout/{order['id']}"
    for origin in ("https://evil.example", "null"):
        assert sandbox.http.post(path, data=form, headers={"origin": origin}).status_code == 403
    assert sandbox.client.order.payments(order["id"])["count"] == 0
    own = sandbox.http.post(path, data=form, headers={"origin": sandbox.process.url})
    assert own.status_code == 303


def test_paying_twice_says_that_it_is_paid(sandbox: Sandbox) -> None:
    order = sandbox.order()
    sandbox.pay(order, "captured")
    page = press(sandbox, order, action="pay", outcome="authorized")
    assert page.status_code == 400
    assert "already paid" in page.text
