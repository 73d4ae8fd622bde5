"""A worker that is killed in the middle of an export: the next one goes on behind what was noted."""

from __future__ import annotations

import hashlib
import secrets
from typing import Final

import pytest

from adapters.connections import connect_temporal
from models.identity import Subject
from tests.booking.support import ok
from tests.messaging.readers import repositories
from tests.stack import Stack, eventually
from tests.trust.export_support import Exporter, Opened, a_file, somebody
from tests.trust.test_export_api import proof, ready

pytestmark = [pytest.mark.fault_matrix, pytest.mark.timeout(400)]

MEBIBYTE: Final = 1024 * 1024


async def test_a_killed_worker_costs_one_portion(stack: Stack) -> None:
    async with repositories(stack) as stores:
        exporter = Exporter(stores, await connect_temporal(stack.settings), stack.settings.storage_url)
        person = await somebody(exporter)
        content = b"%PDF-1.4 " + secrets.token_bytes(30 * MEBIBYTE)
        for number in range(6):
            await a_file(exporter, person.visit, content, f"scan-{number}")
        async with stack.client(person.account, timeout=120) as patient:
            begun = ok(await patient.post("/v1/me/exports", headers=proof(stack, person.account)), 202)

            async def portions() -> tuple[str, ...]:
                found = await stores.exports.find(Subject(person.account.id), begun["id"])
                return () if found is None else tuple(one.name for one in found.portions)

            before = await eventually(portions, lambda found: len(found) >= 2)
            stack.worker.kill()
            before = await portions()
            stack.restart_worker()
            export = await ready(patient, f"/v1/me/exports/{begun['id']}", 300)
            assert (await portions())[: len(before)] == before, "nothing that was noted is made again"
            file = (await patient.get(export["download_url"])).content
    assert hashlib.sha256(file).hexdigest() == export["sha256"]
    opened = Opened.of(file)
    scans = [one for name, one in opened.contents.items() if "scan-" in name]
    assert scans == [content] * 6
