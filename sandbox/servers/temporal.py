"""Temporal's development server with the product's namespace and search attributes, its data in a file."""

import asyncio
import os
import socket
import sys
import time
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple, TypeVar

from google.protobuf.duration_pb2 import Duration
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest, ListSearchAttributesRequest
from temporalio.api.workflowservice.v1 import CountWorkflowExecutionsRequest, RegisterNamespaceRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from sandbox.servers.processes import HOST, Process, StartError, free_port, wait_until

T = TypeVar("T")

SEARCH_ATTRIBUTES = {
    "TenantId": "Keyword",
    "BookingState": "Keyword",
    "PaymentState": "Keyword",
    "ProviderRef": "Keyword",
    "SubjectRef": "Keyword",
    "SlaDeadline": "Datetime",
    "NeedsHuman": "Bool",
}
_RETENTION = timedelta(days=3)
_NAMESPACE_SECONDS = 30
_RPC_TIMEOUT = timedelta(seconds=5)

_SQLITE_PRAGMAS = ("journal_mode=wal", "synchronous=normal")
_DYNAMIC_CONFIG = (
    # One partition answers sooner on one machine: the slowest hundredth under load takes a third of the time.
    "matching.numTaskqueueReadPartitions=1",
    "matching.numTaskqueueWritePartitions=1",
    # A deleted workflow is gone after 4 seconds instead of half a minute.
    'history.transferProcessorUpdateAckInterval="1s"',
    'history.visibilityProcessorUpdateAckInterval="1s"',
)


class UiCodec(NamedTuple):
    """Where the UI's pages have payloads decrypted, and the page at which operators sign in for that."""

    endpoint: str
    sign_in: str


class Temporal:
    """One `temporal server start-dev`; comes back on the same ports with the same workflows.

    `process` is the server; `door` stands before its UI, where there is one that knows a codec server.
    """

    def __init__(
        self,
        program: Path,
        directory: Path,
        *,
        namespace: str,
        ui: bool = False,
        ui_codec: UiCodec | None = None,
    ) -> None:
        directory.mkdir()
        self._namespace = namespace
        self._port = free_port()
        self._ui_port = free_port() if ui else None
        self._door_port: int | None = None
        self.door: Process | None = None
        command: list[str | Path] = [program, "server", "start-dev", "--ip", HOST, "--port", str(self._port)]
        command += ["--db-filename", directory / "temporal.db", "--namespace", namespace, "--log-level", "error"]
        command += ["--disable-config-file", "--disable-config-env"]
        if self._ui_port is None:
            command += ["--headless"]
        else:
            command += ["--ui-port", str(self._ui_port), "--ui-disable-news-fetch"]
        if self._ui_port is not None and ui_codec is not None:
            command += ["--ui-codec-endpoint", ui_codec.endpoint]
            self._door_port = free_port()
            self.door = _door(self._door_port, self._ui_port, ui_codec.sign_in, directory / "ui.log")
        for option, values in (
            ("--sqlite-pragma", _SQLITE_PRAGMAS),
            ("--dynamic-config-value", _DYNAMIC_CONFIG),
            ("--search-attribute", [f"{name}={kind}" for name, kind in SEARCH_ATTRIBUTES.items()]),
        ):
            command += [part for value in values for part in (option, value)]
        self.process = Process("temporal", command, log=directory / "temporal.log")

    @property
    def address(self) -> str:
        return f"{HOST}:{self._port}"

    @property
    def ui_url(self) -> str | None:
        port = self._door_port or self._ui_port
        return None if port is None else f"http://{HOST}:{port}"

    def start(self) -> None:
        """Start, and return once workflows can be started and searched for."""
        self.process.start()
        wait_until(self._answers, self.process)
        ensure_namespace(self.address, self._namespace)
        if self.door is not None:
            self.door.start()
            wait_until(self._door_is_open, self.door)

    def _door_is_open(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex((HOST, self._door_port or 0)) == 0

    def _answers(self) -> bool:
        try:
            return _run(_is_serving(self.address))
        except RuntimeError as error:
            if "Failed client connect" not in str(error):  # the SDK's way of saying that nobody listens yet
                raise
            return False


def _door(port: int, ui_port: int, sign_in: str, log: Path) -> Process:
    options = ["--port", str(port), "--ui", f"http://{HOST}:{ui_port}", "--sign-in", sign_in]
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])}
    command = [sys.executable, "-P", "-m", "sandbox.servers.ui", *options]
    return Process("temporal-ui", command, log=log, environment=environment)


def _run(work: Coroutine[object, object, T]) -> T:
    """Run a coroutine to its end, in a thread of its own, so that the caller may be inside an event loop."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        return pool.submit(asyncio.run, work).result()


async def _is_serving(address: str) -> bool:
    client = await Client.connect(address)
    return await client.service_client.check_health(timeout=_RPC_TIMEOUT)


def ensure_namespace(address: str, namespace: str) -> None:
    """Make a namespace with the product's search attributes, and return once the server knows both everywhere.

    Raises StartError when that takes too long. Does no harm where they exist.
    """
    _run(_ensure_namespace(address, namespace))


async def _ensure_namespace(address: str, namespace: str) -> None:
    client = await Client.connect(address)
    retention = Duration()
    retention.FromTimedelta(_RETENTION)
    request = RegisterNamespaceRequest(namespace=namespace, workflow_execution_retention_period=retention)
    try:
        await client.workflow_service.register_namespace(request, timeout=_RPC_TIMEOUT)
    except RPCError as error:
        if error.status != RPCStatusCode.ALREADY_EXISTS:
            raise
    deadline = time.monotonic() + _NAMESPACE_SECONDS
    while True:
        try:
            await _ensure_search_attributes(client, namespace)
            await client.workflow_service.count_workflow_executions(
                CountWorkflowExecutionsRequest(namespace=namespace, query='TenantId = "x" AND NeedsHuman = true'),
                timeout=_RPC_TIMEOUT,
            )
        except RPCError as error:
            # A new namespace or attribute is unknown to parts of the server until their caches are refreshed.
            if error.status not in (RPCStatusCode.NOT_FOUND, RPCStatusCode.INVALID_ARGUMENT):
                raise
            if time.monotonic() > deadline:
                raise StartError(f"the namespace {namespace} is not ready: {error.message}") from error
            await asyncio.sleep(0.02)
        else:
            return


async def _ensure_search_attributes(client: Client, namespace: str) -> None:
    known = await client.operator_service.list_search_attributes(
        ListSearchAttributesRequest(namespace=namespace), timeout=_RPC_TIMEOUT
    )
    missing = {
        name: IndexedValueType.Value(f"INDEXED_VALUE_TYPE_{kind.upper()}")
        for name, kind in SEARCH_ATTRIBUTES.items()
        if name not in known.custom_attributes
    }
    if missing:
        await client.operator_service.add_search_attributes(
            AddSearchAttributesRequest(namespace=namespace, search_attributes=missing), timeout=_RPC_TIMEOUT
        )
