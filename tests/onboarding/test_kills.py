"""The worker is killed at any step of a practice's life: another one goes on, and everything happens once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import httpx
import pytest
from _pytest.mark.structures import ParameterSet

from models.identity import Account, Role
from models.messaging import Template
from models.onboarding import OnboardingEventType, PracticeIds
from tests.faults import dying, held_up
from tests.onboarding.test_api import PDF, a_body, applied
from tests.stack import Json, Stack, eventually

pytestmark = pytest.mark.timeout(240)

MADE: Final = ("tenant", "clinic", "practitioner", "profile", "invitation")
KILLS: Final = {
    "submit": ("onboarding.advance", "onboarding.check"),
    "decide": (
        "onboarding.advance",
        "practices.open_tenant",
        "practices.open_clinic",
        "practices.open_practitioner",
        "practices.open_provider",
        "practices.invite_owner",
        "onboarding.write",
        "onboarding.readiness",
    ),
    "publish": ("onboarding.show", "onboarding.write"),
    "suspend": ("onboarding.hide", "onboarding.advance"),
}
"""What somebody does, and the steps that follow from it."""

REMOVALS: Final = tuple(f"practices.remove_{what}" for what in ("provider", "practitioner", "clinic", "tenant"))
IN_CI: Final = frozenset({("decide", "after:practices.invite_owner"), ("before:practices.remove_clinic",)})


def _points(*wanted: tuple[str, ...]) -> list[ParameterSet]:
    """Each of them before and after; those that are not sampled run with the fault matrix."""
    points = [(*name, f"{moment}:{step}") for *name, step in wanted for moment in ("before", "after")]
    return [pytest.param(*one, marks=() if one in IN_CI else (pytest.mark.fault_matrix,)) for one in points]


class Practice:
    """One application and its people, on real processes."""

    def __init__(self, stack: Stack, path: str, applicant: httpx.AsyncClient, admin: httpx.AsyncClient) -> None:
        self.stack = stack
        self.path = path
        self.id = path.rpartition("/")[2]
        self.made = PracticeIds.of(self.id)
        self.applicant = applicant
        self.admin = admin

    async def submit(self) -> None:
        await self._ok(self.applicant, "submit")
        await self.until(OnboardingEventType.REVIEW_STARTED)

    async def decide(self) -> None:
        await self._ok(self.admin, "decision", {"decision": "approve"})
        await self.until(OnboardingEventType.PROVISIONED)

    async def publish(self) -> None:
        """The owner publishes hours around the clock."""
        owner = Account(id=f"usr_{self.id}", tenant_id=self.made.tenant_id, roles=frozenset({Role.ADMIN}), name="Owner")
        hours = {"weekly": [{"weekday": day, "start": "00:00", "end": "00:00"} for day in range(7)], "overrides": []}
        async with self.stack.client(owner) as client:
            answer = await client.put(
                f"/v1/providers/{self.made.provider_id}/availability",
                headers={"If-Match": '"0"'},
                json={**hours, "min_notice_minutes": 60, "horizon_days": 60},
            )
        assert answer.status_code == 200, answer.text
        await self.until(OnboardingEventType.LIVE)
        await eventually(self.letters, lambda seen: Template.PRACTICE_LIVE in seen)

    async def suspend(self) -> None:
        await self._ok(self.admin, "suspend")
        await self.until(OnboardingEventType.SUSPENDED)

    async def _ok(self, who: httpx.AsyncClient, command: str, body: Json | None = None) -> None:
        """Command it; whoever is told that it took too long looks what became of it."""
        answer = await who.post(f"{self.path}/{command}", json=body)
        assert answer.status_code in {200, 503}, answer.text

    async def until(self, event: OnboardingEventType) -> None:
        await eventually(self.happened, lambda seen: event in seen, seconds=60)

    async def happened(self) -> list[str]:
        """What the application's own history tells."""
        found = self.stack.db.applications.find_one({"_id": self.id})
        assert found is not None
        return [one["event"] for one in found["history"]]

    async def letters(self) -> list[str]:
        """What was written about it, its owner's invitation included."""
        about = {"subject_id": {"$in": [self.id, self.made.invitation_id]}}
        return sorted(one["template"] for one in self.stack.db.notifications.find(about))

    async def done(self) -> list[str]:
        """What its workflow tells operators that it has done."""
        view: Json = (await self.admin.get(f"/v1/operations/workflows/onboarding:{self.id}")).json()
        return list(view["done"])

    def holds(self, *, made: bool) -> None:
        """Everything is there once, or nothing is."""
        wanted = {
            "tenants": self.made.tenant_id,
            "clinics": self.made.clinic_id,
            "providers": self.made.provider_id,
            "provider_days": self.made.provider_id,
        }
        count = 1 if made else 0
        for name, key in wanted.items():
            found = [one["_id"] for one in self.stack.db[name].find({"tenant_id": self.made.tenant_id})]
            assert found == [key] * count, name
        people = [one["_id"] for one in self.stack.db.practitioners.find({"application_id": self.id})]
        assert len(people) == count
        assert self.stack.db.invites.count_documents({"tenant_id": self.made.tenant_id}) == count


@pytest.fixture
async def practice(stack: Stack) -> AsyncIterator[Practice]:
    """An application that can be handed in."""
    path, headers = await applied(stack, a_body())
    async with stack.anonymous() as applicant, stack.client("admin") as admin:
        applicant.headers.update(headers)
        sent = await applicant.post(f"{path}/documents", files={"file": ("a.pdf", PDF)})
        assert sent.status_code == 201, sent.text
        yield Practice(stack, path, applicant, admin)


@pytest.mark.parametrize(("act", "point"), _points(*((act, step) for act, steps in KILLS.items() for step in steps)))
async def test_the_worker_is_killed(practice: Practice, act: str, point: str) -> None:
    for name in KILLS:
        if name == act:
            async with dying(practice.stack, point):
                await getattr(practice, name)()
        else:
            await getattr(practice, name)()
    happened = await practice.happened()
    assert len(happened) == len(set(happened)), "nothing is told twice"
    assert [one for one in await practice.done() if one.endswith(" made")] == [f"{what} made" for what in MADE]
    practice.holds(made=True)
    assert await practice.letters() == sorted(
        [Template.EMAIL_VERIFICATION, Template.APPLICATION_APPROVED, Template.INVITE, Template.PRACTICE_LIVE]
    )
    hidden = [one["live"] for name in ("clinics", "providers", "provider_days") for one in _of(practice, name)]
    assert hidden == [False] * 3


@pytest.mark.parametrize("point", _points(*((step,) for step in REMOVALS)))
async def test_the_worker_is_killed_while_everything_is_taken_back(practice: Practice, point: str) -> None:
    """Who applied cannot be known while the owner is invited; everything is made at the second try."""
    await practice.submit()
    async with _unknown(practice), dying(practice.stack, point):
        await practice._ok(practice.admin, "decision", {"decision": "approve"})
        await practice.until(OnboardingEventType.PROVISIONING_FAILED)
    practice.holds(made=False)
    assert [one for one in await practice.done() if one.endswith(" taken back")] == [
        f"{what} taken back" for what in reversed(MADE[:-1])
    ]
    await practice.decide()
    practice.holds(made=True)


@asynccontextmanager
async def _unknown(practice: Practice) -> AsyncIterator[None]:
    """The application says nothing of anybody from the invitation on, until somebody looks at it again."""
    applications = practice.stack.db.applications
    found = applications.find_one({"_id": practice.id}, {"sealed": 1})
    assert found is not None

    async def lose() -> None:
        applications.update_one({"_id": practice.id}, {"$unset": {"sealed": ""}})

    async def find() -> None:
        applications.update_one({"_id": practice.id}, {"$set": {"sealed": found["sealed"]}})

    async with (
        held_up(practice.stack, "before:practices.invite_owner", lose),
        held_up(practice.stack, "before:onboarding.check", find),
    ):
        yield


def _of(practice: Practice, name: str) -> list[Json]:
    return list(practice.stack.db[name].find({"tenant_id": practice.made.tenant_id}))
