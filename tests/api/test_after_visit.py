"""The links of messages after a visit: rated and read without signing in, by whoever it was told."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Final

import pytest

from adapters.mongo.repositories import Repositories
from models.booking import Appointment, AppointmentState
from models.identity import System, Tenant
from models.ids import random_id, review_id
from models.links import Link, LinkPurpose, link_token
from models.reviews import LOW
from models.staff_tasks import TaskKind, TaskState, task_of
from tests.api import test_reviews
from tests.api.conftest import Api
from tests.api.consultations import a_report, a_summary

WORLD: Final = System("a test of links")
HOURS: Final = count(3)


async def visited(stores: Repositories) -> Appointment:
    """A visit that is over, at an hour of its own."""
    return await test_reviews.visited(stores, hours_ago=next(HOURS))


def path_to(api: Api, visit: Appointment, purpose: LinkPurpose, hours: float = 1) -> str:
    """Where a message's link leads."""
    link = Link(
        purpose=purpose,
        tenant_id=visit.tenant_id,
        appointment_id=visit.id,
        subject_id=visit.subject_id,
        expires_at=datetime.now(UTC) + timedelta(hours=hours),
    )
    return f"/v1/links/{link_token(api.settings.id_secret, link)}/{purpose}"


async def test_a_visit_is_rated_by_link_and_rated_otherwise_later(api: Api, stores: Repositories) -> None:
    visit = await visited(stores)
    path = path_to(api, visit, LinkPurpose.REVIEW)
    async with api.client(None) as browser:
        form = await browser.get(path)
        assert (form.status_code, form.headers["content-type"]) == (200, "text/html; charset=utf-8")
        assert 'lang="en"' in form.text
        assert len(re.findall('type="radio"', form.text)) == 5
        assert "<script" not in form.text
        assert await stores.reviews.find(WORLD, review_id(visit.id)) is None, "a mail scanner looks too"
        done = await browser.post(path, data={"rating": "4", "nps": "9", "comment": " <b>Kind</b> "})
        assert done.status_code == 200, done.text
        assert "&lt;b&gt;Kind&lt;/b&gt;" in done.text
        again = await browser.post(f"{path}?lang=hi", data={"rating": "2", "nps": "", "comment": ""})
        assert "धन्यवाद" in again.text
        seen = await browser.get(path)
        assert re.search(r'value="2" required checked', seen.text)
    review = await stores.reviews.find(Tenant(visit.tenant_id), review_id(visit.id))
    assert review is not None
    assert (review.opinion.rating, review.opinion.nps, review.opinion.comment) == (2, None, None)
    assert review.opinion.rating <= LOW


@pytest.mark.parametrize("form", [{}, {"rating": "6"}, {"rating": "0"}, {"rating": "3", "nps": "11"}])
async def test_a_form_that_makes_no_sense_changes_nothing(api: Api, stores: Repositories, form: dict[str, str]) -> None:
    visit = await visited(stores)
    async with api.client(None) as browser:
        answer = await browser.post(path_to(api, visit, LinkPurpose.REVIEW), data=form)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")
    assert await stores.reviews.find(WORLD, review_id(visit.id)) is None


async def test_the_summary_is_read_by_link_and_the_look_is_noted(api: Api, stores: Repositories) -> None:
    visit = await visited(stores)
    path = path_to(api, visit, LinkPurpose.SUMMARY)
    async with api.client(None) as browser:
        assert (await browser.get(path)).status_code == 404
        words = {"notes": "Rest\n<i>much</i>", "diagnosis": "Cold", "follow_up_on": "2032-12-01"}
        await stores.consultations.add(WORLD, a_summary(visit, **words))
        page = await browser.get(path)
        hindi = await browser.get(f"{path}?lang=hi")
    assert (page.status_code, page.headers["cache-control"]) == (200, "no-store")
    for text in ("Cold", "&lt;i&gt;much&lt;/i&gt;", "Paracetamol 500 mg tablet, 1, 1-0-1, 3 days", "1 December 2032"):
        assert text in page.text
    assert "पर्चा" in hindi.text


async def test_the_summarys_page_leads_to_the_visits_documents_for_some_minutes(api: Api, stores: Repositories) -> None:
    visit = await visited(stores)
    await stores.consultations.add(WORLD, a_summary(visit))
    path, content = path_to(api, visit, LinkPurpose.SUMMARY), b"%PDF-1.4 blood"
    async with api.client("doctor") as doctor:
        file = ("<i>blood.pdf", content, "application/pdf")
        to = f"/v1/appointments/{visit.id}/documents"
        added = await doctor.post(to, files={"file": file}, data={"kind": "lab_report"})
        assert added.status_code == 201, added.text
    await stores.documents.begin(WORLD, a_report(visit, random_id("doc"), name="half-stored.pdf"))
    async with api.client(None) as browser:
        page = (await browser.get(path)).text
        [(link, name)] = re.findall(r'<a href="(/v1/documents/[^"]+)">([^<]+)</a>', page)
        assert name == "&lt;i&gt;blood.pdf"
        assert "(lab report)" in page
        assert "half-stored" not in page
        assert "(जाँच रिपोर्ट)" in (await browser.get(f"{path}?lang=hi")).text
        read = await browser.get(link)
        assert (read.status_code, read.content) == (200, content)
        assert (await browser.get(link.replace(added.json()["id"], random_id("doc")))).status_code == 401
        other = await visited(stores)
        await stores.consultations.add(WORLD, a_summary(other))
        assert "/v1/documents/" not in (await browser.get(path_to(api, other, LinkPurpose.SUMMARY))).text


async def test_where_a_link_does_not_work_a_browser_shows_a_page_and_a_program_gets_a_problem(
    api: Api, stores: Repositories
) -> None:
    visit = await visited(stores)
    over, unwritten = path_to(api, visit, LinkPurpose.SUMMARY, -1), path_to(api, visit, LinkPurpose.SUMMARY)
    to_rate = path_to(api, visit, LinkPurpose.REVIEW)
    cases = (
        ("GET", over, 410, "This link is over"),
        ("GET", unwritten, 404, "This link leads nowhere"),
        ("GET", "/v1/links/made.up/unsubscribe", 404, "This link leads nowhere"),
        ("GET", "/v1/links/made.up/nothing", 404, "This link leads nowhere"),
        ("POST", to_rate, 422, "Something is missing"),
        ("DELETE", to_rate, 405, "That did not work"),
        ("GET", f"/v1/documents/{random_id('doc')}/content?token=old", 401, "good for a few minutes only"),
    )
    async with api.client(None, Accept="text/html,*/*;q=0.8") as browser, api.client(None) as program:
        for method, path, status, text in cases:
            page = await browser.request(method, path)
            assert (page.status_code, page.headers["content-type"]) == (status, "text/html; charset=utf-8"), path
            assert ("www-authenticate" in page.headers) is (status == 401)
            assert text in page.text
            assert "default-src 'none'" in page.headers["content-security-policy"]
            leads_here_again = method == "GET" and path.startswith("/v1/links/")
            assert ('hreflang="hi"' in page.text) is leads_here_again
            answer = await program.request(method, path)
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.status_code == status
        hindi = await browser.get(over, headers={"Accept-Language": "hi-IN,en;q=0.5"})
        assert "यह लिंक समाप्त हो चुका है" in hindi.text
        assert (await browser.get("/v1/appointments")).headers["content-type"] == "application/problem+json"
        odd = await browser.get("/v1/links/%22%3E%3Cscript%3E/review")
        assert (odd.status_code, "<script>" in odd.text) == (404, False)


async def test_a_link_for_one_thing_opens_no_other_and_not_for_ever(api: Api, stores: Repositories) -> None:
    visit = await visited(stores)
    await stores.consultations.add(WORLD, a_summary(visit))
    to_rate, over = path_to(api, visit, LinkPurpose.REVIEW), path_to(api, visit, LinkPurpose.SUMMARY, -1)
    async with api.client(None) as browser:
        crossed = await browser.get(to_rate.removesuffix("review") + "summary")
        assert (crossed.status_code, crossed.json()["code"]) == (404, "not_found")
        spent = await browser.get(over)
        assert (spent.status_code, spent.json()["code"]) == (410, "link_spent")
        assert (await browser.get("/v1/links/made.up/review")).status_code == 404


async def test_a_clinics_tasks_are_listed_and_ticked_off(api: Api, stores: Repositories) -> None:
    visit = await visited(stores)
    found = await stores.follow_ups.completed(Tenant(visit.tenant_id), visit.id)
    assert found is not None
    assert (found.appointment_id, visit.state) == (visit.id, AppointmentState.COMPLETED)
    task = task_of(found, TaskKind.LOW_RATING, datetime.now(UTC).replace(microsecond=0))
    await stores.staff_tasks.raise_once(WORLD, task)
    path = f"/v1/clinics/{visit.clinic_id}/tasks"
    async with api.client("staff") as desk, api.client("doctor") as doctor, api.client("patient") as patient:
        listed = (await desk.get(path)).json()["items"]
        [shown] = [one for one in listed if one["id"] == task.id]
        assert (shown["kind"], shown["state"], shown["appointment_id"]) == ("low_rating", "open", visit.id)
        for stranger in (doctor, patient):
            assert (await stranger.post(f"{path}/{task.id}/done")).status_code == 403
        done = await desk.post(f"{path}/{task.id}/done")
        assert done.json()["state"] == TaskState.DONE
        assert (await desk.post(f"{path}/{task.id}/done")).json() == done.json()
        assert task.id not in [one["id"] for one in (await desk.get(path)).json()["items"]]
        assert task.id in [one["id"] for one in (await desk.get(path, params={"state": "done"})).json()["items"]]
        assert (await desk.post(f"{path}/tsk_none/done")).status_code == 404
