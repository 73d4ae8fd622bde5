"""Makes the search attributes known to a namespace, so that workflows may set them and operators may ask for them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest, ListSearchAttributesRequest
from temporalio.client import Client

SEARCH_ATTRIBUTES: Mapping[str, IndexedValueType.ValueType] = {
    "TenantId": IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD,
    "BookingState": IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD,
    "PaymentState": IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD,
    "ProviderRef": IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD,
    "SubjectRef": IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD,
    "SlaDeadline": IndexedValueType.INDEXED_VALUE_TYPE_DATETIME,
    "NeedsHuman": IndexedValueType.INDEXED_VALUE_TYPE_BOOL,
}
"""Ids, states and instants only: search attributes are stored in clear."""

TIMEOUT = timedelta(seconds=10)


async def register_search_attributes(client: Client) -> list[str]:
    """Add what the client's namespace does not know yet and name it; nothing the second time.

    Raises `ValueError` where a name is taken by another type, and `RPCError` where the server refuses.
    """
    listed = await client.operator_service.list_search_attributes(
        ListSearchAttributesRequest(namespace=client.namespace), timeout=TIMEOUT
    )
    known = dict(listed.custom_attributes)
    for name, kind in SEARCH_ATTRIBUTES.items():
        if known.get(name, kind) != kind:
            raise ValueError(f"search attribute {name} exists with another type")
    missing = {name: kind for name, kind in SEARCH_ATTRIBUTES.items() if name not in known}
    if missing:
        await client.operator_service.add_search_attributes(
            AddSearchAttributesRequest(namespace=client.namespace, search_attributes=missing), timeout=TIMEOUT
        )
    return list(missing)
