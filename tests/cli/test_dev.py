"""`visitnow dev`, really started: the ready file, the accounts, the policy, and an end that leaves nothing."""

from __future__ import annotations

import base64
import json
import os
import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from pymongo import MongoClient
from redis import Redis

from tests.cli.stack import Dev, dev, runs, visitnow, wait_until

WINDOW = 77
ACCOUNTS = {
    "patient": {"phone", "access_token"},
    "other_patient": {"phone", "access_token"},
    "doctor": {"email", "password", "provider_id", "access_token"},
    "staff": {"email", "password", "access_token"},
    "tenant_admin": {"email", "password", "access_token"},
    "admin": {"email", "password", "access_token"},
    "other_tenant_staff": {"email", "password", "access_token"},
}

Json = dict[str, Any]

# A whole stack starts in ten seconds alone; beside other tests it takes its time.
pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dev]:
    folder = tmp_path_factory.mktemp("dev")
    with dev(folder, "--policy", f"payment_window_seconds={WINDOW}", "--policy", "min_notice_minutes=15") as running:
        yield running


@pytest.fixture(scope="module")
def ready(stack: Dev) -> Json:
    content: Json = json.loads(stack.ready_file.read_text())
    return content


@pytest.fixture(scope="module")
def api(ready: Json) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{ready['api_url']}/v1", timeout=15, trust_env=False) as client:
        yield client


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def claims(token: str) -> Json:
    body = token.split(".")[1]
    content: Json = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    return content


def first_free_time(api: httpx.Client, provider_id: str) -> tuple[str, str]:
    """A service that is paid online and its next free start."""
    profile = api.get(f"/providers/{provider_id}").json()
    service = next(one for one in profile["services"] if one["payment"] == "online")
    today = datetime.now(UTC).date()
    days = {"from": str(today), "to": str(today + timedelta(days=7))}
    slots = api.get(f"/providers/{provider_id}/slots", params={"service_id": service["id"], **days}).json()
    return service["id"], slots["items"][0]["start"]


def test_the_ready_file_has_exactly_what_the_contract_lists(stack: Dev, ready: Json) -> None:
    assert set(ready) == {
        "api_url", "temporal_address", "temporal_namespace", "temporal_ui_url", "mongodb_url", "redis_url",
        "sandbox_url", "accounts",
    }  # fmt: skip
    assert {name: set(account) for name, account in ready["accounts"].items()} == ACCOUNTS
    assert all(value for account in ready["accounts"].values() for value in account.values())
    assert stack.ready_file.stat().st_mode & 0o077 == 0, "others can read the tokens"
    assert [path.name for path in stack.ready_file.parent.iterdir() if path.name != "tmp"] == ["ready.json"]


def test_everything_that_the_ready_file_names_answers(ready: Json) -> None:
    for url in (f"{ready['api_url']}/readyz", ready["temporal_ui_url"], f"{ready['sandbox_url']}/_control/ledger"):
        assert httpx.get(url, timeout=15, trust_env=False).status_code == 200, url
    with MongoClient[Json](ready["mongodb_url"], timeoutMS=5000) as client:
        assert client.get_default_database()["providers"].count_documents({}) >= 12
    with Redis.from_url(ready["redis_url"], socket_timeout=5) as redis:
        assert redis.ping()


def test_tokens_are_good_for_twelve_hours_and_for_their_own_role_only(api: httpx.Client, ready: Json) -> None:
    tokens = {name: account["access_token"] for name, account in ready["accounts"].items()}
    for token in tokens.values():
        assert abs(claims(token)["exp"] - time.time() - 12 * 3600) < 300
    assert api.get("/appointments", headers=bearer(tokens["patient"])).status_code == 200
    unknown = "/operations/workflows/booking:apt_unknown"
    assert api.get(unknown, headers=bearer(tokens["admin"])).status_code == 404
    for name in set(tokens) - {"admin"}:
        assert api.get(unknown, headers=bearer(tokens[name])).status_code == 403, name
    assert claims(tokens["staff"])["tenant_id"] != claims(tokens["other_tenant_staff"])["tenant_id"]
    assert claims(tokens["doctor"])["provider_id"] == ready["accounts"]["doctor"]["provider_id"]


def test_the_seed_is_there_with_clinics_in_two_time_zones(api: httpx.Client) -> None:
    found: list[Json] = []
    cursor: str | None = None
    while not found or cursor is not None:
        page = api.get("/providers", params={"limit": 10} | ({"cursor": cursor} if cursor else {})).json()
        found, cursor = found + page["items"], page["next_cursor"]
    assert len({one["clinic"]["id"] for one in found}) >= 4
    assert len({one["clinic"]["timezone"] for one in found}) >= 2
    assert len({one["name"] for one in found}) >= 12


@pytest.fixture(scope="module")
def held(api: httpx.Client, ready: Json) -> Json:
    """A booking with the doctor account, placed by the patient account."""
    doctor, patient = ready["accounts"]["doctor"], ready["accounts"]["patient"]
    service_id, start = first_free_time(api, doctor["provider_id"])
    body = {"provider_id": doctor["provider_id"], "service_id": service_id, "start": start}
    headers = {**bearer(patient["access_token"]), "Idempotency-Key": "test-dev-held-1"}
    answer = api.post("/appointments", json=body, headers=headers)
    assert answer.status_code == 201, answer.text
    placed: Json = answer.json()
    return placed


def test_a_policy_given_on_the_command_line_holds(held: Json) -> None:
    deadline = datetime.fromisoformat(held["payment"]["deadline"])
    window = deadline - datetime.fromisoformat(held["server_time"])
    assert timedelta(seconds=WINDOW - 15) < window <= timedelta(seconds=WINDOW)


def test_token_speaks_to_the_running_stack_without_any_setting(stack: Dev, api: httpx.Client, held: Json) -> None:
    for role, status in (("patient", 200), ("doctor", 200), ("staff", 200), ("admin", 403)):
        printed = visitnow(stack.temporary, "token", "--as", role)
        assert printed.returncode == 0, printed.stderr
        answer = api.get(f"/appointments/{held['id']}", headers=bearer(printed.stdout.strip()))
        assert answer.status_code == status, role
    foreign = visitnow(stack.temporary, "token", "--as", "staff", "--tenant", "sanjeevani").stdout.strip()
    assert api.get(f"/appointments/{held['id']}", headers=bearer(foreign)).status_code == 404


def test_ps_says_what_each_booking_waits_for(stack: Dev, held: Json) -> None:
    listed = visitnow(stack.temporary, "ps")
    assert listed.returncode == 0, listed.stderr
    [line] = [line for line in listed.stdout.splitlines() if held["id"] in line]
    assert "held" in line
    assert "payment" in line


def test_migrate_schedules_and_seed_can_be_repeated(stack: Dev, api: httpx.Client, held: Json, ready: Json) -> None:
    again = visitnow(stack.temporary, "schedules", "apply")
    assert again.returncode == 0, again.stderr
    assert "reconcile-recent" in again.stdout
    again = visitnow(stack.temporary, "seed", "--policy", f"payment_window_seconds={WINDOW}")
    assert again.returncode == 0, again.stderr
    patient = bearer(ready["accounts"]["patient"]["access_token"])
    assert api.get(f"/appointments/{held['id']}", headers=patient).json()["provider"] == held["provider"]


def test_the_doctor_finds_the_stack_well(stack: Dev, ready: Json) -> None:
    assert ready["api_url"]
    told = visitnow(stack.temporary, "doctor")
    lines = told.stdout.splitlines()
    assert (told.returncode, [line for line in lines if not line.startswith("OK ")]) == (0, []), told.stdout
    assert len(lines) > 15


def test_the_temporal_ui_reads_payloads_once_somebody_has_signed_in(ready: Json) -> None:
    ui, admin = ready["temporal_ui_url"], ready["accounts"]["admin"]
    with httpx.Client(timeout=20, trust_env=False, headers={"Origin": ui}) as browser:
        told = browser.get(f"{ui}/api/v1/settings").json()["Codec"]
        assert told["IncludeCredentials"] is True
        page = told["DefaultErrorLink"]
        payloads = {"payloads": [{"metadata": {}, "data": ""}]}
        decode = f"{told['Endpoint']}/decode?preserveStorageRefs=true"
        assert browser.post(decode, json=payloads).status_code == 401
        form = {"email": admin["email"], "password": admin["password"]}
        signed = browser.post(page, data=form, headers={"Origin": ready["api_url"]})
        assert signed.status_code == 303, signed.text
        assert browser.post(decode, json=payloads).status_code == 200


def test_ctrl_c_leaves_no_process_and_no_folder(stack: Dev) -> None:
    children = stack.children
    assert len(children) >= 6, children
    returncode, said = stack.end(signal.SIGINT)
    assert (returncode, said) == (0, "")
    wait_until(lambda: not any(runs(pid) for pid in children), 10, "every child is gone")
    assert list(stack.temporary.iterdir()) == []


def test_an_empty_stack_has_the_accounts_and_a_child_that_dies_ends_it(tmp_path: Path) -> None:
    with dev(tmp_path, "--empty") as empty:
        ready = json.loads(empty.ready_file.read_text())
        with httpx.Client(base_url=f"{ready['api_url']}/v1", timeout=15, trust_env=False) as api:
            provider_id = ready["accounts"]["doctor"]["provider_id"]
            assert [one["id"] for one in api.get("/providers").json()["items"]] == [provider_id]
            assert first_free_time(api, provider_id)
        children = empty.children
        [worker] = [pid for pid, command in children.items() if "-m cli worker" in command]
        os.kill(worker, signal.SIGKILL)
        returncode, said = empty.wait()
        assert returncode == 1
        assert "worker has ended by itself" in said
        wait_until(lambda: not any(runs(pid) for pid in children), 10, "every child is gone")
        assert list(empty.temporary.iterdir()) == []


def test_a_ready_file_that_cannot_be_written_is_refused_before_anything_starts(tmp_path: Path) -> None:
    refused = visitnow(tmp_path, "dev", "--ready-file", str(tmp_path / "missing" / "ready.json"))
    assert refused.returncode == 1
    assert "cannot be written" in refused.stderr
    assert list(tmp_path.iterdir()) == []
