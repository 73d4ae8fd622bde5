"""The worker is killed while a practice is made: another one goes on, and everything is there once."""

from __future__ import annotations

import asyncio

import pytest

from models.onboarding import PracticeIds
from sandbox.servers.processes import wait_until
from tests.onboarding.test_api import PDF, a_body, applied
from tests.stack import Json, Stack, eventually

STEPS = ("open_tenant", "open_clinic", "open_practitioner", "open_provider")
SAMPLE = ("after.practices.open_clinic",)
ALL = [f"{moment}.practices.{step}" for step in STEPS for moment in ("before", "after")]


@pytest.mark.parametrize(
    "point",
    [*SAMPLE, *(pytest.param(one, marks=pytest.mark.fault_matrix) for one in ALL if one not in SAMPLE)],
)
async def test_a_practice_is_made_once_whenever_the_worker_dies(stack: Stack, point: str) -> None:
    body = a_body()
    path, headers = await applied(stack, body)
    application_id = path.rpartition("/")[2]
    made = PracticeIds.of(application_id)
    async with stack.anonymous() as applicant, stack.client("admin") as admin:
        sent = await applicant.post(f"{path}/documents", headers=headers, files={"file": ("a.pdf", PDF)})
        assert sent.status_code == 201, sent.text
        assert (await applicant.post(f"{path}/submit", headers=headers)).status_code == 200
        armed = stack.faults / f"kill.{point}"
        armed.touch()
        approved = await admin.post(f"{path}/decision", json={"decision": "approve"})
        assert approved.status_code in {200, 503}, approved.text

        async def dead() -> bool:
            return not stack.worker.alive

        assert await eventually(dead, bool, seconds=60)
        armed.with_name(f"{armed.name}.struck").unlink()
        await asyncio.to_thread(_replace, stack)

        async def done() -> list[str]:
            found = await admin.get(f"/v1/operations/workflows/onboarding:{application_id}")
            view: Json = found.json()
            return list(view.get("done", ()))

        steps = await eventually(done, lambda seen: "profile made" in seen, seconds=60)
    assert [one for one in steps if one.endswith("made") and one != "invitation made"] == [
        "tenant made",
        "clinic made",
        "practitioner made",
        "profile made",
    ]
    slug = body["slug"]
    assert [one["_id"] for one in stack.db.tenants.find({"slug": slug})] == [made.tenant_id]
    assert [one["_id"] for one in stack.db.clinics.find({"slug": slug})] == [made.clinic_id]
    assert [one["_id"] for one in stack.db.providers.find({"tenant_id": made.tenant_id})] == [made.provider_id]
    assert stack.db.practitioners.count_documents({"application_id": application_id}) == 1


def _replace(stack: Stack) -> None:
    worker = stack.restart_worker()
    wait_until(lambda: worker.alive, worker, timeout=60)
    stack.await_ready()
