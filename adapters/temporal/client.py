"""The connection to Temporal: one client per process, made once at start-up."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client
from temporalio.converter import DataConverter
from temporalio.runtime import PrometheusConfig, Runtime, TelemetryConfig
from temporalio.service import GrpcCompression, RPCError, RPCStatusCode, TLSConfig

from models.errors import UnavailableError

CONNECT_TIMEOUT = timedelta(seconds=5)
NAMESPACE_TIMEOUT = timedelta(seconds=5)
PAUSE_SECONDS = 0.25
"""Between two tries while the server is starting."""

_NOT_YET = {RPCStatusCode.NOT_FOUND, RPCStatusCode.UNAVAILABLE, RPCStatusCode.DEADLINE_EXCEEDED}


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """PEM files and the name in the server's certificate; with none of them the connection is plain.

    Without `server_ca` the system's certificates vouch for the server.
    """

    server_ca: Path | None = None
    client_cert: Path | None = None
    client_key: Path | None = None
    server_name: str | None = None

    def config(self) -> TLSConfig | None:
        """Read the files. Raises `OSError`, and `ValueError` where the client's certificate or key is missing."""
        if (self.client_cert is None) != (self.client_key is None):
            raise ValueError("a Temporal client certificate and its key come together")
        if not (self.server_ca or self.client_cert or self.server_name):
            return None
        return TLSConfig(
            server_root_ca_cert=self.server_ca.read_bytes() if self.server_ca else None,
            client_cert=self.client_cert.read_bytes() if self.client_cert else None,
            client_private_key=self.client_key.read_bytes() if self.client_key else None,
            domain=self.server_name,
        )


PLAIN = TlsFiles()


def metrics_runtime(bind: str) -> Runtime:
    """A runtime that serves the SDK's metrics for Prometheus at `http://<bind>/metrics`; one per process."""
    metrics = PrometheusConfig(
        bind_address=bind, counters_total_suffix=True, unit_suffix=True, durations_as_seconds=True
    )
    return Runtime(telemetry=TelemetryConfig(metrics=metrics))


async def connect(
    address: str,
    namespace: str,
    converter: DataConverter,
    *,
    tls: TlsFiles = PLAIN,
    runtime: Runtime | None = None,
    ready_within: timedelta = timedelta(seconds=60),
) -> Client:
    """Connect and wait until the server answers for this namespace.

    Raises `UnavailableError` where it still does not after `ready_within`, and `RPCError` where it refuses us.
    """
    config = tls.config() or False
    give_up = time.monotonic() + ready_within.total_seconds()
    while True:
        try:
            client = await Client.connect(
                address,
                namespace=namespace,
                data_converter=converter,
                tls=config,
                runtime=runtime,
                connect_timeout=CONNECT_TIMEOUT,
                # Ciphertext does not compress: gzip would only cost time.
                grpc_compression=GrpcCompression.NONE,
            )
            await client.workflow_service.describe_namespace(
                DescribeNamespaceRequest(namespace=namespace), timeout=NAMESPACE_TIMEOUT
            )
        except RPCError as error:
            if error.status not in _NOT_YET:
                raise
            if time.monotonic() >= give_up:
                raise _unready(error, address, namespace) from error
        except RuntimeError as error:
            # What the SDK raises for any connection that could not be made.
            if time.monotonic() >= give_up:
                raise _unready(error, address, namespace) from error
        else:
            return client
        await asyncio.sleep(PAUSE_SECONDS)


def _unready(error: Exception, address: str, namespace: str) -> UnavailableError:
    return UnavailableError(f"Temporal at {address} does not serve namespace {namespace}: {error}")
