"""One set of real servers for a whole test run, and a place of its own in them for each test.

Under xdist the controller starts the servers and stops them at the end, Ctrl-C included; without xdist they start
with the first test that asks. `VISITNOW_MONGODB_ADMIN_URL`, `VISITNOW_REDIS_URL` and `VISITNOW_TEMPORAL_ADDRESS`
name servers that run already and are used instead.
"""

import dataclasses
import itertools
import os
import secrets
import sys
from collections.abc import Iterator
from typing import Protocol

import pytest
from pymongo import MongoClient

from sandbox.servers.processes import StartError
from sandbox.servers.provision import ProvisionError
from sandbox.servers.stack import Addresses, LocalServers, RunningServers
from sandbox.servers.temporal import ensure_namespace

_SHARED = pytest.StashKey[LocalServers]()
_WORKER_INPUT = "visitnow_servers"
_NUMBERS = itertools.count(1)
_RUN = secrets.token_hex(3)


class _Worker(Protocol):
    """What xdist, which ships no types, gives the controller for each of its workers."""

    config: pytest.Config
    workerinput: dict[str, str]


def _start() -> LocalServers:
    servers = LocalServers(RunningServers.of_environment(os.environ))
    try:
        servers.start()
    except (ProvisionError, StartError) as error:
        raise pytest.UsageError(str(error)) from error
    return servers


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: _Worker) -> None:
    """Controller: start the servers with the first worker, and tell each worker where they are."""
    if _SHARED not in node.config.stash:
        node.config.stash[_SHARED] = _start()
    node.workerinput[_WORKER_INPUT] = node.config.stash[_SHARED].addresses.to_json()


def pytest_unconfigure(config: pytest.Config) -> None:
    """Controller: stop the servers, however the run ended; of one that died before that, its last words are told."""
    if _SHARED in config.stash:
        for words in config.stash[_SHARED].last_words():
            print(words, file=sys.stderr)  # noqa: T201  else nobody would know why everything failed after it
        config.stash[_SHARED].stop()
        del config.stash[_SHARED]


@pytest.fixture(scope="session")
def servers(request: pytest.FixtureRequest) -> Addresses:
    """The servers of this run, with a Temporal namespace that is this worker's own."""
    config = request.config
    workerinput: dict[str, str] = getattr(config, "workerinput", {})
    if _WORKER_INPUT in workerinput:
        addresses = Addresses.from_json(workerinput[_WORKER_INPUT])
    else:
        if _SHARED not in config.stash:
            config.stash[_SHARED] = _start()
        addresses = config.stash[_SHARED].addresses
    namespace = f"test-{workerinput.get('workerid', 'alone')}-{_RUN}"
    ensure_namespace(addresses.temporal_address, namespace)
    return dataclasses.replace(addresses, temporal_namespace=namespace)


@pytest.fixture(scope="session")
def temporal_namespace(servers: Addresses) -> str:
    """This worker's own namespace: its task queues and workflow ids meet nobody else's."""
    return servers.temporal_namespace


def _fresh_database(servers: Addresses) -> Iterator[str]:
    name = f"test_{_RUN}_{os.getpid()}_{next(_NUMBERS)}"
    yield name
    with MongoClient[dict[str, object]](servers.owner_mongodb_url("admin"), timeoutMS=10_000) as client:
        for existing in client.list_database_names():
            if existing == name or existing.startswith(f"{name}_"):
                client.drop_database(existing)


@pytest.fixture
def database_name(servers: Addresses) -> Iterator[str]:
    """The name of a database that no other test uses; it and those named `<name>_…` are dropped afterwards."""
    yield from _fresh_database(servers)


@pytest.fixture(scope="module")
def module_database_name(servers: Addresses) -> Iterator[str]:
    """The name of a database that only the tests of this module use; dropped like `database_name`."""
    yield from _fresh_database(servers)


@pytest.fixture(scope="session")
def session_database_name(servers: Addresses) -> Iterator[str]:
    """The name of a database that only this worker's tests use; dropped like `database_name`."""
    yield from _fresh_database(servers)


@pytest.fixture(scope="module")
def own_servers() -> Iterator[LocalServers]:
    """Servers that only this module uses, for tests that stop, kill or starve them."""
    with LocalServers() as servers:
        yield servers
