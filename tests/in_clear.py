"""What a workflow's history says to those who have the key of its payloads."""

from __future__ import annotations

from collections.abc import Iterator

from google.protobuf.message import Message
from temporalio.api.common.v1 import Payload
from temporalio.client import Client


async def history_in_clear(client: Client, workflow_id: str) -> bytes:
    """Every event of it, as it is stored, and then what is sealed within: arguments, results, failures, summaries.

    A search in the stored events alone finds nothing, whatever is said, since payloads are encrypted.
    """
    codec = client.data_converter.payload_codec
    assert codec is not None
    said = [workflow_id.encode()]
    async for event in client.get_workflow_handle(workflow_id).fetch_history_events():
        said.append(event.SerializeToString())
        said.extend(one.data for one in await codec.decode(list(_payloads(event))))
    return b"\n".join(said)


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
