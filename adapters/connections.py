"""From settings to connections: what every process of ours does alike."""

from __future__ import annotations

from temporalio.client import Client
from temporalio.runtime import Runtime

from adapters.mongo.repositories import MongoAddresses
from adapters.razorpay import RazorpayGateway
from adapters.settings import Settings
from adapters.temporal.client import TlsFiles, connect
from adapters.temporal.codec import data_converter


def mongo_addresses(settings: Settings) -> MongoAddresses:
    """Where the data, the audit and the vault are; without accounts of their own they share the data's."""
    url = settings.mongodb_url.get_secret_value()
    audit, vault = settings.audit_mongodb_url, settings.vault_mongodb_url
    return MongoAddresses(
        url=url,
        database=settings.database,
        audit_url=audit.get_secret_value() if audit is not None else url,
        vault_url=vault.get_secret_value() if vault is not None else url,
        vault_database=settings.vault_database,
        kms_url=settings.kms_url,
        index_key=settings.index_key,
    )


async def connect_temporal(settings: Settings, *, runtime: Runtime | None = None) -> Client:
    """A client whose payloads are encrypted. Raises `UnavailableError` where the server does not answer."""
    return await connect(
        settings.temporal_address,
        settings.temporal_namespace,
        data_converter(settings.payload_keys),
        tls=TlsFiles(
            server_ca=settings.temporal_tls_ca,
            client_cert=settings.temporal_tls_cert,
            client_key=settings.temporal_tls_key,
            server_name=settings.temporal_tls_server_name,
        ),
        runtime=runtime,
    )


def razorpay_gateway(settings: Settings) -> RazorpayGateway:
    """The payment gateway's client; close it when done."""
    return RazorpayGateway(
        settings.razorpay_base_url, settings.razorpay_key_id, settings.razorpay_key_secret.get_secret_value()
    )
