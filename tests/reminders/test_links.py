"""Links in messages: a page for any browser, on which a patient says yes, moves the visit or cancels it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from html import unescape
from html.parser import HTMLParser

import httpx
import pytest_asyncio

from models.identity import Account
from models.links import Link, LinkPurpose, link_token
from tests.booking.support import book, book_paid, look, nothing_changes, ok, problem, somebody, start_in
from tests.clinics import offer
from tests.stack import Json, Stack, eventually

OPENING = frozenset({LinkPurpose.ATTEND, LinkPurpose.CHOOSE})
FREE, PAID = offer("steady", "free"), offer("steady", "visit")
PAGE = {"Accept": "text/html,application/xhtml+xml"}


def a_link(stack: Stack, who: Account, appointment: Json, **change: object) -> str:
    """The link as it stands in a message."""
    fields = {
        "purpose": LinkPurpose.ATTEND,
        "tenant_id": "tnt_steady",
        "appointment_id": appointment["id"],
        "subject_id": who.id,
        "expires_at": datetime.now(UTC) + timedelta(days=1),
        **change,
    }
    return f"/v1/links/{link_token(stack.settings.id_secret, Link.model_validate(fields))}"


@pytest_asyncio.fixture
async def reader(shared_stack: Stack) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody who has not signed in."""
    async with shared_stack.anonymous() as client:
        yield client


class Outline(HTMLParser):
    """What a page has: its elements, with their attributes, and the words between them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def actions(self) -> list[str]:
        return [str(one["action"]) for one in self.all("form")]


async def test_a_link_shows_the_visit_and_looking_is_not_acting(shared_stack: Stack, reader: httpx.AsyncClient) -> None:
    who = somebody()
    async with shared_stack.client(who) as patient:
        visit = await book(shared_stack, patient, FREE, reason="a secret ailment")
    link = a_link(shared_stack, who, visit)
    async with nothing_changes(shared_stack):
        seen = ok(await reader.get(link))
        page = await reader.get(link, headers=PAGE)
    assert (seen["reference"], seen["state"], seen["attending"]) == (visit["reference"], "confirmed", False)
    assert seen["actions"] == ["confirm", "reschedule", "cancel"]
    assert visit["start"] not in seen["times"]
    days = Counter(one[:10] for one in seen["times"])
    assert len(days) >= 3, "a choice of days"
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    for text in (page.text, str(seen)):
        assert "secret ailment" not in text
        assert str(who.phone) not in text
        assert who.id not in text


async def test_the_page_is_plain_and_safe(shared_stack: Stack, reader: httpx.AsyncClient) -> None:
    who = somebody()
    async with shared_stack.client(who) as patient:
        visit = await book(shared_stack, patient, FREE)
    link = a_link(shared_stack, who, visit)
    page = await reader.get(link, headers={**PAGE, "Accept-Language": "hi-IN,hi;q=0.9"})
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "form-action 'self'" in policy
    assert page.headers["referrer-policy"] == "no-referrer"
    assert page.headers["cache-control"] == "no-store"
    outline = Outline(page.text)
    [html] = outline.all("html")
    assert html["lang"] == page.headers["content-language"] == "hi", "nobody knows what the patient reads"
    assert not outline.all("script")
    assert not [one for _, one in outline.elements if any(name.startswith("on") or name == "style" for name in one)]
    assert len(outline.all("h1")) == len(outline.all("main")) == 1
    # Every button says by itself what it does.
    assert all(text.strip() for text in re.findall(r"<button[^>]*>([^<]*)</button>", page.text))
    hindi = await reader.get(f"{link}?lang=hi", headers=PAGE)
    assert Outline(hindi.text).all("html")[0]["lang"] == "hi"
    assert "हाँ, मैं आ रहा/रही हूँ" in hindi.text
    problem(await reader.get(f"{link}?lang=xx"), 422, "invalid")


async def test_a_patient_says_yes_once(shared_stack: Stack, reader: httpx.AsyncClient) -> None:
    who = somebody()
    async with shared_stack.client(who) as patient:
        visit = await book(shared_stack, patient, FREE)
        link = a_link(shared_stack, who, visit)
        for _ in range(2):
            said = ok(await reader.post(f"{link}/confirm"))
            assert (said["attending"], said["actions"]) == (True, ["reschedule", "cancel"])
        seen = await look(patient, visit["id"])
    told = [one for one in seen["history"] if one["event"] == "appointment.attendance_confirmed"]
    assert [(one["by"], one["state"]) for one in told] == [("patient", "confirmed")]
    assert seen["waiting_for"] == visit["waiting_for"]

    async def audited() -> list[str]:
        return sorted(one["action"] for one in shared_stack.db.audit.find({"target": visit["id"], "actor": who.id}))

    wanted = ["appointment.attendance_confirmed", "appointment.confirmed", "link.used", "link.used"]
    await eventually(audited, lambda found: found == wanted)


async def test_a_browser_is_led_back_to_the_page(shared_stack: Stack, reader: httpx.AsyncClient) -> None:
    who = somebody()
    async with shared_stack.client(who) as patient:
        visit = await book(shared_stack, patient, FREE)
    link = a_link(shared_stack, who, visit)
    page = Outline((await reader.get(f"{link}?lang=hi", headers=PAGE)).text)
    yes = next(one for one in page.actions if "/confirm" in one)
    done = await reader.post(yes, headers=PAGE)
    assert (done.status_code, done.headers["location"]) == (303, f"{link}?lang=hi")
    after = await reader.get(done.headers["location"], headers=PAGE)
    assert "आपने बताया है कि आप आ रहे हैं" in after.text
    move = next(one for one in Outline(after.text).actions if "/reschedule" in one)
    moved = await reader.post(unescape(move), headers=PAGE)
    assert moved.status_code == 303, moved.text
    seen = ok(await reader.get(link))
    assert seen["start"] != visit["start"]
    assert seen["attending"] is False, "what was said was about the other time"


async def test_a_patient_moves_the_visit_and_then_cancels_it(shared_stack: Stack, reader: httpx.AsyncClient) -> None:
    who = somebody()
    async with shared_stack.client(who) as patient:
        visit = await book_paid(shared_stack, patient, PAID)
        link = a_link(shared_stack, who, visit)
        [*_, start] = ok(await reader.get(link))["times"]
        moved = ok(await reader.post(f"{link}/reschedule", params={"start": start}))
        assert (moved["start"], moved["state"]) == (start, "confirmed")
        assert (await look(patient, visit["id"]))["start"] == start
        problem(await reader.post(f"{link}/reschedule", params={"start": "2031-01-06T04:31:00Z"}), 422, "too_far")
        over = ok(await reader.post(f"{link}/cancel"))
        assert (over["state"], over["actions"], over["times"]) == ("cancelled", [], [])
        seen = await look(patient, visit["id"])
        assert seen["history"][-1]["by"] != "clinic"
        assert [one["reason"] for one in seen["refunds"]] == ["cancelled_by_patient"]
    # The state allows nothing any more; the page says so.
    for action in ("confirm", "cancel", f"reschedule?start={start}"):
        problem(await reader.post(f"{link}/{action}"), 409, "state_conflict")
        page = await reader.post(f"{link}/{action}", headers=PAGE)
        assert page.status_code == 409
        assert 'role="alert"' in page.text
        assert "This visit is cancelled." in page.text


async def test_too_late_to_move_is_said_and_cancelling_stays(shared_stack: Stack, reader: httpx.AsyncClient) -> None:
    who = somebody()
    async with shared_stack.client(who) as patient:
        visit = await book(shared_stack, patient, FREE, await start_in(shared_stack, FREE, 1.2))
    link = a_link(shared_stack, who, visit)
    assert ok(await reader.get(link))["actions"] == ["confirm", "cancel"]
    later = await start_in(shared_stack, FREE, 30)
    problem(await reader.post(f"{link}/reschedule", params={"start": later}), 409, "window_closed")
    page = await reader.post(f"{link}/reschedule", params={"start": later}, headers=PAGE)
    assert (page.status_code, "Please call the clinic" in page.text) == (409, True)


async def test_only_a_whole_link_of_ours_opens_anything(shared_stack: Stack, reader: httpx.AsyncClient) -> None:
    who, other = somebody(), somebody()
    async with shared_stack.client(who) as patient:
        visit = await book(shared_stack, patient, FREE)
    good = a_link(shared_stack, who, visit)
    strangers = [
        good[:-1] + ("A" if good[-1] != "A" else "B"),
        good[:-9],
        "/v1/links/lnk.x.y",
        "/v1/links/%D8%A7",
        a_link(shared_stack, other, visit),
        *(a_link(shared_stack, who, visit, purpose=one) for one in LinkPurpose if one not in OPENING),
    ]
    async with nothing_changes(shared_stack):
        for link in strangers:
            problem(await reader.get(link), 404, "not_found")
            problem(await reader.post(f"{link}/cancel"), 404, "not_found")
            page = await reader.get(link, headers=PAGE)
            assert (page.status_code, "This link leads nowhere." in page.text) == (404, True)
        old = a_link(shared_stack, who, visit, expires_at=datetime.now(UTC) - timedelta(seconds=1))
        problem(await reader.get(old), 410, "link_spent")
        problem(await reader.post(f"{old}/cancel"), 410, "link_spent")


async def test_a_link_is_not_tried_without_end(reader: httpx.AsyncClient) -> None:
    refused: httpx.Response | None = None
    for _ in range(130):
        answer = await reader.get("/v1/links/lnk.once.more")
        if answer.status_code == 429:
            refused = answer
            break
    assert refused is not None
    problem(refused, 429, "rate_limited")
    page = await reader.get("/v1/links/lnk.once.more", headers=PAGE)
    assert page.status_code in {404, 429}
