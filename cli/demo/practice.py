"""The act of a practice that joins: it applies, is asked for a document, is approved, publishes hours and is booked."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Final
from zoneinfo import ZoneInfo

import httpx

from cli.demo.stage import (
    PATIENCE,
    POLL_SECONDS,
    Ending,
    Say,
    Stage,
    StoryError,
    Time,
    insist,
    seen,
)
from cli.demo.views import ApplicationSeen, AppointmentSeen, ProviderSeen, ProvisionedSeen, SlotsSeen, TokenSeen

EMAIL: Final = "nirmala.joshi@drishti.example"
APPLICATION: Final = {
    "practice_name": "Drishti Eye Clinic",
    "slug": "drishti",
    "owner": {"name": "Nirmala Joshi", "email": EMAIL, "phone": "+919800055001"},
    "clinic": {"address": "14 Church Street, Bengaluru", "timezone": "Asia/Kolkata"},
    "practitioner": {
        "name": "Dr Nirmala Joshi",
        "council": "Karnataka Medical Council",
        "registration_number": "KMC-55001",
        "registration_year": 2011,
        "specialties": ["Ophthalmology"],
    },
}
CERTIFICATE: Final = b"%PDF-1.7\n1 0 obj << /Type /Catalog >> endobj\n%%EOF"
WEEK: Final = {
    "weekly": [{"weekday": day, "start": "09:00", "end": "17:00"} for day in range(7)],
    "overrides": [],
    "min_notice_minutes": 60,
    "horizon_days": 60,
}
ASKED: Final = "Please add the registration certificate"
PASSPHRASE: Final = "seventeen mangoes on a swing"  # noqa: S105  of somebody in a story


async def a_practice_joins(stage: Stage, say: Say) -> Ending:
    """Apply, prove the mailbox, be asked for a document, be approved, join, publish hours, get the first booking."""
    say("Nirmala applies for her eye clinic and proves her mailbox")
    practice = await _Practice.applies(stage)
    await practice.act("submit")
    await practice.until(lambda one: one.state == "under_review", "it is under review")
    await stage.as_admin("POST", f"{practice.path}/decision", {"decision": "request_changes", "note": ASKED})
    say("the reviewer asks for a document; the promised 48 hours stand still until it is there")
    await practice.hand_in(CERTIFICATE)
    await practice.act("submit")
    await stage.as_admin("POST", f"{practice.path}/decision", {"decision": "approve"})
    say("approved: tenant, clinic, profile and invitation are made one after the other")
    made = (await practice.until(lambda one: one.provisioned is not None, "it is provisioned")).provisioned
    if made is None:
        raise StoryError("the practice was not made")
    await practice.publish(made, await practice.joins())
    await practice.until(lambda one: one.state == "live", "it is live")
    say("its hours are published, so it is live, and somebody books")
    booked = await _first_booking(stage, made)
    return Ending(booked, f"live at {APPLICATION['slug']}, its first visit is {booked.reference}")


class _Practice:
    """An application and whoever handed it in."""

    def __init__(self, stage: Stage, path: str, token: str) -> None:
        self.path = path
        self._stage = stage
        self._headers = {"Authorization": f"Bearer {token}"}

    @classmethod
    async def applies(cls, stage: Stage) -> _Practice:
        """Hand the application in and open it by the link in the letter."""
        answer = await stage.api.post("/onboarding/applications", json=APPLICATION)
        application = seen(answer, ApplicationSeen, HTTPStatus.ACCEPTED)
        path = f"/onboarding/applications/{application.id}"
        letter = await _token_in_mail(stage, r"token=([A-Za-z0-9._-]+)")
        opened = seen(await stage.api.post(f"{path}/verify-email", json={"token": letter}), TokenSeen)
        return cls(stage, path, opened.access_token)

    async def act(self, what: str) -> None:
        """Submit, or whatever else an applicant may do."""
        seen(await self._stage.api.post(f"{self.path}/{what}", headers=self._headers), ApplicationSeen)

    async def hand_in(self, content: bytes) -> None:
        """Add a document."""
        sent = {"file": ("certificate.pdf", content)}
        kind = {"kind": "registration_certificate"}
        path = f"{self.path}/documents"
        answer = await self._stage.api.post(path, headers=self._headers, files=sent, data=kind)
        insist(answer.status_code == HTTPStatus.CREATED, f"the document was not taken: {answer.text[:200]}")

    async def until(self, condition: Callable[[ApplicationSeen], bool], what: str) -> ApplicationSeen:
        """Look until the condition holds. Raises `StoryError` where it does not within `PATIENCE` seconds."""
        give_up = time.monotonic() + PATIENCE
        while True:
            found = seen(await self._stage.api.get(self.path, headers=self._headers), ApplicationSeen)
            if condition(found):
                return found
            if time.monotonic() > give_up:
                raise StoryError(f"after {PATIENCE:.0f} s it does not hold that {what}: still {found.state}")
            await asyncio.sleep(POLL_SECONDS)

    async def joins(self) -> str:
        """The owner follows the invitation's link; their access token."""
        link = await _token_in_mail(self._stage, r"invites/accept\?token=([A-Za-z0-9._-]+)")
        body = {"token": link, "name": "Nirmala Joshi", "password": PASSPHRASE}
        return seen(await self._stage.api.post("/invites/accept", json=body), TokenSeen).access_token

    async def publish(self, made: ProvisionedSeen, owner: str) -> None:
        """Publish the hours of the week."""
        headers = {"Authorization": f"Bearer {owner}", "If-Match": '"0"'}
        path = f"/providers/{made.provider_id}/availability"
        answer = await self._stage.api.put(path, headers=headers, json=WEEK)
        insist(answer.status_code == HTTPStatus.OK, f"the hours were not published: {answer.text[:200]}")


async def _token_in_mail(stage: Stage, pattern: str) -> str:
    give_up = time.monotonic() + PATIENCE
    while time.monotonic() < give_up:
        for text in await stage.letters_to(EMAIL):
            found = re.search(pattern, text)
            if found is not None:
                return found.group(1)
        await asyncio.sleep(POLL_SECONDS)
    raise StoryError("the letter has not come")


async def _first_booking(stage: Stage, made: ProvisionedSeen) -> AppointmentSeen:
    """Somebody takes the first free time; the new practice is paid at its desk."""
    profile = seen(await stage.api.get(f"/providers/{made.provider_id}"), ProviderSeen)
    service, zone = profile.services[0], ZoneInfo(profile.clinic.timezone)
    days = [datetime.now(UTC).astimezone(zone) + timedelta(days=ahead) for ahead in (1, 3)]
    params = {"service_id": service.id, "from": f"{days[0]:%Y-%m-%d}", "to": f"{days[1]:%Y-%m-%d}"}
    free = seen(await stage.api.get(f"/providers/{profile.id}/slots", params=params), SlotsSeen).items
    insist(bool(free), "the published hours give no free time")
    when = Time(profile.id, profile.name, service.id, service.fee, free[0].start, zone)
    answer: httpx.Response = await stage.visitor(6).ask_for(when)
    return seen(answer, AppointmentSeen, HTTPStatus.CREATED)
