"""What Temporal holds, said to those who have the key of its payloads: histories, and what a search there finds."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

from google.protobuf.message import Message
from temporalio.api.common.v1 import Payload
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode


async def history_in_clear(client: Client, workflow_id: str) -> bytes:
    """Every event of it, as it is stored, and then what is sealed within: arguments, results, failures, summaries.

    A search in the stored events alone finds nothing, whatever is said, since payloads are encrypted. Raises ValueError
    for a client without a codec.
    """
    codec = client.data_converter.payload_codec
    if codec is None:
        msg = "the client has no codec, so it cannot read what is encrypted"
        raise ValueError(msg)
    said = [workflow_id.encode()]
    async for event in client.get_workflow_handle(workflow_id).fetch_history_events():
        said.append(event.SerializeToString())
        said.extend(one.data for one in await codec.decode(list(_payloads(event))))
    return b"\n".join(said)


async def everything(client: Client) -> AsyncIterator[tuple[str, bytes]]:
    """Every workflow of the namespace: what visibility knows of it, then its history."""
    async for one in client.list_workflows():
        yield f"visibility {one.id}", one.raw_info.SerializeToString() + repr(one.typed_search_attributes).encode()
        try:
            yield f"history {one.id}", await history_in_clear(client, one.id)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:  # deleted since it was listed
                raise


def _payloads(message: Message) -> Iterator[Payload]:
    """Every payload within a message, however deep."""
    if isinstance(message, Payload):
        yield message
        return
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        if field.message_type.GetOptions().map_entry:
            inner = [one for one in value.values() if isinstance(one, Message)]
        else:
            inner = [value] if isinstance(value, Message) else list(value)
        for one in inner:
            yield from _payloads(one)
