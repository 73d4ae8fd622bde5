"""The connection to a real server: ready or not, plain or over mutual TLS, with metrics."""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
from temporalio.api.workflowservice.v1 import CountWorkflowExecutionsRequest, RegisterNamespaceRequest
from temporalio.client import Client
from temporalio.common import SearchAttributeKey
from temporalio.contrib.pydantic import pydantic_data_converter

from adapters.temporal.client import TlsFiles, connect, metrics_runtime
from adapters.temporal.search_attributes import SEARCH_ATTRIBUTES, register_search_attributes
from models.errors import UnavailableError
from sandbox.servers import temporal as local
from sandbox.servers.processes import free_port
from sandbox.servers.stack import Addresses
from workflows import attributes

NAME = "temporal.test"
SOON = timedelta(seconds=1)


def certificate(folder: Path, name: str, issuer: tuple[x509.Name, ec.EllipticCurvePrivateKey] | None) -> Path:
    """A certificate `<name>.pem` and its key `<name>.key`; without an issuer it is its own authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    signer = issuer or (subject, key)
    now = datetime.now(UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(signer[0])
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(signer[1], hashes.SHA256())
    )
    pem = folder / f"{name}.pem"
    pem.write_bytes(built.public_bytes(serialization.Encoding.PEM))
    pem.with_suffix(".key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return pem


def authority(folder: Path, name: str) -> tuple[x509.Name, ec.EllipticCurvePrivateKey]:
    pem = certificate(folder, name, None)
    key = serialization.load_pem_private_key(pem.with_suffix(".key").read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return x509.load_pem_x509_certificate(pem.read_bytes()).subject, key


@asynccontextmanager
async def mutual_tls(servers: Addresses, folder: Path) -> AsyncIterator[str]:
    """The address of a front of the server that speaks TLS and wants our client certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["h2"])
    pem = folder / f"{NAME}.pem"
    context.load_cert_chain(pem, pem.with_suffix(".key"))
    context.load_verify_locations(folder / "authority.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    host, port = servers.temporal_address.split(":")

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection(host, int(port))
        await asyncio.gather(pipe(reader, inner_writer), pipe(inner_reader, writer))

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


async def asks(client: Client) -> None:
    request = CountWorkflowExecutionsRequest(namespace=client.namespace)
    await client.workflow_service.count_workflow_executions(request, timeout=timedelta(seconds=5))


async def test_a_server_that_is_ready_is_connected_at_once(servers: Addresses) -> None:
    began = time.monotonic()
    client = await connect(servers.temporal_address, servers.temporal_namespace, pydantic_data_converter)
    assert time.monotonic() - began < 3
    assert client.namespace == servers.temporal_namespace
    await asks(client)


async def test_nobody_there_is_unavailable_after_the_deadline() -> None:
    began = time.monotonic()
    with pytest.raises(UnavailableError):
        await connect(f"127.0.0.1:{free_port()}", "default", pydantic_data_converter, ready_within=SOON)
    assert 1 <= time.monotonic() - began < 10


async def test_a_namespace_that_appears_meanwhile_is_waited_for(servers: Addresses) -> None:
    namespace = f"late-{uuid4().hex[:8]}"
    with pytest.raises(UnavailableError, match=namespace):
        await connect(servers.temporal_address, namespace, pydantic_data_converter, ready_within=SOON)
    waiting = asyncio.ensure_future(connect(servers.temporal_address, namespace, pydantic_data_converter))
    await new_namespace(servers, namespace)
    assert (await waiting).namespace == namespace


async def test_mutual_tls(servers: Addresses, tmp_path: Path) -> None:
    issuer = authority(tmp_path, "authority")
    certificate(tmp_path, NAME, issuer)
    ours = certificate(tmp_path, "visitnow", issuer)
    stranger = certificate(tmp_path, "stranger", authority(tmp_path, "another"))

    def files(client: Path, ca: str = "authority.pem") -> TlsFiles:
        return TlsFiles(
            server_ca=tmp_path / ca, client_cert=client, client_key=client.with_suffix(".key"), server_name=NAME
        )

    async with mutual_tls(servers, tmp_path) as address:
        client = await connect(address, servers.temporal_namespace, pydantic_data_converter, tls=files(ours))
        await asks(client)
        for refused in (files(stranger), files(ours, "another.pem"), TlsFiles()):
            with pytest.raises(UnavailableError):
                await connect(
                    address, servers.temporal_namespace, pydantic_data_converter, tls=refused, ready_within=SOON
                )


def test_half_a_client_certificate_is_refused() -> None:
    with pytest.raises(ValueError, match="together"):
        TlsFiles(client_cert=Path("client.pem")).config()


async def test_the_sdk_s_metrics_are_served(servers: Addresses) -> None:
    bind = f"127.0.0.1:{free_port()}"
    runtime = metrics_runtime(bind)
    client = await connect(
        servers.temporal_address, servers.temporal_namespace, pydantic_data_converter, runtime=runtime
    )
    await asks(client)
    async with httpx.AsyncClient(trust_env=False) as http:
        text = (await http.get(f"http://{bind}/metrics")).text
    assert "temporal_request_latency_seconds_bucket" in text


async def new_namespace(servers: Addresses, namespace: str) -> Client:
    client = await Client.connect(servers.temporal_address, namespace=namespace)
    request = RegisterNamespaceRequest(namespace=namespace)
    request.workflow_execution_retention_period.FromTimedelta(timedelta(days=3))
    await client.workflow_service.register_namespace(request, timeout=timedelta(seconds=5))
    return client


async def test_search_attributes_are_registered_once(servers: Addresses) -> None:
    client = await new_namespace(servers, f"attributes-{uuid4().hex[:8]}")
    assert set(await register_search_attributes(client)) == set(SEARCH_ATTRIBUTES)
    assert await register_search_attributes(client) == []
    listed = await client.operator_service.list_search_attributes(
        ListSearchAttributesRequest(namespace=client.namespace), timeout=timedelta(seconds=5)
    )
    assert listed.custom_attributes.items() >= SEARCH_ATTRIBUTES.items()


def test_the_registered_attributes_are_those_that_workflows_set() -> None:
    keys = [value for value in vars(attributes).values() if isinstance(value, SearchAttributeKey)]
    assert {key.name: int(key.indexed_value_type) for key in keys} == dict(SEARCH_ATTRIBUTES)
    assert {
        name: IndexedValueType.Name(kind).removeprefix("INDEXED_VALUE_TYPE_").title()
        for name, kind in SEARCH_ATTRIBUTES.items()
    } == local.SEARCH_ATTRIBUTES
